/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tests of the stores share: a store of either kind, sources of uploads, fetches. */
#ifndef FREM_TESTS_STORE_WORLD_H
#define FREM_TESTS_STORE_WORLD_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "server/server.h"
#include "store/store.h"

#define BIG ((size_t)3 << 20)

struct world {
	char root[64];
	struct server *server;
	struct store *store;
	struct frem_error err;
};

static inline int start_world(void **state, bool http)
{
	struct world *w = calloc(1, sizeof(*w));
	struct server_options o = {.listen = "127.0.0.1:0"};

	snprintf(w->root, sizeof(w->root), "/tmp/frem-test-XXXXXX");
	if (!mkdtemp(w->root))
		return -1;
	o.root = w->root;
	if (http && server_start(&o, &w->server, &w->err) < 0)
		return -1;
	*state = w;
	return store_open(http ? server_url(w->server) : w->root, &w->store, &w->err);
}

static inline int start_dir(void **state)
{
	return start_world(state, false);
}

static inline int start_http(void **state)
{
	return start_world(state, true);
}

/* The names below ROOT that begin with ".tmp-". */
static inline int temporary_files(const char *root)
{
	_cleanup_closedir_ DIR *d = opendir(root);
	struct dirent *e;
	int n = 0;

	while ((e = readdir(d)))
		n += strncmp(e->d_name, ".tmp-", 5) == 0;
	return n;
}

static inline int stop(void **state)
{
	struct world *w = *state;
	int left;

	store_free(w->store);
	server_free(w->server);
	left = temporary_files(w->root);
	file_remove_tree(w->root);
	free(w);
	return left; /* no test leaves an upload behind */
}

static inline void put(struct world *w, const char *key, const void *data, size_t n)
{
	if (store_put_bytes(w->store, key, data, n, false, &w->err) < 0)
		fail_msg("%s", w->err.text);
}

/* Bytes that differ from place to place. */
static inline uint8_t *pattern(size_t n)
{
	uint8_t *p = malloc(n);
	uint32_t x = 1;

	for (size_t i = 0; i < n; i++) {
		x = x * 1664525 + 1013904223;
		p[i] = (uint8_t)(x >> 24);
	}
	return p;
}

struct supply {
	uint64_t left;
	uint64_t fail_at; /* bytes left at which it fails */
	unsigned calls;
};

static inline ssize_t supply_read(void *arg, void *data, size_t n, struct frem_error *err)
{
	struct supply *s = arg;

	s->calls++;
	if (s->left <= s->fail_at)
		return frem_fail(err, FREM_REFUSED, EOWNERDEAD, "the source is gone");
	if (n > s->left - s->fail_at)
		n = (size_t)(s->left - s->fail_at);
	memset(data, 's', n);
	s->left -= n;
	return (ssize_t)n;
}

static inline ssize_t supply_to_end(void *arg, void *data, size_t n, struct frem_error *err)
{
	struct supply *s = arg;

	(void)err;
	s->calls++;
	if (n > s->left)
		n = (size_t)s->left;
	memset(data, 's', n);
	s->left -= n;
	return (ssize_t)n;
}

struct sink {
	struct buffer b;
	int r, done;
	int say; /* returned by data */
	enum fetch_state { NOTHING, CANCEL_SELF, CANCEL_OTHER, CHAIN } act;
	struct fetcher *f;
	struct fetch *fetch, *other;
	struct sink *victim; /* of other */
	bool cancelled;
	struct sink *next; /* CHAIN: to be started from within done */
	struct frem_error err;
	void *into;
	uint32_t avoid, sources;
	uint64_t limit;
	int *order; /* counts completions */
	int place;
};

static inline int sink_data(void *arg, const void *data, size_t n)
{
	struct sink *s = arg;

	buffer_append(&s->b, data, n);
	if (s->act == CANCEL_SELF)
		fetcher_cancel(s->f, s->fetch);
	if (s->act == CANCEL_OTHER && s->other && !s->victim->done) {
		fetcher_cancel(s->f, s->other);
		s->cancelled = true;
	}
	s->other = NULL;
	return s->say;
}

static inline void sink_done(void *arg, int r, const struct frem_error *err);

static inline struct fetch *sink_start(struct fetcher *f, struct sink *s, const char *key,
				       uint64_t offset, uint64_t len, bool urgent)
{
	struct fetch_request req = {.key = key,
				    .offset = offset,
				    .len = len,
				    .data = sink_data,
				    .done = sink_done,
				    .arg = s,
				    .urgent = urgent,
				    .into = s->into,
				    .avoid = s->avoid,
				    .limit = s->limit};

	s->f = f;
	if (fetcher_start(f, &req, &s->fetch, &s->err) < 0)
		fail_msg("%s", s->err.text);
	return s->fetch;
}

static inline void sink_done(void *arg, int r, const struct frem_error *err)
{
	struct sink *s = arg;

	s->done++;
	s->r = r;
	s->sources = fetch_sources(s->f, s->fetch);
	if (r)
		s->err = *err;
	if (s->order)
		s->place = ++*s->order;
	if (s->act == CHAIN)
		sink_start(s->f, s->next, "f/1/x", 1, 2, false);
}

static inline void run_all(struct fetcher *f)
{
	struct frem_error err = {0};

	while (fetcher_active(f))
		if (fetcher_run(f, NULL, 0, 20000, &err) < 0)
			fail_msg("%s", err.text);
}

#endif

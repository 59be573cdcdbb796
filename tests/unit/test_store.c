/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Both kinds of store through the same tests; then what only HTTP can get wrong. */
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
#include "tcp_peer.h"

#define BIG ((size_t)3 << 20)

struct world {
	char root[64];
	struct server *server;
	struct store *store;
	struct frem_error err;
};

static int start_world(void **state, bool http)
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

static int start_dir(void **state)
{
	return start_world(state, false);
}

static int start_http(void **state)
{
	return start_world(state, true);
}

/* The names below ROOT that begin with ".tmp-". */
static int temporary_files(const char *root)
{
	_cleanup_closedir_ DIR *d = opendir(root);
	struct dirent *e;
	int n = 0;

	while ((e = readdir(d)))
		n += strncmp(e->d_name, ".tmp-", 5) == 0;
	return n;
}

static int stop(void **state)
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

static void put(struct world *w, const char *key, const void *data, size_t n)
{
	if (store_put_bytes(w->store, key, data, n, false, &w->err) < 0)
		fail_msg("%s", w->err.text);
}

/* Bytes that differ from place to place. */
static uint8_t *pattern(size_t n)
{
	uint8_t *p = malloc(n);
	uint32_t x = 1;

	for (size_t i = 0; i < n; i++) {
		x = x * 1664525 + 1013904223;
		p[i] = (uint8_t)(x >> 24);
	}
	return p;
}

/* ---- blocking calls ---- */

static void objects_come_back(void **state)
{
	struct world *w = *state;
	_cleanup_buffer_ struct buffer b = {0};
	_cleanup_free_ uint8_t *big = pattern(BIG);

	put(w, "a/1/head", "hello", 5);
	put(w, "a/1/pages", big, BIG);
	put(w, "a/1/empty", "", 0);
	buffer_append(&b, "x", 1);
	assert_int_equal(store_get(w->store, "a/1/head", 0, STORE_WHOLE, 5, &b, &w->err), 0);
	assert_int_equal(b.len, 6);
	assert_memory_equal(b.data, "xhello", 6);
	b.len = 0;
	assert_int_equal(store_get(w->store, "a/1/pages", 0, STORE_WHOLE, BIG, &b, &w->err), 0);
	assert_int_equal(b.len, BIG);
	assert_memory_equal(b.data, big, BIG);
	b.len = 0;
	assert_int_equal(store_get(w->store, "a/1/empty", 0, STORE_WHOLE, 0, &b, &w->err), 0);
	assert_int_equal(b.len, 0);
	put(w, "a/1/head", "replaced", 8);
	assert_int_equal(store_get(w->store, "a/1/head", 0, STORE_WHOLE, 99, &b, &w->err), 0);
	assert_int_equal(b.len, 8);
	assert_memory_equal(b.data, "replaced", 8);
}

static void odd_keys_come_back(void **state)
{
	static const char key[] = "j\xc3\xb6 b%+?#&@~x;=/7/he ad%2f";
	_cleanup_store_list_ struct store_list *l = NULL;
	_cleanup_buffer_ struct buffer b = {0};
	struct world *w = *state;

	put(w, key, "v", 1);
	assert_int_equal(store_get(w->store, key, 0, STORE_WHOLE, 9, &b, &w->err), 0);
	assert_int_equal(b.len, 1);
	assert_int_equal(store_list(w->store, "j\xc3\xb6 b%+?#&", &l, &w->err), 0);
	assert_int_equal(l->n, 1);
	assert_string_equal(l->objects[0].key, key);
	assert_int_equal(store_remove(w->store, key, &w->err), 0);
}

static void ranges_are_exact(void **state)
{
	static const struct {
		uint64_t offset, len, most;
		const char *want;
	} cases[] = {
		{0, 3, 3, "012"},	   {3, 4, 4, "3456"},
		{8, 2, 9, "89"},	   {8, 100, 9, "89"},
		{9, STORE_WHOLE, 1, "9"},  {10, 5, 5, ""},
		{11, STORE_WHOLE, 5, ""},  {4, 0, 5, ""},
		{0, 10, 10, "0123456789"}, {0, 100, 10, "0123456789"},
	};
	struct world *w = *state;

	put(w, "a/1/x", "0123456789", 10);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		_cleanup_buffer_ struct buffer b = {0};

		assert_int_equal(store_get(w->store, "a/1/x", cases[i].offset, cases[i].len,
					   cases[i].most, &b, &w->err),
				 0);
		assert_int_equal(b.len, strlen(cases[i].want));
		if (b.len)
			assert_memory_equal(b.data, cases[i].want, b.len);
	}
}

static void too_large_is_refused(void **state)
{
	_cleanup_buffer_ struct buffer b = {0};
	struct world *w = *state;

	put(w, "a/1/x", "0123456789", 10);
	assert_int_equal(store_get(w->store, "a/1/x", 0, STORE_WHOLE, 9, &b, &w->err), -EFBIG);
	assert_int_equal(w->err.code, FREM_DAMAGED);
	assert_int_equal(store_get(w->store, "a/1/x", 2, 8, 7, &b, &w->err), -EFBIG);
	assert_int_equal(b.len, 0);
}

static void missing_is_not_found(void **state)
{
	_cleanup_buffer_ struct buffer b = {0};
	_cleanup_store_list_ struct store_list *l = NULL;
	struct world *w = *state;
	char text[1024];

	assert_int_equal(store_get(w->store, "a/1/x", 0, 4, 4, &b, &w->err), -ENOENT);
	assert_int_equal(w->err.code, FREM_NOT_FOUND);
	snprintf(text, sizeof(text), "store '%s': get 'a/1/x': no such object",
		 store_url(w->store));
	assert_string_equal(w->err.text, text);
	assert_int_equal(store_remove(w->store, "a/1/x", &w->err), -ENOENT);
	assert_int_equal(w->err.code, FREM_NOT_FOUND);
	put(w, "a/1/x", "", 0);
	assert_int_equal(store_get(w->store, "a/1", 0, 4, 4, &b, &w->err), -ENOENT);
	assert_int_equal(store_get(w->store, "a/1/x/y", 0, 4, 4, &b, &w->err), -ENOENT);
	assert_int_equal(store_remove(w->store, "a", &w->err), -ENOENT);
	assert_int_equal(store_list(w->store, "nothing/", &l, &w->err), 0);
	assert_int_equal(l->n, 0);
}

static void bad_keys_are_usage_errors(void **state)
{
	static const char *const keys[] = {"",	 "/a/1/x", "a//x",	 "a/../x",
					   "..", ".tmp-1", "a/.x",	 "a/1/\n",
					   "a/", "a/\xff", "a/\xc0\xaf", "1/2/3/4/5/6/7/8/9"};
	_cleanup_buffer_ struct buffer b = {0};
	struct world *w = *state;

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		assert_int_equal(store_put_bytes(w->store, keys[i], "x", 1, false, &w->err),
				 -EINVAL);
		assert_int_equal(w->err.code, FREM_USAGE);
		assert_int_equal(store_get(w->store, keys[i], 0, 1, 1, &b, &w->err), -EINVAL);
		assert_int_equal(store_remove(w->store, keys[i], &w->err), -EINVAL);
	}
}

static void if_absent_never_replaces(void **state)
{
	_cleanup_free_ uint8_t *big = pattern(BIG);
	_cleanup_buffer_ struct buffer b = {0};
	struct world *w = *state;

	assert_int_equal(store_put_bytes(w->store, "a/1/m", "first", 5, true, &w->err), 0);
	assert_int_equal(store_put_bytes(w->store, "a/1/m", "second", 6, true, &w->err), -EEXIST);
	assert_int_equal(w->err.code, FREM_STORE);
	assert_int_equal(store_put_bytes(w->store, "a/1/m", big, BIG, true, &w->err), -EEXIST);
	assert_int_equal(store_get(w->store, "a/1/m", 0, STORE_WHOLE, 9, &b, &w->err), 0);
	assert_int_equal(b.len, 5);
	assert_memory_equal(b.data, "first", 5);
}

static void listing_is_sorted(void **state)
{
	static const char *const keys[] = {"b/1/x", "a/10/x",  "a/2/x",	 "a/1/y",
					   "a/1/x", "a-b/1/x", "a b/1/x"};
	static const char *const sorted[] = {"a b/1/x", "a-b/1/x", "a/1/x", "a/1/y",
					     "a/10/x",	"a/2/x",   "b/1/x"};
	_cleanup_store_list_ struct store_list *all = NULL, *some = NULL, *one = NULL;
	struct world *w = *state;
	char junk[128];

	for (size_t i = 0; i < 7; i++)
		put(w, keys[i], "0123456789", i);
	snprintf(junk, sizeof(junk), "%s/a/\xff", w->root); /* no key: not an object */
	close(open(junk, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	assert_int_equal(store_list(w->store, "", &all, &w->err), 0);
	assert_int_equal(all->n, 7);
	for (size_t i = 0; i < 7; i++)
		assert_string_equal(all->objects[i].key, sorted[i]);
	assert_int_equal(all->objects[6].size, 0);
	assert_int_equal(all->objects[2].size, 4);
	assert_true(all->objects[0].modified > 1600000000);
	assert_int_equal(store_list(w->store, "a/1", &some, &w->err), 0);
	assert_int_equal(some->n, 3);
	assert_int_equal(store_list(w->store, "b/1/x", &one, &w->err), 0);
	assert_int_equal(one->n, 1);
}

static void listing_goes_on_behind_a_page(void **state)
{
	_cleanup_store_list_ struct store_list *l = NULL;
	struct world *w = *state;
	char path[128];

	put(w, "many/1/x", "", 0);
	for (int i = 0; i < 10050; i++) {
		snprintf(path, sizeof(path), "%s/many/1/o%d", w->root, i);
		close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	}
	assert_int_equal(store_list(w->store, "many/", &l, &w->err), 0);
	assert_int_equal(l->n, 10051);
	for (size_t i = 1; i < l->n; i++)
		assert_true(strcmp(l->objects[i - 1].key, l->objects[i].key) < 0);
}

static void removal_leaves_nothing(void **state)
{
	struct world *w = *state;
	char path[128];

	put(w, "a/1/x", "1", 1);
	put(w, "a/1/y", "1", 1);
	assert_int_equal(store_remove(w->store, "a/1/x", &w->err), 0);
	snprintf(path, sizeof(path), "%s/a", w->root);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(store_remove(w->store, "a/1/y", &w->err), 0);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(access(w->root, F_OK), 0);
}

/* ---- uploads from a source ---- */

struct supply {
	uint64_t left;
	uint64_t fail_at; /* bytes left at which it fails */
	unsigned calls;
};

static ssize_t supply_read(void *arg, void *data, size_t n, struct frem_error *err)
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

static ssize_t supply_to_end(void *arg, void *data, size_t n, struct frem_error *err)
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

static void sources_stream(void **state)
{
	const uint64_t sizes[] = {0, 1, 65536, 65537, BIG};
	struct world *w = *state;

	for (size_t i = 0; i < 10; i++) {
		_cleanup_store_list_ struct store_list *l = NULL;
		struct supply s = {.left = sizes[i / 2]};
		struct store_source source = {supply_to_end, &s,
					      i % 2 ? STORE_WHOLE : sizes[i / 2]};

		if (store_put(w->store, "s/1/x", &source, false, &w->err) < 0)
			fail_msg("%s", w->err.text);
		assert_int_equal(store_list(w->store, "s/1/x", &l, &w->err), 0);
		assert_int_equal(l->n, 1);
		assert_int_equal(l->objects[0].size, sizes[i / 2]);
	}
}

static void a_failed_source_leaves_nothing(void **state)
{
	const uint64_t sizes[] = {1000, 1000, BIG, BIG};
	struct world *w = *state;

	for (size_t i = 0; i < 4; i++) {
		_cleanup_store_list_ struct store_list *l = NULL;
		struct supply s = {.left = sizes[i], .fail_at = sizes[i] / 2};
		struct store_source source = {supply_read, &s, i % 2 ? STORE_WHOLE : sizes[i]};

		assert_int_equal(store_put(w->store, "s/1/x", &source, true, &w->err), -EOWNERDEAD);
		assert_int_equal(w->err.code, FREM_REFUSED);
		assert_non_null(strstr(w->err.text, "put 's/1/x': the source is gone"));
		assert_int_equal(store_list(w->store, "", &l, &w->err), 0);
		assert_int_equal(l->n, 0);
	}
}

static void a_short_source_is_an_error(void **state)
{
	struct world *w = *state;

	for (size_t i = 0; i < 2; i++) {
		_cleanup_store_list_ struct store_list *l = NULL;
		struct supply s = {.left = i ? BIG - 1 : 99};
		struct store_source source = {supply_to_end, &s, i ? BIG : 100};

		assert_int_equal(store_put(w->store, "s/1/x", &source, false, &w->err), -ENODATA);
		assert_int_equal(store_list(w->store, "", &l, &w->err), 0);
		assert_int_equal(l->n, 0);
	}
}

/* ---- fetchers ---- */

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
	int *order; /* counts completions */
	int place;
};

static int sink_data(void *arg, const void *data, size_t n)
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

static void sink_done(void *arg, int r, const struct frem_error *err);

static struct fetch *sink_start(struct fetcher *f, struct sink *s, const char *key, uint64_t offset,
				uint64_t len, bool urgent)
{
	struct fetch_request req = {.key = key,
				    .offset = offset,
				    .len = len,
				    .data = sink_data,
				    .done = sink_done,
				    .arg = s,
				    .urgent = urgent};

	s->f = f;
	if (fetcher_start(f, &req, &s->fetch, &s->err) < 0)
		fail_msg("%s", s->err.text);
	return s->fetch;
}

static void sink_done(void *arg, int r, const struct frem_error *err)
{
	struct sink *s = arg;

	s->done++;
	s->r = r;
	if (r)
		s->err = *err;
	if (s->order)
		s->place = ++*s->order;
	if (s->act == CHAIN)
		sink_start(s->f, s->next, "f/1/x", 1, 2, false);
}

static void run_all(struct fetcher *f)
{
	struct frem_error err = {0};

	while (fetcher_active(f))
		if (fetcher_run(f, NULL, 0, 20000, &err) < 0)
			fail_msg("%s", err.text);
}

static void fetches_are_exact(void **state)
{
	static const struct {
		const char *key;
		uint64_t offset, len;
		int r;
		enum fetch_code { OK, DAMAGED, MISSING } code;
	} cases[] = {
		{"f/1/x", 0, BIG, 0, OK},
		{"f/1/x", 7, 100000, 0, OK},
		{"f/1/x", 0, 5, 0, OK},
		{"f/1/x", 12345, STORE_WHOLE, 0, OK},
		{"f/1/x", 0, STORE_WHOLE, 0, OK},
		{"f/1/x", BIG, STORE_WHOLE, 0, OK},
		{"f/1/x", 100, 0, 0, OK},
		{"f/1/x", BIG - 1, 2, -ENODATA, DAMAGED},
		{"f/1/x", 0, BIG + 1, -ENODATA, DAMAGED},
		{"f/1/x", BIG, 1, -ENODATA, DAMAGED},
		{"f/1/x", BIG + 1, STORE_WHOLE, -ENODATA, DAMAGED},
		{"f/1/none", 0, 5, -ENOENT, MISSING},
		{"f/1/none", 0, 0, -ENOENT, MISSING},
	};
	static const enum frem_code codes[] = {FREM_OK, FREM_DAMAGED, FREM_NOT_FOUND};
	_cleanup_free_ uint8_t *big = pattern(BIG);
	_cleanup_fetcher_ struct fetcher *f = NULL;
	struct world *w = *state;
	struct sink s[13] = {0};

	put(w, "f/1/x", big, BIG);
	assert_int_equal(fetcher_new(w->store, &f, &w->err), 0);
	for (size_t i = 0; i < 13; i++)
		sink_start(f, &s[i], cases[i].key, cases[i].offset, cases[i].len, i & 1);
	assert_int_equal(fetcher_active(f), 13);
	run_all(f);
	for (size_t i = 0; i < 13; i++) {
		uint64_t n = cases[i].len == STORE_WHOLE ? BIG - cases[i].offset : cases[i].len;

		assert_int_equal(s[i].done, 1);
		assert_int_equal(s[i].r, cases[i].r);
		assert_int_equal(s[i].err.code, codes[cases[i].code]);
		assert_int_equal(s[i].b.len, s[i].r ? 0 : n);
		if (s[i].b.len)
			assert_memory_equal(s[i].b.data, big + cases[i].offset, n);
		buffer_done(&s[i].b);
	}
}

static void the_receiver_may_stop_a_fetch(void **state)
{
	_cleanup_free_ uint8_t *big = pattern(BIG);
	_cleanup_fetcher_ struct fetcher *f = NULL;
	struct sink a = {.say = -EBADMSG}, b = {.say = 7}, whole = {0};
	struct world *w = *state;

	put(w, "f/1/x", big, BIG);
	assert_int_equal(fetcher_new(w->store, &f, &w->err), 0);
	sink_start(f, &a, "f/1/x", 0, BIG, false);
	sink_start(f, &b, "f/1/x", 0, BIG, false);
	sink_start(f, &whole, "f/1/x", 0, BIG, false);
	run_all(f);
	assert_int_equal(a.r, -EBADMSG);
	assert_int_equal(b.r, 7);
	assert_true(a.b.len < BIG && b.b.len < BIG);
	assert_int_equal(whole.r, 0);
	assert_int_equal(whole.b.len, BIG);
	buffer_done(&a.b);
	buffer_done(&b.b);
	buffer_done(&whole.b);
}

static void fetches_can_be_cancelled(void **state)
{
	_cleanup_free_ uint8_t *big = pattern(BIG);
	struct sink self = {.act = CANCEL_SELF}, other = {.act = CANCEL_OTHER}, victim = {0};
	struct sink before = {0}, left = {0};
	struct world *w = *state;
	struct fetcher *f = NULL;
	int done;

	put(w, "f/1/x", big, BIG);
	assert_int_equal(fetcher_new(w->store, &f, &w->err), 0);
	fetcher_cancel(f, sink_start(f, &before, "f/1/x", 0, BIG, false));
	assert_int_equal(fetcher_active(f), 0);
	sink_start(f, &self, "f/1/x", 0, BIG, true);
	sink_start(f, &other, "f/1/x", 0, BIG, true);
	other.victim = &victim;
	other.other = sink_start(f, &victim, "f/1/x", 0, BIG, false);
	run_all(f);
	assert_int_equal(before.done + self.done, 0);
	assert_true(self.b.len < BIG);
	/* over a network it may be there before the other's first byte */
	assert_int_equal(victim.done, !other.cancelled);
	assert_true(other.cancelled || w->server);
	assert_int_equal(other.done, 1);
	assert_int_equal(other.b.len, BIG);
	sink_start(f, &left, "f/1/x", 0, BIG, false);
	fetcher_run(f, NULL, 0, 100, &w->err);
	done = left.done;
	fetcher_free(f);
	assert_int_equal(left.done, done);
	for (struct sink **s = (struct sink *[]){&self, &other, &victim, &left, NULL}; *s; s++)
		buffer_done(&(*s)->b);
}

static void done_may_start_another(void **state)
{
	_cleanup_fetcher_ struct fetcher *f = NULL;
	struct sink last = {0}, first = {.act = CHAIN, .next = &last};
	struct world *w = *state;

	put(w, "f/1/x", "0123", 4);
	assert_int_equal(fetcher_new(w->store, &f, &w->err), 0);
	sink_start(f, &first, "f/1/x", 0, 4, false);
	run_all(f);
	assert_int_equal(last.done, 1);
	assert_int_equal(last.b.len, 2);
	assert_memory_equal(last.b.data, "12", 2);
	buffer_done(&first.b);
	buffer_done(&last.b);
}

static void urgent_overtakes_bulk(void **state)
{
	_cleanup_free_ uint8_t *big = pattern(BIG);
	_cleanup_fetcher_ struct fetcher *f = NULL;
	struct sink bulk[4] = {0}, urgent = {0};
	struct world *w = *state;
	int order = 0;

	put(w, "f/1/x", big, BIG);
	assert_int_equal(fetcher_new(w->store, &f, &w->err), 0);
	for (int i = 0; i < 4; i++) {
		bulk[i].order = &order;
		sink_start(f, &bulk[i], "f/1/x", 0, BIG, false);
	}
	while (bulk[0].b.len == 0)
		assert_int_equal(fetcher_run(f, NULL, 0, 20000, &w->err), 0);
	urgent.order = &order;
	sink_start(f, &urgent, "f/1/x", 1000, 4096, true);
	run_all(f);
	assert_int_equal(order, 5);
	assert_memory_equal(urgent.b.data, big + 1000, 4096);
	if (!w->server) /* over a network, the order is the network's as well */
		assert_int_equal(urgent.place, 1);
	for (int i = 0; i < 4; i++) {
		assert_memory_equal(bulk[i].b.data, big, BIG);
		buffer_done(&bulk[i].b);
	}
	buffer_done(&urgent.b);
}

static void the_callers_descriptor_ends_a_run(void **state)
{
	_cleanup_free_ uint8_t *big = pattern(BIG);
	_cleanup_fetcher_ struct fetcher *f = NULL;
	struct world *w = *state;
	struct sink s = {0};
	int ends[2];
	struct pollfd fd = {.events = POLLIN, .revents = 77};

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	fd.fd = ends[0];
	assert_int_equal(fetcher_new(w->store, &f, &w->err), 0);
	assert_int_equal(fetcher_run(f, &fd, 1, 1, &w->err), 0);
	assert_int_equal(fd.revents, 0);
	assert_int_equal(write(ends[1], "x", 1), 1);
	assert_int_equal(fetcher_run(f, &fd, 1, -1, &w->err), 0);
	assert_int_equal(fd.revents, POLLIN);
	/* a descriptor that is always ready must not keep a fetch from moving */
	put(w, "f/1/x", big, BIG);
	sink_start(f, &s, "f/1/x", 0, BIG, false);
	while (fetcher_active(f)) {
		assert_int_equal(fetcher_run(f, &fd, 1, -1, &w->err), 0);
		assert_int_equal(fd.revents, POLLIN);
	}
	assert_int_equal(s.b.len, BIG);
	buffer_done(&s.b);
	/* a hang-up is an event, too */
	assert_int_equal(read(ends[0], &(char){0}, 1), 1);
	close(ends[1]);
	assert_int_equal(fetcher_run(f, &fd, 1, -1, &w->err), 0);
	assert_int_equal(fd.revents, POLLHUP);
	close(ends[0]);
}

static void blocking_calls_leave_fetches_alone(void **state)
{
	_cleanup_free_ uint8_t *big = pattern(BIG);
	_cleanup_fetcher_ struct fetcher *f = NULL;
	_cleanup_buffer_ struct buffer b = {0};
	struct world *w = *state;
	struct sink s = {0};

	put(w, "f/1/x", big, BIG);
	assert_int_equal(fetcher_new(w->store, &f, &w->err), 0);
	sink_start(f, &s, "f/1/x", 0, BIG, false);
	for (int i = 0; i < 20; i++) {
		b.len = 0;
		assert_int_equal(store_get(w->store, "f/1/x", 0, BIG, BIG, &b, &w->err), 0);
		assert_int_equal(b.len, BIG);
	}
	assert_int_equal(s.b.len, 0);
	run_all(f);
	assert_int_equal(s.r, 0);
	assert_int_equal(s.b.len, BIG);
	assert_memory_equal(s.b.data, big, BIG);
	buffer_done(&s.b);
}

static void statistics_count(void **state)
{
	_cleanup_free_ uint8_t *big = pattern(BIG);
	_cleanup_fetcher_ struct fetcher *f = NULL;
	struct world *w = *state;
	struct fetcher_stats st;
	struct sink s = {0};

	put(w, "f/1/x", big, BIG);
	assert_int_equal(fetcher_new(w->store, &f, &w->err), 0);
	sink_start(f, &s, "f/1/x", 0, 100000, false);
	run_all(f);
	fetcher_get_stats(f, &st);
	assert_int_equal(st.bytes, 100000);
	assert_int_equal(st.rtt_ms > 0, w->server != NULL);
	buffer_done(&s.b);
}

/* ---- opening ---- */

static void urls_say_what_they_are(void **state)
{
	static const char *const bad[] = {"",
					  "ftp://h/",
					  "http://",
					  "file://rel/x",
					  "http://h:99999/",
					  "http://h/?q",
					  "http://h/#f"};
	struct frem_error err = {0};
	struct store *s = NULL;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_true(store_open(bad[i], &s, &err) < 0);
		assert_int_equal(err.code, FREM_USAGE);
		assert_null(s);
	}
	assert_int_equal(store_open("/tmp/frem-no-such-directory", &s, &err), -ENOENT);
	assert_int_equal(err.code, FREM_STORE);
	assert_string_equal(err.hint, "make it first: mkdir '/tmp/frem-no-such-directory'");
	assert_int_equal(store_open("file:///%74mp", &s, &err), 0);
	assert_string_equal(store_url(s), "/tmp");
	store_free(s);
	assert_int_equal(store_open("http://user:secret@127.0.0.1:1/p/", &s, &err), 0);
	assert_string_equal(store_url(s), "http://user@127.0.0.1:1/p");
	store_free(s);
}

static void a_prefix_is_a_store_of_its_own(void **state)
{
	_cleanup_store_list_ struct store_list *l = NULL, *all = NULL;
	_cleanup_store_ struct store *s = NULL;
	struct world *w = *state;
	char url[128];

	snprintf(url, sizeof(url), "%s/team/", server_url(w->server));
	assert_int_equal(store_open(url, &s, &w->err), 0);
	assert_int_equal(store_list(s, "", &l, &w->err), 0);
	assert_int_equal(l->n, 0);
	store_list_free(TAKE_PTR(l));
	assert_int_equal(store_put_bytes(s, "a/1/x", "1", 1, true, &w->err), 0);
	put(w, "b/1/x", "1", 1);
	assert_int_equal(store_list(s, "", &l, &w->err), 0);
	assert_int_equal(l->n, 1);
	assert_string_equal(l->objects[0].key, "a/1/x");
	assert_int_equal(store_list(w->store, "", &all, &w->err), 0);
	assert_int_equal(all->n, 2);
	assert_string_equal(all->objects[1].key, "team/a/1/x");
}

/* ---- servers that are not there, or lie ---- */

static void nobody_listens(void **state)
{
	_cleanup_fetcher_ struct fetcher *f = NULL;
	_cleanup_store_ struct store *s = NULL;
	_cleanup_buffer_ struct buffer b = {0};
	struct frem_error err = {0};
	struct sink sink = {0};
	int fd = tcp_listen();
	char url[64], text[256];

	(void)state;
	tcp_url(fd, url, sizeof(url));
	close(fd);
	assert_int_equal(store_open(url, &s, &err), 0);
	assert_int_equal(store_get(s, "a/1/head", 0, 9, 9, &b, &err), -ECONNREFUSED);
	assert_int_equal(err.code, FREM_STORE);
	snprintf(text, sizeof(text),
		 "store '%s': get 'a/1/head': could not connect: Connection refused", url);
	assert_string_equal(err.text, text);
	assert_int_equal(store_put_bytes(s, "a/1/head", "", 0, true, &err), -ECONNREFUSED);
	assert_int_equal(fetcher_new(s, &f, &err), 0);
	sink_start(f, &sink, "a/1/head", 0, 9, true);
	run_all(f);
	assert_int_equal(sink.r, -ECONNREFUSED);
	assert_string_equal(sink.err.text, text);
}

#define OK_100 "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
#define PART(range) "HTTP/1.1 206 Partial\r\nContent-Range: " range "\r\n"
#define TEN "0123456789"

/* Each is answered to a request for 10 bytes at offset 5; the connection is then closed. */
static const struct lie {
	const char *answer;
	int r;
	enum frem_code code;
} lies[] = {
	{"", -EIO, FREM_STORE},
	{"garbage\r\n\r\n" TEN, -EIO, FREM_STORE},
	{"HTTP/1.1 206", -EIO, FREM_STORE},
	{"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" TEN, -EIO, FREM_STORE},
	{PART("bytes 5-14/50") "Content-Length: 10\r\n\r\n01234", -EIO, FREM_STORE},
	{PART("bytes 5-14/50") "Content-Length: 5\r\n\r\n01234", -EIO, FREM_STORE},
	{PART("bytes 5-14/50") "\r\n01234", -EIO, FREM_STORE},
	{PART("bytes 6-15/50") "Content-Length: 10\r\n\r\n" TEN, -EIO, FREM_STORE},
	{PART("bytes 5-15/50") "Content-Length: 11\r\n\r\n" TEN "x", -EIO, FREM_STORE},
	{PART("bytes 5-12/50") "Content-Length: 8\r\n\r\n01234567", -EIO, FREM_STORE},
	{PART("bytes 5-14/12") "Content-Length: 10\r\n\r\n" TEN, -EIO, FREM_STORE},
	{PART("bytes 5-x/50") "Content-Length: 10\r\n\r\n" TEN, -EIO, FREM_STORE},
	{PART("bytes 99999999999999999999-5/6") "Content-Length: 10\r\n\r\n" TEN, -EIO, FREM_STORE},
	{"HTTP/1.1 206 Partial\r\nContent-Length: 10\r\n\r\n" TEN, -EIO, FREM_STORE},
	{PART("bytes 5-14/50") "Transfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n0\r\n\r\n", -EIO,
	 FREM_STORE},
	{PART("bytes 5-14/50") "Transfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n", -EIO,
	 FREM_STORE},
	{PART("bytes 5-14/50") "Transfer-Encoding: chunked\r\n\r\nzz\r\n01234\r\n", -EIO,
	 FREM_STORE},
	{"HTTP/1.1 416 No\r\nContent-Range: bytes */50\r\nContent-Length: 0\r\n\r\n", -EIO,
	 FREM_STORE},
	{"HTTP/1.1 204 No Content\r\n\r\n", -EIO, FREM_STORE},
	{"HTTP/1.1 304 Not Modified\r\n\r\n", -EIO, FREM_STORE},
	{"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n", -EIO,
	 FREM_STORE},
	{"HTTP/1.1 500 Oops\r\nContent-Length: 9\r\n\r\nno\ndetail", -EIO, FREM_STORE},
	{"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", -EACCES, FREM_STORE},
	{"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", -EACCES, FREM_STORE},
	{"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", -ENOENT, FREM_NOT_FOUND},
};

static void lies_are_never_passed_on(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		struct tcp_peer *p = tcp_peer_start(lies[i].answer, strlen(lies[i].answer));
		_cleanup_buffer_ struct buffer b = {0};
		struct frem_error err = {0};
		struct store *s = NULL;
		struct fetcher *f = NULL;
		struct sink sink = {0};
		int r;

		assert_int_equal(store_open(tcp_peer_url(p), &s, &err), 0);
		r = store_get(s, "a/1/x", 5, 10, 10, &b, &err);
		if (r != lies[i].r && !(lies[i].r == -EIO && r == -ECONNRESET))
			fail_msg("lie %zu: %d %s", i, r, err.text);
		assert_int_equal(err.code, lies[i].code);
		assert_int_equal(b.len, 0);
		assert_int_equal(fetcher_new(s, &f, &err), 0);
		sink_start(f, &sink, "a/1/x", 5, 10, true);
		run_all(f);
		assert_int_equal(sink.done, 1);
		if (sink.r != lies[i].r && !(lies[i].r == -EIO && sink.r == -ECONNRESET))
			fail_msg("lie %zu: fetch %d %s", i, sink.r, sink.err.text);
		assert_int_equal(sink.err.code, lies[i].code);
		assert_true(sink.b.len < 10);
		buffer_done(&sink.b);
		fetcher_free(f);
		store_free(s);
		tcp_peer_stop(p);
	}
}

static void refusals_quote_the_server(void **state)
{
	static const char answer[] = "HTTP/1.1 500 Oops\r\nContent-Length: 14\r\n\r\n"
				     "disk on fire\nx";
	struct tcp_peer *p = tcp_peer_start(answer, strlen(answer));
	_cleanup_buffer_ struct buffer b = {0};
	struct frem_error err = {0};
	struct store *s = NULL;

	(void)state;
	assert_int_equal(store_open(tcp_peer_url(p), &s, &err), 0);
	assert_int_equal(store_get(s, "a/1/x", 0, 10, 10, &b, &err), -EIO);
	assert_non_null(strstr(err.text, "get 'a/1/x': the server answered 500 'disk on fire'"));
	store_free(s);
	tcp_peer_stop(p);
}

/* A server without ranges is good enough from the start of an object. */
static void a_whole_answer_is_cut(void **state)
{
	char answer[4096];
	struct frem_error err = {0};
	_cleanup_buffer_ struct buffer b = {0};
	struct store *s = NULL;
	struct tcp_peer *p;

	(void)state;
	snprintf(answer, sizeof(answer), OK_100 "%0100d", 7);
	p = tcp_peer_start(answer, strlen(answer));
	assert_int_equal(store_open(tcp_peer_url(p), &s, &err), 0);
	assert_int_equal(store_get(s, "a/1/x", 0, 10, 10, &b, &err), 0);
	assert_int_equal(b.len, 10);
	assert_int_equal(store_get(s, "a/1/x", 0, STORE_WHOLE, 99, &b, &err), -EFBIG);
	assert_int_equal(b.len, 10);
	store_free(s);
	tcp_peer_stop(p);
}

/* Where the end of the connection is the end of the body, half of it looks like all of it. */
static void a_body_has_to_say_where_it_ends(void **state)
{
	static const struct {
		const char *answer;
		int r;
	} cases[] = {
		{"HTTP/1.1 200 OK\r\n\r\n" TEN, -EIO},
		{"HTTP/1.0 200 OK\r\n\r\n" TEN, -EIO},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n" TEN "\r\n", -EIO},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n" TEN "\r\n0\r\n\r\n",
		 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct tcp_peer *p = tcp_peer_start(cases[i].answer, strlen(cases[i].answer));
		_cleanup_buffer_ struct buffer b = {0};
		struct frem_error err = {0};
		struct store *s = NULL;

		assert_int_equal(store_open(tcp_peer_url(p), &s, &err), 0);
		assert_int_equal(store_get(s, "a/1/x", 0, STORE_WHOLE, 99, &b, &err), cases[i].r);
		assert_int_equal(b.len, cases[i].r ? 0 : 10);
		store_free(s);
		tcp_peer_stop(p);
	}
}

static void redirects_are_followed(void **state)
{
	struct world *w = *state;
	_cleanup_buffer_ struct buffer b = {0};
	struct store *s = NULL;
	struct tcp_peer *p;
	char answer[512];

	put(w, "a/1/x", TEN, 10);
	snprintf(answer, sizeof(answer),
		 "HTTP/1.1 302 Found\r\nLocation: %s/a/1/x\r\nContent-Length: 0\r\n\r\n",
		 server_url(w->server));
	p = tcp_peer_start(answer, strlen(answer));
	assert_int_equal(store_open(tcp_peer_url(p), &s, &w->err), 0);
	assert_int_equal(store_get(s, "a/1/x", 2, 3, 10, &b, &w->err), 0);
	assert_int_equal(b.len, 3);
	assert_memory_equal(b.data, "234", 3);
	store_free(s);
	tcp_peer_stop(p);
}

static void a_silent_server_is_given_up(void **state)
{
	_cleanup_buffer_ struct buffer b = {0};
	_cleanup_store_ struct store *s = NULL;
	_cleanup_fetcher_ struct fetcher *f = NULL;
	struct frem_error err = {0};
	struct sink sink = {0};
	int fd = tcp_listen(); /* the kernel takes connections; nobody answers */
	char url[64];

	(void)state;
	tcp_url(fd, url, sizeof(url));
	assert_int_equal(store_open(url, &s, &err), 0);
	store_set_stall_limit(s, 200);
	assert_int_equal(store_get(s, "a/1/x", 0, 10, 10, &b, &err), -ETIMEDOUT);
	assert_int_equal(err.code, FREM_STORE);
	assert_int_equal(fetcher_new(s, &f, &err), 0);
	sink_start(f, &sink, "a/1/x", 0, 10, false);
	run_all(f);
	assert_int_equal(sink.r, -ETIMEDOUT);
	close(fd);
}

static void listings_are_checked(void **state)
{
	static const char *const bodies[] = {
		"<html>",
		"[]",
		"{}",
		"{\"objects\":[],\"next\":\"a\"}",
		"{\"objects\":[{\"key\":\"../x\",\"size\":1,\"modified\":1}]}",
		"{\"objects\":[{\"key\":\"b/1/x\",\"size\":1,\"modified\":1}]}",
		"{\"objects\":[{\"key\":\"a/1/x\",\"size\":-1,\"modified\":1}]}",
		"{\"objects\":[{\"key\":\"a/1/x\",\"size\":1}]}",
		/* the same page again and again */
		"{\"objects\":[{\"key\":\"a/1/x\",\"size\":1,\"modified\":1}],\"next\":\"a/1/x\"}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		struct frem_error err = {0};
		struct store_list *l = NULL;
		struct store *s = NULL;
		struct tcp_peer *p;
		char answer[512];

		snprintf(answer, sizeof(answer), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s",
			 strlen(bodies[i]), bodies[i]);
		p = tcp_peer_start(answer, strlen(answer));
		assert_int_equal(store_open(tcp_peer_url(p), &s, &err), 0);
		assert_int_equal(store_list(s, "a/", &l, &err), -EIO);
		assert_int_equal(err.code, FREM_STORE);
		assert_null(l);
		store_free(s);
		tcp_peer_stop(p);
	}
}

static void a_refused_upload_is_not_sent(void **state)
{
	struct supply supply = {.left = BIG};
	struct store_source source = {supply_to_end, &supply, STORE_WHOLE};
	struct world *w = *state;

	put(w, "a/1/x", "taken", 5);
	assert_int_equal(store_put(w->store, "a/1/x", &source, true, &w->err), -EEXIST);
	assert_int_equal(supply.calls, 0);
	source.size = BIG;
	assert_int_equal(store_put(w->store, "a/1/x", &source, true, &w->err), -EEXIST);
	assert_int_equal(supply.calls, 0);
}

static void success_before_the_end_is_none(void **state)
{
	static const char answer[] = "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n";
	struct tcp_peer *p = tcp_peer_start(answer, strlen(answer));
	struct supply supply = {.left = BIG};
	struct store_source source = {supply_to_end, &supply, BIG};
	struct frem_error err = {0};
	struct store *s = NULL;

	(void)state;
	assert_int_equal(store_open(tcp_peer_url(p), &s, &err), 0);
	assert_true(store_put(s, "a/1/x", &source, true, &err) < 0);
	assert_int_equal(err.code, FREM_STORE);
	store_free(s);
	tcp_peer_stop(p);
}

/* A connection kept from before is dead by then, which is nobody's failure. */
static void a_restarted_server_is_found_again(void **state)
{
	_cleanup_free_ uint8_t *big = pattern(BIG);
	_cleanup_buffer_ struct buffer b = {0};
	struct world *w = *state;
	char listen[64];

	snprintf(listen, sizeof(listen), "%s", server_url(w->server) + strlen("http://"));
	put(w, "a/1/x", big, BIG);
	for (int i = 0; i < 4; i++) {
		struct server_options o = {.root = w->root, .listen = listen};
		struct supply s = {.left = BIG};
		struct store_source source = {supply_to_end, &s, i == 2 ? BIG : STORE_WHOLE};

		server_free(w->server);
		w->server = NULL;
		assert_int_equal(server_start(&o, &w->server, &w->err), 0);
		if (i == 0)
			assert_int_equal(store_get(w->store, "a/1/x", 0, BIG, BIG, &b, &w->err), 0);
		else if (i == 1)
			put(w, "a/1/small", "1", 1);
		else if (store_put(w->store, "a/1/big", &source, false, &w->err) < 0)
			fail_msg("%s", w->err.text);
	}
}

#define BOTH(test)                                              \
	cmocka_unit_test_setup_teardown(test, start_dir, stop), \
	{                                                       \
#test " (http)", test, start_http, stop, NULL   \
	}
#define HTTP(test) cmocka_unit_test_setup_teardown(test, start_http, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(objects_come_back),
		BOTH(odd_keys_come_back),
		BOTH(ranges_are_exact),
		BOTH(too_large_is_refused),
		BOTH(missing_is_not_found),
		BOTH(bad_keys_are_usage_errors),
		BOTH(if_absent_never_replaces),
		BOTH(listing_is_sorted),
		BOTH(listing_goes_on_behind_a_page),
		BOTH(removal_leaves_nothing),
		BOTH(sources_stream),
		BOTH(a_failed_source_leaves_nothing),
		BOTH(a_short_source_is_an_error),
		BOTH(fetches_are_exact),
		BOTH(the_receiver_may_stop_a_fetch),
		BOTH(fetches_can_be_cancelled),
		BOTH(done_may_start_another),
		BOTH(urgent_overtakes_bulk),
		BOTH(the_callers_descriptor_ends_a_run),
		BOTH(blocking_calls_leave_fetches_alone),
		BOTH(statistics_count),
		HTTP(a_prefix_is_a_store_of_its_own),
		HTTP(redirects_are_followed),
		HTTP(a_refused_upload_is_not_sent),
		HTTP(a_restarted_server_is_found_again),
		cmocka_unit_test(urls_say_what_they_are),
		cmocka_unit_test(nobody_listens),
		cmocka_unit_test(lies_are_never_passed_on),
		cmocka_unit_test(refusals_quote_the_server),
		cmocka_unit_test(a_body_has_to_say_where_it_ends),
		cmocka_unit_test(a_whole_answer_is_cut),
		cmocka_unit_test(a_silent_server_is_given_up),
		cmocka_unit_test(listings_are_checked),
		cmocka_unit_test(success_before_the_end_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

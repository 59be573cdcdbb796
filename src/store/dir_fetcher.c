/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fetches from a directory. Each step reads one slice of one fetch, urgent ones first, else in the
 * order of their start: what becomes urgent waits for one slice at most. The disk is told of a
 * fetch when it starts, so that it reads while others are served.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/clock.h"
#include "dir.h"

#define SLICE ((size_t)256 << 10) /* stays in the second-level cache on its way */
/* Bulk to be started ahead: what keeps a disk busy. */
#define AHEAD (UINT64_C(8) << 20)

struct fetch {
	TAILQ_ENTRY(fetch) link;
	struct fetch_request req;
	char *key;
	int fd; /* -1: could not be opened: r and err say why */
	int r;
	struct frem_error err;
	uint64_t pos, end, limit;
	bool cancelled; /* from within its own callback */
};

TAILQ_HEAD(fetch_queue, fetch);

struct dir_fetcher {
	struct fetcher fetcher;
	struct fetch_queue urgent, bulk;
	struct fetch *current;		   /* the one whose callback is running */
	struct fetcher_lane_stats lane[2]; /* bulk, urgent */
	uint8_t slice[SLICE];
};

static void fetch_free(struct fetch *t)
{
	if (t->fd >= 0)
		close(t->fd);
	free(t->key);
	free(t);
}

static struct fetch_queue *queue_of(struct dir_fetcher *f, const struct fetch *t)
{
	return t->req.urgent ? &f->urgent : &f->bulk;
}

static void dir_fetcher_free(struct fetcher *base)
{
	struct dir_fetcher *f = (struct dir_fetcher *)base;
	struct fetch *t;

	while ((t = TAILQ_FIRST(&f->urgent)) || (t = TAILQ_FIRST(&f->bulk))) {
		TAILQ_REMOVE(queue_of(f, t), t, link);
		fetch_free(t);
	}
	free(f);
}

static int open_object(struct dir_fetcher *f, struct fetch *t, struct frem_error *err)
{
	struct dir_store *d = (struct dir_store *)f->fetcher.store;
	struct stat st;
	int r = objdir_get(d->objdir, t->key, &t->fd, &st, err);

	if (r < 0)
		return r;
	t->pos = t->req.offset;
	t->end = t->req.len == STORE_WHOLE ? (uint64_t)st.st_size : t->pos + t->req.len;
	if (t->pos > (uint64_t)st.st_size || t->end > (uint64_t)st.st_size)
		return store_fail_short(err, (uint64_t)st.st_size);
	posix_fadvise(t->fd, (off_t)t->pos, (off_t)(t->end - t->pos), POSIX_FADV_WILLNEED);
	return 0;
}

static int dir_fetcher_start(struct fetcher *base, const struct fetch_request *req,
			     struct fetch **ret, struct frem_error *err)
{
	struct dir_fetcher *f = (struct dir_fetcher *)base;
	struct fetch *t = calloc(1, sizeof(*t));

	if (!t)
		return frem_oom(err);
	t->fd = -1;
	t->key = strdup(req->key);
	if (!t->key) {
		fetch_free(t);
		return frem_oom(err);
	}
	t->req = *req;
	t->req.key = t->key;
	t->limit = req->limit ? req->limit : STORE_WHOLE;
	t->r = open_object(f, t, &t->err);
	TAILQ_INSERT_TAIL(queue_of(f, t), t, link);
	base->active++;
	if (ret)
		*ret = t;
	return 0;
}

static void dir_fetcher_cancel(struct fetcher *base, struct fetch *t)
{
	struct dir_fetcher *f = (struct dir_fetcher *)base;

	if (t == f->current) {
		t->cancelled = true;
		return;
	}
	TAILQ_REMOVE(queue_of(f, t), t, link);
	base->active--;
	fetch_free(t);
}

static void dir_fetcher_allow(struct fetcher *base, struct fetch *t, uint64_t limit)
{
	(void)base;
	t->limit = limit;
}

/* Whether there is something to do for it, its end included. */
static bool may_move(const struct fetch *t)
{
	return t->r < 0 || t->pos < t->limit || t->pos == t->end;
}

static struct fetch *first_that_may_move(const struct fetch_queue *q)
{
	struct fetch *t;

	TAILQ_FOREACH(t, q, link)
	if (may_move(t))
		return t;
	return NULL;
}

/* One slice. Sets *ret_over at the end and on failure, and then returns what done() is to be told.
 */
static int advance(struct dir_fetcher *f, struct fetch *t, bool *ret_over, struct frem_error *err)
{
	uint64_t left = (t->end < t->limit ? t->end : t->limit) - t->pos;
	size_t n = t->pos == t->end ? 0 : left < SLICE ? (size_t)left : SLICE;
	uint8_t *room = f->slice;
	ssize_t got;
	int r;

	*ret_over = true;
	if (t->r < 0)
		*err = t->err;
	if (t->r < 0 || n == 0)
		return t->r;
	if (t->req.into)
		room = (uint8_t *)t->req.into + (t->pos - t->req.offset);
	do
		got = pread(t->fd, room, n, (off_t)t->pos);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return frem_fail(err, FREM_STORE, errno, "reading the file");
	if (got == 0)
		return store_fail_short(err, t->pos);
	t->pos += (uint64_t)got;
	f->lane[t->req.urgent].bytes += (uint64_t)got;
	r = t->req.data(t->req.arg, room, (size_t)got);
	if (r) {
		store_fail(err, FREM_FAILED, abs(r), "stopped by the receiver");
		return r;
	}
	*ret_over = t->pos == t->end;
	return 0;
}

static void serve(struct dir_fetcher *f, struct fetch *t)
{
	struct frem_error err = {0};
	bool over;
	int r;

	f->current = t;
	r = advance(f, t, &over, &err);
	if (over && !t->cancelled) {
		if (r)
			store_context(f->fetcher.store, &err, r, "get", t->key);
		f->fetcher.active--;
		TAILQ_REMOVE(queue_of(f, t), t, link);
		t->req.done(t->req.arg, r, &err);
	} else if (t->cancelled) {
		f->fetcher.active--;
		TAILQ_REMOVE(queue_of(f, t), t, link);
	}
	f->current = NULL;
	if (over || t->cancelled)
		fetch_free(t);
}

static int dir_fetcher_step(struct fetcher *base, const struct turn *turn, bool *ret_called,
			    struct frem_error *err)
{
	struct dir_fetcher *f = (struct dir_fetcher *)base;
	struct fetch *t = first_that_may_move(&f->urgent);

	(void)turn;
	(void)err;
	if (!t)
		t = first_that_may_move(&f->bulk);
	*ret_called = t != NULL;
	if (t)
		serve(f, t);
	return 0;
}

static int dir_fetcher_fd(const struct fetcher *base)
{
	(void)base;
	return -1;
}

static int dir_fetcher_timeout(const struct fetcher *base)
{
	const struct dir_fetcher *f = (const struct dir_fetcher *)base;

	return first_that_may_move(&f->urgent) || first_that_may_move(&f->bulk) ? 0 : -1;
}

static uint64_t dir_fetcher_room(const struct fetcher *base)
{
	const struct dir_fetcher *f = (const struct dir_fetcher *)base;

	uint64_t left = 0;
	const struct fetch *t;

	TAILQ_FOREACH(t, &f->bulk, link)
	if (may_move(t))
		left += (t->end < t->limit ? t->end : t->limit) - t->pos;
	return left < AHEAD ? AHEAD - left : 0;
}

static void dir_fetcher_get_stats(const struct fetcher *base, struct fetcher_stats *ret)
{
	const struct dir_fetcher *f = (const struct dir_fetcher *)base;

	*ret = (struct fetcher_stats){.bytes = f->lane[0].bytes + f->lane[1].bytes,
				      .budget = AHEAD,
				      .request = SLICE,
				      .urgent = f->lane[1],
				      .bulk = f->lane[0]};
}

static const struct fetcher_ops dir_fetcher_ops = {
	.free = dir_fetcher_free,
	.start = dir_fetcher_start,
	.cancel = dir_fetcher_cancel,
	.allow = dir_fetcher_allow,
	.step = dir_fetcher_step,
	.fd = dir_fetcher_fd,
	.timeout = dir_fetcher_timeout,
	.room = dir_fetcher_room,
	.get_stats = dir_fetcher_get_stats,
};

int dir_fetcher_new(struct store *s, struct fetcher **ret, struct frem_error *err)
{
	struct dir_fetcher *f = calloc(1, sizeof(*f));

	if (!f)
		return frem_oom(err);
	f->fetcher.ops = &dir_fetcher_ops;
	f->fetcher.store = s;
	TAILQ_INIT(&f->urgent);
	TAILQ_INIT(&f->bulk);
	*ret = &f->fetcher;
	return 0;
}

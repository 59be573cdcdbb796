/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fetches over HTTP. Callbacks run only within the fetcher's own fetcher_run(): a transfer that
 * another call on the store moves meanwhile pauses until then.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "http_call.h"

#define FDS_MOST 1024
/* From a fast server curl takes as much as there is. The caller's descriptors are looked at after
 * so many bytes, and bulk ends a run after so long. */
#define LOOK_BYTES ((uint64_t)256 << 10)
#define RUN_MOST (2 * NSEC_PER_MSEC)

enum fetch_state {
	FETCH_NEW,	 /* to be started outside of curl */
	FETCH_UNDER_WAY, /* its call is in the store's multi handle */
	FETCH_OVER,	 /* done is to be called */
	FETCH_IN_DONE,
};

struct fetch {
	struct http_call call; /* first: one is the other */
	TAILQ_ENTRY(fetch) link;
	struct http_fetcher *fetcher;
	struct fetch_request req;
	char *key;
	enum fetch_state state;
	bool cancelled; /* while curl was at work: to be freed behind it */
};

TAILQ_HEAD(fetch_list, fetch);

struct http_fetcher {
	struct fetcher fetcher;
	struct http_store *h;
	struct fetch_list fetches;
	bool running;	/* data may be passed on */
	bool called;	/* a callback was called in this run */
	bool has_new;	/* fetches to be started */
	bool cancelled; /* fetches to be freed */
	size_t n_over;
	uint64_t last_run;
	struct pollfd *fds; /* the caller's, of this run */
	unsigned n_fds;
	uint64_t run_start;
	uint64_t look_at; /* at this count of bytes, see whether to yield */
	bool yield;
	struct curl_waitfd *wait;
	unsigned wait_cap;
	uint64_t bytes;
};

static void fetch_free(struct fetch *t)
{
	TAILQ_REMOVE(&t->fetcher->fetches, t, link);
	if (t->state == FETCH_OVER)
		t->fetcher->n_over--;
	if (t->call.h)
		http_call_done(&t->call);
	free(t->key);
	free(t);
}

static void http_fetcher_free(struct fetcher *base)
{
	struct http_fetcher *f = (struct http_fetcher *)base;
	struct fetch *t;

	while ((t = TAILQ_FIRST(&f->fetches)))
		fetch_free(t);
	free(f->wait);
	free(f);
}

/* Is it time to return to the caller? What is urgent goes on nevertheless. */
static bool must_yield(struct http_fetcher *f)
{
	if (!f->yield && f->bytes >= f->look_at) {
		f->look_at = f->bytes + LOOK_BYTES;
		f->yield = clock_ns() - f->run_start > RUN_MOST ||
			   (f->n_fds && poll(f->fds, f->n_fds, 0) > 0);
	}
	return f->yield;
}

static bool fetch_ready(struct http_call *c)
{
	const struct fetch *t = (const struct fetch *)c;

	if (t->cancelled)
		return true;
	return t->fetcher->running && (t->req.urgent || !must_yield(t->fetcher));
}

static int fetch_data(struct http_call *c, const void *data, size_t n)
{
	struct fetch *t = (struct fetch *)c;
	int r;

	if (t->cancelled)
		return -ECANCELED;
	t->fetcher->bytes += n;
	t->fetcher->called = true;
	r = t->req.data(t->req.arg, data, n);
	if (r)
		store_fail(&c->err, FREM_FAILED, abs(r), "stopped by the receiver");
	return r;
}

static void fetch_over(struct http_call *c)
{
	struct fetch *t = (struct fetch *)c;

	t->state = FETCH_OVER;
	t->fetcher->n_over++;
}

/* Hands the fetch to curl; what fails here is told to done like everything else. */
static void begin(struct fetch *t)
{
	_cleanup_free_ char *path = http_encode("/", t->key, false);
	int r;

	t->call = (struct http_call){.method = HTTP_GET,
				     .offset = t->req.offset,
				     .len = t->req.len,
				     .exact = true,
				     .most = STORE_WHOLE,
				     .data = fetch_data,
				     .ready = fetch_ready,
				     .over = fetch_over};
	t->state = FETCH_UNDER_WAY;
	r = path ? http_call_start(&t->call, t->fetcher->h, path, &t->call.err)
		 : frem_oom(&t->call.err);
	if (r < 0) {
		t->call.r = r;
		fetch_over(&t->call);
	}
}

static int http_fetcher_start(struct fetcher *base, const struct fetch_request *req,
			      struct fetch **ret, struct frem_error *err)
{
	struct http_fetcher *f = (struct http_fetcher *)base;
	struct fetch *t = calloc(1, sizeof(*t));

	if (!t)
		return frem_oom(err);
	t->key = strdup(req->key);
	if (!t->key) {
		free(t);
		return frem_oom(err);
	}
	t->fetcher = f;
	t->req = *req;
	t->req.key = t->key;
	TAILQ_INSERT_TAIL(&f->fetches, t, link);
	base->active++;
	if (f->h->in_curl)
		f->has_new = true;
	else
		begin(t);
	if (ret)
		*ret = t;
	return 0;
}

static void http_fetcher_cancel(struct fetcher *base, struct fetch *t)
{
	struct http_fetcher *f = (struct http_fetcher *)base;

	if (t->state == FETCH_IN_DONE || t->cancelled)
		return;
	base->active--;
	t->cancelled = true;
	if (f->h->in_curl)
		f->cancelled = true;
	else
		fetch_free(t);
}

/* What was asked for while curl was at work. */
static void catch_up(struct http_fetcher *f)
{
	struct fetch *t, *next;

	if (!f->has_new && !f->cancelled)
		return;
	f->has_new = f->cancelled = false;
	for (t = TAILQ_FIRST(&f->fetches); t; t = next) {
		next = TAILQ_NEXT(t, link);
		if (t->cancelled)
			fetch_free(t);
		else if (t->state == FETCH_NEW)
			begin(t);
	}
}

static void deliver(struct fetch *t)
{
	struct http_fetcher *f = t->fetcher;

	t->state = FETCH_IN_DONE;
	f->n_over--;
	f->fetcher.active--;
	f->called = true;
	if (t->call.r)
		store_context(f->fetcher.store, &t->call.err, t->call.r, "get", t->key);
	t->req.done(t->req.arg, t->call.r, &t->call.err);
	fetch_free(t);
}

static void deliver_all(struct http_fetcher *f)
{
	struct fetch *t;

	while (f->n_over) {
		/* from the start each time: done may start and cancel any fetch */
		TAILQ_FOREACH(t, &f->fetches, link)
		if (t->state == FETCH_OVER)
			break;
		if (!t)
			break;
		deliver(t);
	}
}

/* Back in fetcher_run(): what paused goes on, and time spent elsewhere is nobody's stall. */
static void resume(struct http_fetcher *f)
{
	uint64_t now = clock_ns();
	bool away = now - f->last_run > NSEC_PER_SEC;
	struct fetch *t;

	f->last_run = now;
	TAILQ_FOREACH(t, &f->fetches, link)
	{
		if (t->state != FETCH_UNDER_WAY)
			continue;
		if (away)
			t->call.moved = now;
		if (t->call.paused)
			http_call_unpause(&t->call);
	}
}

static int move(struct http_fetcher *f, struct frem_error *err)
{
	int r;

	f->running = true;
	f->yield = false;
	f->run_start = clock_ns();
	f->look_at = f->bytes + LOOK_BYTES;
	catch_up(f);
	resume(f);
	r = http_step(f->h, err);
	f->running = false;
	catch_up(f);
	deliver_all(f);
	f->last_run = clock_ns();
	return r;
}

static int set_wait(struct http_fetcher *f, const struct pollfd *fds, unsigned n,
		    struct frem_error *err)
{
	if (n > FDS_MOST)
		return frem_fail(err, FREM_FAILED, E2BIG, "%u descriptors to wait for", n);
	if (n > f->wait_cap) {
		struct curl_waitfd *w = reallocarray(f->wait, n, sizeof(*w));

		if (!w)
			return frem_oom(err);
		f->wait = w;
		f->wait_cap = n;
	}
	for (unsigned i = 0; i < n; i++) {
		short e = fds[i].events;

		f->wait[i] = (struct curl_waitfd){.fd = fds[i].fd};
		f->wait[i].events = (short)((e & POLLIN ? CURL_WAIT_POLLIN : 0) |
					    (e & POLLPRI ? CURL_WAIT_POLLPRI : 0) |
					    (e & POLLOUT ? CURL_WAIT_POLLOUT : 0));
	}
	return 0;
}

static int time_left(uint64_t start, int timeout_ms)
{
	double gone = clock_ms_since(start);

	if (timeout_ms < 0)
		return -1;
	return gone >= timeout_ms ? 0 : timeout_ms - (int)gone;
}

static int http_fetcher_run(struct fetcher *base, struct pollfd *fds, unsigned n, int timeout_ms,
			    struct frem_error *err)
{
	struct http_fetcher *f = (struct http_fetcher *)base;
	uint64_t start = clock_ns();
	int r = set_wait(f, fds, n, err);

	f->called = false;
	f->fds = fds;
	f->n_fds = n;
	while (r == 0) {
		int left = time_left(start, timeout_ms), ready;

		r = move(f, err);
		if (r < 0)
			break;
		/* curl reports no hang-ups of our descriptors, so poll() has the word on them */
		ready = poll(fds, n, 0);
		if (ready < 0 && errno != EINTR)
			return frem_fail(err, FREM_FAILED, errno, "waiting for descriptors");
		if (f->called || ready > 0 || left == 0)
			break;
		r = http_wait(f->h, f->wait, n, left, err);
	}
	return r;
}

static void http_fetcher_get_stats(const struct fetcher *base, struct fetcher_stats *ret)
{
	const struct http_fetcher *f = (const struct http_fetcher *)base;

	*ret = (struct fetcher_stats){f->bytes, (double)f->h->rtt_us / 1000.0};
}

static const struct fetcher_ops http_fetcher_ops = {
	.free = http_fetcher_free,
	.start = http_fetcher_start,
	.cancel = http_fetcher_cancel,
	.run = http_fetcher_run,
	.get_stats = http_fetcher_get_stats,
};

int http_fetcher_new(struct store *s, struct fetcher **ret, struct frem_error *err)
{
	struct http_fetcher *f = calloc(1, sizeof(*f));

	if (!f)
		return frem_oom(err);
	f->fetcher.ops = &http_fetcher_ops;
	f->fetcher.store = s;
	f->h = (struct http_store *)s;
	TAILQ_INIT(&f->fetches);
	*ret = &f->fetcher;
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fetches from replicas: each from one of them, and where that fails, what is missing from another
 * one or once more from the same. An urgent fetch that takes suspiciously long is asked for a
 * second time meanwhile; the receiver gets whatever comes first, and each byte once.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>

#include "base/clock.h"
#include "base/log.h"
#include "replicas.h"

/* A second request for what is urgent: not for more than this, and not for many at once. */
#define HEDGE_BYTES (UINT64_C(256) << 10)
#define HEDGES_MOST 4u
#define HEDGE_UNKNOWN_NS NSEC_PER_SEC /* while nothing was measured */
#define HEDGE_SLACK_NS (50 * NSEC_PER_MSEC)
/* So often the others fail before one is asked again that was wrong. */
#define AVOID_FAILURES 4u
/* Bulk that does not move for so long goes to another replica, where there is one. */
#define MOVE_NS (3 * NSEC_PER_SEC)

struct attempt {
	struct fetch *owner;
	struct fetch *fetch; /* the replica's; NULL: none under way */
	unsigned replica;
	uint64_t at; /* up to where it has brought the object */
};

struct fetch {
	TAILQ_ENTRY(fetch) link;
	struct replica_fetcher *fetcher;
	struct fetch_request req;
	char *key;
	struct attempt attempt[2];
	uint64_t got; /* up to where the receiver has the object */
	uint32_t sources;
	uint32_t out; /* replicas that cannot serve it */
	unsigned failures;
	uint64_t progress_ns; /* start, or last new byte */
	uint64_t due_ns;      /* when something is to be done; 0: not */
	bool hedged, stopped;
	bool over; /* done was or is being called, or it was cancelled */
	int r;
	struct frem_error why;
};

TAILQ_HEAD(fetch_list, fetch);

struct replica_fetcher {
	struct fetcher fetcher;
	struct replicas *s;
	struct fetcher **of; /* each replica's */
	int epoll_fd;
	struct fetch_list fetches, gone;
	uint32_t served; /* replicas that have brought something */
	unsigned hedges, failures;
	bool stepping;
};

static void fetch_free(struct fetch *t)
{
	free(t->key);
	free(t);
}

static void reap(struct replica_fetcher *f)
{
	struct fetch *t;

	while ((t = TAILQ_FIRST(&f->gone))) {
		TAILQ_REMOVE(&f->gone, t, link);
		fetch_free(t);
	}
}

static void attempt_end(struct attempt *a)
{
	struct replica_fetcher *f = a->owner->fetcher;
	struct fetch *child = a->fetch;

	if (!child)
		return;
	a->fetch = NULL;
	f->hedges -= a == &a->owner->attempt[1];
	fetcher_cancel(f->of[a->replica], child);
}

/* Takes it out; it is freed when no callback of it can be under way any more. */
static void retire(struct fetch *t)
{
	struct replica_fetcher *f = t->fetcher;

	for (unsigned i = 0; i < 2; i++)
		attempt_end(&t->attempt[i]);
	t->over = true;
	TAILQ_REMOVE(&f->fetches, t, link);
	TAILQ_INSERT_TAIL(&f->gone, t, link);
	f->fetcher.active--;
}

static void finish(struct fetch *t, int r, const struct frem_error *err)
{
	struct frem_error none = {0};

	retire(t);
	t->req.done(t->req.arg, r, err ? err : &none);
}

/* ---- what a replica's fetch says ---- */

static int on_data(void *arg, const void *data, size_t n)
{
	struct attempt *a = arg;
	struct fetch *t = a->owner;
	struct replica_fetcher *f = t->fetcher;
	size_t known;
	int r;

	replica_good(f->s, a->replica);
	f->served |= UINT32_C(1) << a->replica;
	a->at += n;
	if (a->at <= t->got)
		return 0;
	known = n - (size_t)(a->at - t->got);
	data = (const uint8_t *)data + known;
	n -= known;
	t->sources |= UINT32_C(1) << a->replica;
	if (t->req.into) {
		uint8_t *room = (uint8_t *)t->req.into + (t->got - t->req.offset);

		if (room != data)
			memcpy(room, data, n);
		data = room;
	}
	t->got = a->at;
	t->progress_ns = clock_ns();
	r = t->req.data(t->req.arg, data, n);
	t->stopped = r != 0;
	return t->over ? -ECANCELED : r;
}

static void try_next(struct fetch *t);

static void on_failure(struct fetch *t, unsigned replica, int r, const struct frem_error *err)
{
	struct replica_fetcher *f = t->fetcher;

	if (t->stopped || replica_judge(err) == REPLICA_FINAL) {
		finish(t, r, err);
		return;
	}
	if (replica_says_more(err, &t->why)) {
		t->why = *err;
		t->r = r;
	}
	if (replica_judge(err) == REPLICA_CANNOT) {
		t->out |= UINT32_C(1) << replica;
	} else {
		f->failures++;
		t->failures++;
		replica_strike(f->s, replica);
		log_info("%s: trying again", err->text);
	}
	if (!t->attempt[0].fetch && !t->attempt[1].fetch)
		try_next(t);
}

static void on_done(void *arg, int r, const struct frem_error *err)
{
	struct attempt *a = arg;
	struct fetch *t = a->owner;

	t->fetcher->hedges -= a == &t->attempt[1];
	a->fetch = NULL;
	if (r == 0) {
		replica_good(t->fetcher->s, a->replica);
		finish(t, 0, NULL);
	} else {
		on_failure(t, a->replica, r, err);
	}
}

/* ---- asking ---- */

static int pick(const struct fetch *t, uint32_t out, uint64_t now)
{
	const struct replicas *s = t->fetcher->s;
	int i = -1;

	out |= t->out;
	if (t->failures < AVOID_FAILURES)
		i = replica_pick(s, out | t->req.avoid, now);
	return i >= 0 ? i : replica_pick(s, out, now);
}

static bool can_hedge(const struct fetch *t)
{
	return t->req.urgent && t->req.len <= HEDGE_BYTES;
}

/* By when an urgent fetch should be complete: twice what it would take with bulk before it. */
static uint64_t hedge_after(const struct fetch *t)
{
	struct fetcher_stats st;
	double ms;

	fetcher_get_stats(t->fetcher->of[t->attempt[0].replica], &st);
	if (st.rtt_ms <= 0 || st.rate <= 0)
		return HEDGE_UNKNOWN_NS;
	ms = st.rtt_ms + (double)(st.urgent.in_flight + st.bulk.in_flight) / st.rate * 1000;
	return (uint64_t)(2 * ms * (double)NSEC_PER_MSEC) + HEDGE_SLACK_NS;
}

static int begin(struct fetch *t, struct attempt *a, unsigned replica, struct frem_error *err)
{
	struct replica_fetcher *f = t->fetcher;
	struct fetch_request req = t->req;
	int r;

	*a = (struct attempt){.owner = t, .replica = replica, .at = t->got};
	req.offset = t->got;
	if (req.len != STORE_WHOLE)
		req.len -= t->got - t->req.offset;
	/* room is shared only with an attempt that is alone: else bytes could change that the
	 * receiver has looked at */
	req.into = can_hedge(t) || !t->req.into ? NULL
						: (uint8_t *)t->req.into + (t->got - t->req.offset);
	req.data = on_data;
	req.done = on_done;
	req.arg = a;
	r = fetcher_start(f->of[replica], &req, &a->fetch, err);
	if (r < 0)
		return r;
	if (a == &t->attempt[1])
		f->hedges++;
	t->due_ns = 0;
	if (can_hedge(t) && !t->hedged)
		t->due_ns = clock_ns() + hedge_after(t);
	else if (f->s->n > 1)
		t->due_ns = clock_ns() + MOVE_NS;
	return 0;
}

/* One that has served this fetcher before says that there is no such object, and the others, which
 * may have it, are not to be reached: that is good enough. */
static bool is_missing_for_good(const struct fetch *t, uint64_t now)
{
	const struct replica_fetcher *f = t->fetcher;

	return t->r == -ENOENT && (t->out & f->served) &&
	       f->s->of[replica_pick(f->s, t->out, now)].strikes;
}

static void try_next(struct fetch *t)
{
	struct replica_fetcher *f = t->fetcher;
	uint64_t now = clock_ns(), until;
	struct frem_error err;
	int i = pick(t, 0, now), r;

	if (i >= 0 && t->r && replica_judge(&t->why) == REPLICA_PASSING &&
	    replicas_given_up(f->s, t->progress_ns, now)) {
		if (f->s->answered)
			frem_context(&t->why, 0, "gone for %g s",
				     (double)f->s->store.timeout_ms / 1000);
		finish(t, t->r, &t->why);
		return;
	}
	if (i < 0 || is_missing_for_good(t, now)) {
		finish(t, t->r, &t->why);
		return;
	}
	until = f->s->of[i].aside_until;
	if (until > now) {
		t->due_ns = until;
		return;
	}
	r = begin(t, &t->attempt[0], (unsigned)i, &err);
	if (r < 0)
		finish(t, r, &err);
}

/* Another one that is well and was not wrong, or the same. */
static int second_choice(const struct fetch *t, uint64_t now)
{
	const struct replicas *s = t->fetcher->s;
	unsigned first = t->attempt[0].replica;
	int i = replica_pick(s, t->out | t->req.avoid | UINT32_C(1) << first, now);

	return i >= 0 && s->of[i].aside_until <= now ? i : (int)first;
}

/* The one that was asked is slow. */
static void on_slow(struct fetch *t, uint64_t now)
{
	struct replica_fetcher *f = t->fetcher;
	unsigned first = t->attempt[0].replica;
	int i = second_choice(t, now);
	struct frem_error err;
	int r;

	t->due_ns = 0;
	if (can_hedge(t)) {
		if (t->hedged || f->hedges >= HEDGES_MOST)
			return;
		t->hedged = true;
		f->failures++;
		r = begin(t, &t->attempt[1], (unsigned)i, &err);
		if (r < 0)
			finish(t, r, &err);
		return;
	}
	t->due_ns = t->progress_ns + MOVE_NS;
	if (t->due_ns > now)
		return;
	t->due_ns = now + MOVE_NS;
	if ((unsigned)i == first)
		return;
	attempt_end(&t->attempt[0]);
	store_fail(&err, FREM_STORE, ETIMEDOUT, "store '%s': get '%s': nothing moves",
		   f->s->of[first].store->url, t->key);
	on_failure(t, first, -ETIMEDOUT, &err);
}

static void do_due(struct replica_fetcher *f)
{
	uint64_t now = clock_ns();
	struct fetch *t, *next;

	for (t = TAILQ_FIRST(&f->fetches); t; t = next) {
		next = TAILQ_NEXT(t, link);
		if (!t->due_ns || t->due_ns > now)
			continue;
		if (t->attempt[0].fetch || t->attempt[1].fetch)
			on_slow(t, now);
		else
			try_next(t);
		if (next && next->over) /* by a callback: the rest is due the next time, too */
			return;
	}
}

/* ---- the fetcher ---- */

static void replica_fetcher_free(struct fetcher *base)
{
	struct replica_fetcher *f = (struct replica_fetcher *)base;
	struct fetch *t;

	while ((t = TAILQ_FIRST(&f->fetches)))
		retire(t);
	reap(f);
	for (unsigned i = 0; f->of && i < f->s->n; i++)
		fetcher_free(f->of[i]);
	free(f->of);
	if (f->epoll_fd >= 0)
		close(f->epoll_fd);
	free(f);
}

/* What was wrong counts against those it came from. */
static void avoid(struct replica_fetcher *f, uint32_t mask)
{
	for (unsigned i = 0; i < f->s->n; i++)
		if (mask >> i & 1)
			replica_doubt(f->s, i);
}

static int replica_fetcher_start(struct fetcher *base, const struct fetch_request *req,
				 struct fetch **ret, struct frem_error *err)
{
	struct replica_fetcher *f = (struct replica_fetcher *)base;
	uint64_t now = clock_ns();
	struct fetch *t = calloc(1, sizeof(*t));
	int i, r = 0;

	if (!t)
		return frem_oom(err);
	t->key = strdup(req->key);
	if (!t->key) {
		fetch_free(t);
		return frem_oom(err);
	}
	replicas_settings(f->s);
	avoid(f, req->avoid);
	t->fetcher = f;
	t->req = *req;
	t->req.key = t->key;
	t->got = req->offset;
	t->progress_ns = now;
	t->attempt[0].owner = t->attempt[1].owner = t;
	i = pick(t, 0, now);
	t->due_ns = f->s->of[i].aside_until;
	if (t->due_ns <= now)
		r = begin(t, &t->attempt[0], (unsigned)i, err);
	if (r < 0) {
		fetch_free(t);
		return r;
	}
	TAILQ_INSERT_TAIL(&f->fetches, t, link);
	base->active++;
	if (ret)
		*ret = t;
	return 0;
}

static void replica_fetcher_cancel(struct fetcher *base, struct fetch *t)
{
	struct replica_fetcher *f = (struct replica_fetcher *)base;

	if (t->over)
		return;
	retire(t);
	if (!f->stepping)
		reap(f);
}

static void replica_fetcher_allow(struct fetcher *base, struct fetch *t, uint64_t limit)
{
	struct replica_fetcher *f = (struct replica_fetcher *)base;

	t->req.limit = limit;
	for (unsigned i = 0; i < 2; i++)
		if (t->attempt[i].fetch)
			fetcher_allow(f->of[t->attempt[i].replica], t->attempt[i].fetch, limit);
}

static uint32_t replica_fetch_sources(const struct fetch *t)
{
	return t->sources;
}

static int replica_fetcher_step(struct fetcher *base, const struct turn *turn, bool *ret_called,
				struct frem_error *err)
{
	struct replica_fetcher *f = (struct replica_fetcher *)base;
	size_t active = base->active;
	int r = 0;

	*ret_called = false;
	f->stepping = true;
	for (unsigned i = 0; i < f->s->n && r == 0; i++) {
		bool called = false;

		r = f->of[i]->ops->step(f->of[i], turn, &called, err);
		*ret_called |= called;
	}
	if (r == 0)
		do_due(f);
	*ret_called |= base->active != active;
	f->stepping = false;
	reap(f);
	return r;
}

static int replica_fetcher_fd(const struct fetcher *base)
{
	return ((const struct replica_fetcher *)base)->epoll_fd;
}

static int replica_fetcher_timeout(const struct fetcher *base)
{
	const struct replica_fetcher *f = (const struct replica_fetcher *)base;
	uint64_t now = clock_ns(), at = UINT64_MAX;
	const struct fetch *t;
	int least = -1;

	TAILQ_FOREACH(t, &f->fetches, link)
	if (t->due_ns && t->due_ns < at)
		at = t->due_ns;
	if (at != UINT64_MAX)
		least = at <= now ? 0 : (int)((at - now) / NSEC_PER_MSEC) + 1;
	for (unsigned i = 0; i < f->s->n; i++) {
		int ms = f->of[i]->ops->timeout(f->of[i]);

		if (ms >= 0 && (least < 0 || ms < least))
			least = ms;
	}
	return least;
}

/* The one that is asked first. */
static const struct fetcher *preferred(const struct replica_fetcher *f)
{
	return f->of[replica_pick(f->s, 0, clock_ns())];
}

static uint64_t replica_fetcher_room(const struct fetcher *base)
{
	const struct replica_fetcher *f = (const struct replica_fetcher *)base;
	const struct fetch *t;

	/* what waits for a store to come back would only grow */
	TAILQ_FOREACH(t, &f->fetches, link)
	if (!t->req.urgent && !t->attempt[0].fetch)
		return 0;
	return fetcher_room(preferred(f));
}

static void replica_fetcher_get_stats(const struct fetcher *base, struct fetcher_stats *ret)
{
	const struct replica_fetcher *f = (const struct replica_fetcher *)base;
	struct fetcher_stats all, one;

	fetcher_get_stats(preferred(f), &all);
	all.bytes = 0;
	all.urgent = all.bulk = (struct fetcher_lane_stats){0};
	for (unsigned i = 0; i < f->s->n; i++) {
		fetcher_get_stats(f->of[i], &one);
		all.bytes += one.bytes;
		all.urgent.bytes += one.urgent.bytes;
		all.urgent.in_flight += one.urgent.in_flight;
		all.bulk.bytes += one.bulk.bytes;
		all.bulk.in_flight += one.bulk.in_flight;
	}
	all.failures = f->failures;
	*ret = all;
}

static const struct fetcher_ops replica_fetcher_ops = {
	.free = replica_fetcher_free,
	.start = replica_fetcher_start,
	.cancel = replica_fetcher_cancel,
	.allow = replica_fetcher_allow,
	.sources = replica_fetch_sources,
	.step = replica_fetcher_step,
	.fd = replica_fetcher_fd,
	.timeout = replica_fetcher_timeout,
	.room = replica_fetcher_room,
	.get_stats = replica_fetcher_get_stats,
};

static int open_each(struct replica_fetcher *f, struct frem_error *err)
{
	f->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	f->of = calloc(f->s->n, sizeof(struct fetcher *));
	if (f->epoll_fd < 0 || !f->of)
		return frem_oom(err);
	for (unsigned i = 0; i < f->s->n; i++) {
		struct epoll_event e = {.events = EPOLLIN};
		int r = fetcher_new(f->s->of[i].store, &f->of[i], err), fd;

		if (r < 0)
			return r;
		fd = f->of[i]->ops->fd(f->of[i]);
		if (fd >= 0 && epoll_ctl(f->epoll_fd, EPOLL_CTL_ADD, fd, &e) < 0)
			return frem_fail(err, FREM_FAILED, errno, "preparing transfers");
	}
	return 0;
}

int replica_fetcher_new(struct store *s, struct fetcher **ret, struct frem_error *err)
{
	struct replica_fetcher *f = calloc(1, sizeof(*f));
	int r;

	if (!f)
		return frem_oom(err);
	f->fetcher.ops = &replica_fetcher_ops;
	f->fetcher.store = s;
	f->s = (struct replicas *)s;
	TAILQ_INIT(&f->fetches);
	TAILQ_INIT(&f->gone);
	r = open_each(f, err);
	if (r < 0) {
		replica_fetcher_free(&f->fetcher);
		return r;
	}
	*ret = &f->fetcher;
	return 0;
}

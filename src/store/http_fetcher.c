/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "http_fetch.h"

#define EVENTS 64

static void http_fetcher_free(struct fetcher *base)
{
	struct http_fetcher *f = (struct http_fetcher *)base;
	struct fetches *lists[] = {&f->lane[LANE_URGENT].asking, &f->lane[LANE_BULK].asking,
				   &f->asked, &f->over, &f->cancelled};

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		struct fetch *t;

		while ((t = TAILQ_FIRST(lists[i]))) {
			fetch_unlink(t);
			fetch_free(t);
		}
	}
	fetches_reap(f);
	http_slots_done(&f->slots);
	free(f);
}

static int http_fetcher_start(struct fetcher *base, const struct fetch_request *req,
			      struct fetch **ret, struct frem_error *err)
{
	struct http_fetcher *f = (struct http_fetcher *)base;
	struct fetch *t = calloc(1, sizeof(*t));

	if (!t)
		return frem_oom(err);
	t->key = strdup(req->key);
	t->path = http_encode("/", req->key, false);
	if (!t->key || !t->path) {
		fetch_free(t);
		return frem_oom(err);
	}
	t->fetcher = f;
	t->req = *req;
	t->req.key = t->key;
	t->asked = t->given = req->offset;
	t->end = req->len == STORE_WHOLE ? STORE_WHOLE : req->offset + req->len;
	t->limit = req->limit ? req->limit : STORE_WHOLE;
	t->total = STORE_WHOLE;
	TAILQ_INIT(&t->parts);
	TAILQ_INSERT_TAIL(&fetch_lane(t)->asking, t, link);
	f->fresh = true;
	base->active++;
	if (ret)
		*ret = t;
	return 0;
}

static void http_fetcher_cancel(struct fetcher *base, struct fetch *t)
{
	struct http_fetcher *f = (struct http_fetcher *)base;

	if (t->state == FETCH_CANCELLED)
		return;
	base->active--;
	fetch_unlink(t);
	t->state = FETCH_CANCELLED;
	TAILQ_INSERT_TAIL(&f->cancelled, t, link);
	if (!f->stepping)
		fetches_reap(f);
}

static void http_fetcher_allow(struct fetcher *base, struct fetch *t, uint64_t limit)
{
	t->limit = limit;
	((struct http_fetcher *)base)->fresh = true;
}

static void deliver_all(struct http_fetcher *f)
{
	struct fetch *t;

	while ((t = TAILQ_FIRST(&f->over))) {
		fetch_unlink(t);
		/* from here on it can no longer be cancelled */
		t->state = FETCH_CANCELLED;
		TAILQ_INSERT_TAIL(&f->cancelled, t, link);
		f->fetcher.active--;
		f->called = true;
		if (t->r)
			store_context(f->fetcher.store, &t->err, t->r, "get", t->key);
		t->req.done(t->req.arg, t->r, &t->err);
	}
}

static int kick(struct http_fetcher *f, struct frem_error *err)
{
	uint64_t now = clock_ns();
	int r = 0;

	for (unsigned i = 0; i < f->slots.n && r == 0; i++)
		r = http_conn_kick(&f->slots.slot[i]->conn, now, err);
	return r;
}

static bool is_urgent(const struct http_slot *s)
{
	const struct http_call *c = TAILQ_FIRST(&s->conn.calls);
	const struct part *p = (const struct part *)c;

	return p && p->fetch && p->fetch->req.urgent;
}

/* What is urgent goes first, and goes on when it is time to return to the caller. */
static int take_events(struct http_fetcher *f, const struct turn *turn, struct frem_error *err)
{
	struct epoll_event events[EVENTS];
	int n = epoll_wait(f->slots.epoll_fd, events, EVENTS, 0), r = 0;

	for (int urgent = 1; urgent >= 0; urgent--) {
		for (int i = 0; i < n && r == 0; i++) {
			struct http_slot *s = f->slots.slot[http_conn_of(&events[i])];

			if (is_urgent(s) != urgent || !events[i].events)
				continue;
			r = http_conn_event(&s->conn, &events[i], err);
			events[i].events = 0;
			if (!urgent && r == 0 && turn_is_over(turn))
				return 0;
		}
	}
	return r;
}

static void end_stalled(struct http_fetcher *f)
{
	unsigned stall = f->fetcher.store->stall_ms;
	uint64_t now = clock_ns();

	/* time spent elsewhere is nobody's stall */
	if (now - f->last_step > NSEC_PER_SEC)
		for (unsigned i = 0; i < f->slots.n; i++) {
			struct http_call *c;

			TAILQ_FOREACH(c, &f->slots.slot[i]->conn.calls, link)
			c->moved = now;
		}
	f->last_step = now;
	if (now - f->last_stall_check < stall * NSEC_PER_MSEC / 32)
		return;
	f->last_stall_check = now;
	for (unsigned i = 0; i < f->slots.n; i++)
		http_conn_end_stalled(&f->slots.slot[i]->conn, stall, now);
}

static int http_fetcher_step(struct fetcher *base, const struct turn *turn, bool *ret_called,
			     struct frem_error *err)
{
	struct http_fetcher *f = (struct http_fetcher *)base;
	int r;

	f->stepping = true;
	f->called = false;
	end_stalled(f);
	r = take_events(f, turn, err);
	if (r == 0)
		r = kick(f, err);
	if (r == 0) {
		fetches_settle(f);
		deliver_all(f);
		f->fresh = false;
		r = fetches_pump(f, err);
	}
	if (r == 0)
		r = kick(f, err);
	fetches_reap(f);
	f->stepping = false;
	*ret_called = f->called;
	return r;
}

static int http_fetcher_fd(const struct fetcher *base)
{
	return ((const struct http_fetcher *)base)->slots.epoll_fd;
}

static int http_fetcher_timeout(const struct fetcher *base)
{
	const struct http_fetcher *f = (const struct http_fetcher *)base;
	uint64_t now = clock_ns(), at, more;

	if (f->fresh || f->ended || !TAILQ_EMPTY(&f->over))
		return 0;
	if (!base->active)
		return -1;
	at = now + (base->store->stall_ms / 16 + 1) * NSEC_PER_MSEC;
	for (unsigned i = 0; i < f->slots.n; i++) {
		uint64_t timer = f->slots.slot[i]->conn.timer_ns;

		if (timer && timer < at)
			at = timer;
	}
	more = http_slots_more_at(&f->slots);
	if (more && more < at)
		at = more;
	more = f->lane[LANE_BULK].busy ? fetch_late_ns(f) / 4 : 0;
	if (more && now + more < at)
		at = now + more;
	return at <= now ? 0 : (int)((at - now + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC);
}

static void http_fetcher_get_stats(const struct fetcher *base, struct fetcher_stats *ret)
{
	const struct http_fetcher *f = (const struct http_fetcher *)base;
	const struct http_lane *urgent = &f->lane[LANE_URGENT], *bulk = &f->lane[LANE_BULK];

	*ret = (struct fetcher_stats){.bytes = urgent->stats.bytes + bulk->stats.bytes,
				      .rtt_ms =
					      f->pace.base_ms > 0 ? f->pace.base_ms : f->h->rtt_ms,
				      .rate = pace_rate(&f->pace),
				      .found = f->pace.full,
				      .budget = pace_budget(&f->pace),
				      .request = fetch_part_size(f),
				      .urgent = urgent->stats,
				      .bulk = bulk->stats};
	ret->urgent.in_flight = urgent->in_flight;
	ret->bulk.in_flight = bulk->in_flight;
}

/* What waits to be asked for counts as if it were. */
static uint64_t http_fetcher_room(const struct fetcher *base)
{
	const struct http_fetcher *f = (const struct http_fetcher *)base;
	const struct http_lane *bulk = &f->lane[LANE_BULK];
	uint64_t budget = pace_budget(&f->pace), used = bulk->in_flight;
	const struct fetch *t;

	TAILQ_FOREACH(t, &bulk->asking, link)
	{
		uint64_t unasked = fetch_unasked(t);

		if (unasked == STORE_WHOLE)
			return 0;
		used += unasked;
	}
	return used < budget ? budget - used : 0;
}

static const struct fetcher_ops http_fetcher_ops = {
	.free = http_fetcher_free,
	.start = http_fetcher_start,
	.cancel = http_fetcher_cancel,
	.allow = http_fetcher_allow,
	.step = http_fetcher_step,
	.fd = http_fetcher_fd,
	.timeout = http_fetcher_timeout,
	.get_stats = http_fetcher_get_stats,
	.room = http_fetcher_room,
};

int http_fetcher_new(struct store *s, struct fetcher **ret, struct frem_error *err)
{
	struct http_fetcher *f = calloc(1, sizeof(*f));
	int r;

	if (!f)
		return frem_oom(err);
	f->fetcher.ops = &http_fetcher_ops;
	f->fetcher.store = s;
	f->h = (struct http_store *)s;
	for (unsigned i = 0; i < N_LANES; i++)
		TAILQ_INIT(&f->lane[i].asking);
	TAILQ_INIT(&f->asked);
	TAILQ_INIT(&f->over);
	TAILQ_INIT(&f->cancelled);
	TAILQ_INIT(&f->abandoned);
	r = http_slots_init(&f->slots, f->h->tls, err);
	if (r < 0) {
		free(f);
		return r;
	}
	*ret = &f->fetcher;
	return 0;
}

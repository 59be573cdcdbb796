/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "http_fetch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

/* The time that a part may stand still is doubled so often. */
#define OVERTAKEN_MOST 6

struct http_lane *fetch_lane(const struct fetch *t)
{
	return &t->fetcher->lane[t->req.urgent ? LANE_URGENT : LANE_BULK];
}

uint64_t fetch_unasked(const struct fetch *t)
{
	uint64_t end = t->end < t->limit ? t->end : t->limit;

	if (end == STORE_WHOLE)
		return STORE_WHOLE;
	return end > t->asked ? end - t->asked : 0;
}

static struct fetches *list_of(struct fetch *t)
{
	switch (t->state) {
	case FETCH_ASKING:
		return &fetch_lane(t)->asking;
	case FETCH_ASKED:
		return &t->fetcher->asked;
	case FETCH_OVER:
		return &t->fetcher->over;
	case FETCH_CANCELLED:
		break;
	}
	return &t->fetcher->cancelled;
}

static void move_to(struct fetch *t, enum fetch_state state)
{
	TAILQ_REMOVE(list_of(t), t, link);
	t->state = state;
	TAILQ_INSERT_TAIL(list_of(t), t, link);
}

/* ---- parts ---- */

/* Its call is over or no longer of interest. */
static void part_settled(struct fetch *t, struct part *p)
{
	struct http_lane *lane = fetch_lane(t);

	if (!p->slot)
		return;
	lane->in_flight -= p->owed;
	lane->busy--;
	p->owed = 0;
	p->slot->active--;
	p->slot = NULL;
}

static void part_abandon(struct fetch *t, struct part *p)
{
	TAILQ_REMOVE(&t->parts, p, link);
	part_settled(t, p);
	p->fetch = NULL;
	TAILQ_INSERT_TAIL(&t->fetcher->abandoned, p, link);
}

static void part_free(struct part *p)
{
	if (p->call.h)
		http_call_done(&p->call);
	buffer_done(&p->held);
	free(p);
}

void fetch_unlink(struct fetch *t)
{
	struct part *p;

	while ((p = TAILQ_FIRST(&t->parts)))
		part_abandon(t, p);
	TAILQ_REMOVE(list_of(t), t, link);
}

void fetch_free(struct fetch *t)
{
	free(t->key);
	free(t->path);
	free(t);
}

void fetches_reap(struct http_fetcher *f)
{
	struct fetch *t;
	struct part *p;

	while ((p = TAILQ_FIRST(&f->abandoned))) {
		TAILQ_REMOVE(&f->abandoned, p, link);
		part_free(p);
	}
	while ((t = TAILQ_FIRST(&f->cancelled))) {
		TAILQ_REMOVE(&f->cancelled, t, link);
		fetch_free(t);
	}
}

/* ---- the end of a fetch ---- */

static void fetch_end(struct fetch *t, int r)
{
	struct part *p;

	if (t->state == FETCH_OVER || t->state == FETCH_CANCELLED)
		return;
	while ((p = TAILQ_FIRST(&t->parts)))
		part_abandon(t, p);
	t->r = r;
	move_to(t, FETCH_OVER);
}

static void fail_wrong(struct fetch *t, const char *what)
{
	fetch_end(t, store_fail(&t->err, FREM_STORE, EIO, "wrong answer of the server: %s", what));
}

/* Gives the receiver bytes whose turn it is. False: the fetch has come to an end by that. */
static bool give(struct fetch *t, const void *data, size_t n)
{
	int r;

	t->fetcher->called = true;
	t->given += n;
	r = t->req.data(t->req.arg, data, n);
	if (t->state == FETCH_CANCELLED)
		return false;
	if (r) {
		store_fail(&t->err, FREM_FAILED, abs(r), "stopped by the receiver");
		fetch_end(t, r);
	}
	return r == 0;
}

static uint8_t *room_of(const struct fetch *t, const struct part *p, uint64_t at)
{
	return (uint8_t *)t->req.into + (p->offset - t->req.offset) + at;
}

/* ---- what a part's call says ---- */

/* The server has no ranges, but the fetch begins at the object's start: all of it comes at once. */
static int take_whole(struct part *p)
{
	struct fetch *t = p->fetch;
	struct http_lane *lane = fetch_lane(t);
	struct part *other;

	while ((other = TAILQ_NEXT(p, link)))
		part_abandon(t, other);
	p->call.len = t->req.len;
	p->call.exact = true;
	if (http_answer_whole(&p->call) < 0)
		return p->call.r;
	p->len = p->call.want;
	lane->in_flight -= p->owed;
	p->owed = p->len == STORE_WHOLE ? 0 : p->len;
	lane->in_flight += p->owed;
	t->total = p->call.total;
	t->end = t->asked = p->len;
	if (t->state == FETCH_ASKING)
		move_to(t, FETCH_ASKED);
	return 0;
}

/* What is behind the object's end was asked for in vain. */
static void end_known(struct fetch *t, uint64_t total)
{
	struct part *p, *next;

	t->total = total;
	if (total < (t->end == STORE_WHOLE ? t->req.offset : t->end)) {
		fetch_end(t, store_fail_short(&t->err, total));
		return;
	}
	if (t->end != STORE_WHOLE)
		return;
	t->end = total;
	for (p = TAILQ_FIRST(&t->parts); p; p = next) {
		next = TAILQ_NEXT(p, link);
		if (p->offset >= total && p->offset > t->req.offset)
			part_abandon(t, p);
	}
	if (t->asked >= t->end && t->state == FETCH_ASKING)
		move_to(t, FETCH_ASKED);
}

static int part_accepted(struct http_call *c)
{
	struct part *p = (struct part *)c;
	struct fetch *t = p->fetch;

	if (!t)
		return -ECANCELED;
	if (c->status == 200 && c->range_sent)
		return take_whole(p);
	if (c->total == STORE_WHOLE)
		return 0;
	if (t->total != STORE_WHOLE && t->total != c->total) {
		fail_wrong(t, "the object's size has changed");
		return -EIO;
	}
	end_known(t, c->total);
	return p->fetch ? 0 : -ECANCELED;
}

static int part_data(struct http_call *c, const void *data, size_t n)
{
	struct part *p = (struct part *)c;
	struct fetch *t = p->fetch;
	struct http_lane *lane;
	uint64_t owed, at = c->got - n, now = clock_ns();

	if (!t)
		return -ECANCELED;
	lane = fetch_lane(t);
	owed = n < p->owed ? n : p->owed;
	p->owed -= owed;
	lane->in_flight -= owed;
	lane->stats.bytes += n;
	pace_bytes(&t->fetcher->pace, n, now);
	if (at == 0)
		pace_delay(&t->fetcher->pace, http_call_delay_ms(c), now);
	if (t->req.into)
		data = memcpy(room_of(t, p, at), data, n);
	if (p == TAILQ_FIRST(&t->parts)) {
		p->given += n;
		return give(t, data, n) ? 0 : -ECANCELED;
	}
	if (!t->req.into && buffer_append(&p->held, data, n) < 0)
		return frem_oom(&c->err);
	return 0;
}

static void part_over(struct http_call *c)
{
	struct part *p = (struct part *)c;

	if (!p->fetch)
		return;
	p->fetch->fetcher->ended = true;
	if (c->r == 0)
		p->fetch->fetcher->came_ns = clock_ns();
}

/* ---- in order ---- */

/* The server did not want the connection, or not now: it has said nothing else. */
static bool is_refused(const struct http_call *c)
{
	return c->r < 0 && c->got == 0 && c->err.code == FREM_STORE && c->err.errnum != ETIMEDOUT &&
	       (c->status == 0 || c->status == 429 || c->status == 503);
}

/* Its connection is free for the next request, whether its bytes had their turn or not. */
static void release_slot(struct fetch *t, struct part *p, uint64_t now)
{
	struct http_slots *slots = &t->fetcher->slots;
	struct http_slot *slot = p->slot;

	if (!slot)
		return;
	part_settled(t, p);
	http_slots_ended(slots, slot, p->call.answered, now);
	if (!is_refused(&p->call) || !http_slots_refused(slots, slot, now))
		return;
	log_info("%s: %s: fewer connections are used", t->fetcher->fetcher.store->url,
		 p->call.err.text);
	http_call_done(&p->call);
	p->call = (struct http_call){0};
	p->waits = true;
}

/* Gives what was held until now. */
static bool give_held(struct fetch *t, struct part *p)
{
	uint64_t from = p->given;
	struct buffer held = p->held;
	bool go_on;

	if (from == p->call.got)
		return true;
	p->given = p->call.got;
	if (t->req.into)
		return give(t, room_of(t, p, from), p->given - from);
	p->held = (struct buffer){0};
	go_on = give(t, held.data, held.len);
	buffer_done(&held);
	return go_on;
}

/* The part whose turn it was is complete. */
static bool part_complete(struct fetch *t, struct part *p)
{
	uint64_t end = p->len == STORE_WHOLE ? t->given : p->offset + p->len;

	if (t->end == STORE_WHOLE && p->len == STORE_WHOLE)
		t->end = end;
	part_abandon(t, p);
	if (t->given == (end < t->end ? end : t->end))
		return true;
	fail_wrong(t, "a body shorter than its range");
	return false;
}

static void settle(struct fetch *t, uint64_t now)
{
	struct part *p;

	TAILQ_FOREACH(p, &t->parts, link)
	if (p->call.finished)
		release_slot(t, p, now);
	while ((p = TAILQ_FIRST(&t->parts))) {
		if (!give_held(t, p) || !p->call.finished)
			return;
		if (p->call.r) {
			t->err = p->call.err;
			fetch_end(t, p->call.r);
			return;
		}
		if (!part_complete(t, p))
			return;
	}
	if (t->state == FETCH_ASKED && t->given == t->end)
		fetch_end(t, 0);
}

void fetches_settle(struct http_fetcher *f)
{
	struct fetches *lists[] = {&f->lane[LANE_URGENT].asking, &f->lane[LANE_BULK].asking,
				   &f->asked};
	uint64_t now = clock_ns();

	if (!f->ended)
		return;
	f->ended = false;
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		struct fetch *t = TAILQ_FIRST(lists[i]), *next;

		for (; t; t = next) {
			/* `next` may be cancelled in a callback, but is not freed before the end of
			 * the step; it then leads elsewhere, and the rest is looked at again */
			next = TAILQ_NEXT(t, link);
			settle(t, now);
			if (next && list_of(next) != lists[i]) {
				f->ended = true;
				break;
			}
		}
	}
}

/* ---- asking ---- */

static int part_start(struct fetch *t, struct part *p, struct http_slot *slot,
		      struct frem_error *err)
{
	struct http_lane *lane = fetch_lane(t);
	int r;

	p->call = (struct http_call){.method = HTTP_GET,
				     .offset = p->offset,
				     .len = p->len,
				     .exact = t->end != STORE_WHOLE,
				     .most = STORE_WHOLE,
				     .data = part_data,
				     .accepted = part_accepted,
				     .over = part_over};
	r = http_call_start(&p->call, t->fetcher->h, &slot->conn, t->path, err);
	if (r < 0)
		return r;
	p->slot = slot;
	p->owed = p->len;
	slot->active++;
	lane->busy++;
	lane->in_flight += p->len;
	return 0;
}

int fetch_ask(struct fetch *t, struct http_slot *slot, uint64_t len, struct frem_error *err)
{
	struct part *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return frem_oom(err);
	p->fetch = t;
	p->offset = t->asked;
	p->len = len;
	r = part_start(t, p, slot, err);
	if (r < 0) {
		free(p);
		return r;
	}
	TAILQ_INSERT_TAIL(&t->parts, p, link);
	t->asked += len;
	if (t->asked == t->end)
		move_to(t, FETCH_ASKED);
	return 0;
}

int fetch_ask_again(struct fetch *t, struct frem_error *err)
{
	struct part *p;

	TAILQ_FOREACH(p, &t->parts, link)
	{
		struct http_slot *slot;
		int r;

		if (!p->waits)
			continue;
		r = http_slots_for_bulk(&t->fetcher->slots, 0, 1, &slot, err);
		if (r < 0 || !slot)
			return r;
		if (t->end != STORE_WHOLE && p->offset + p->len > t->end)
			p->len = t->end - p->offset;
		r = part_start(t, p, slot, err);
		if (r < 0)
			return r;
		p->waits = false;
	}
	return 0;
}

/* The link and the server are alive: since it moved, something else has come whole. What came of it
 * has been given, where its turn it is. */
static bool stands_still(const struct fetch *t, const struct part *p, uint64_t late_ns,
			 uint64_t now)
{
	if (p->waits || p->call.finished || p->len == STORE_WHOLE)
		return false;
	if (p == TAILQ_FIRST(&t->parts) && p->given != p->call.got)
		return false;
	return now - p->call.moved >= late_ns << p->overtaken &&
	       t->fetcher->came_ns > p->call.moved;
}

/* What was not given, in its place. */
static int overtake(struct fetch *t, struct part *p, uint64_t now, struct frem_error *err)
{
	struct part *rest = calloc(1, sizeof(*rest));

	if (!rest)
		return frem_oom(err);
	rest->fetch = t;
	rest->offset = p->offset + p->given;
	rest->len = p->len - p->given;
	rest->overtaken = p->overtaken < OVERTAKEN_MOST ? p->overtaken + 1 : OVERTAKEN_MOST;
	rest->waits = true;
	log_debug("%s: %s: nothing came for %.0f ms at %llu: asked for once more",
		  t->fetcher->fetcher.store->url, t->key,
		  (double)(now - p->call.moved) / NSEC_PER_MSEC, (unsigned long long)rest->offset);
	TAILQ_INSERT_BEFORE(p, rest, link);
	part_abandon(t, p);
	return 0;
}

int fetch_overtake(struct fetch *t, uint64_t late_ns, struct frem_error *err)
{
	struct part *p, *next;
	uint64_t now = clock_ns();
	int r = 0;

	for (p = TAILQ_FIRST(&t->parts); p && r == 0; p = next) {
		next = TAILQ_NEXT(p, link);
		if (stands_still(t, p, late_ns, now))
			r = overtake(t, p, now, err);
	}
	return r;
}

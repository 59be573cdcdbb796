/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How much of a fetch is asked for next, and on which connection. */
#include "base/clock.h"
#include "http_fetch.h"

#define PART_LEAST (UINT64_C(64) << 10)
#define PART_MOST (UINT64_C(4) << 20)
#define PART_ALIGN UINT64_C(4096)
/* The last ones of an object. */
#define PART_TAIL_LEAST (UINT64_C(16) << 10)
/* What is urgent and larger is asked for like bulk. */
#define SPREAD_MOST (UINT64_C(256) << 10)
#define STAGGER 16u
/* A part may stand still for so many delays, and so long. */
#define LATE_DELAYS 3.0
#define LATE_MS 200.0
/* What a restore waits for: of the touch set, the first frames. */
#define FIRST_BYTES (UINT64_C(256) << 10)
/* What is urgent is small unless somebody knows better. */
#define LIKELY_LEAST SLOT_COLD_BYTES

static unsigned parts_most(const struct http_fetcher *f)
{
	return http_slots_bulk_most(f->pace.base_ms, f->pace.full, f->pace.full_rounds);
}

/* Of a request under way part has come already, half on average: so the budget is less than as many
 * as there can be. While windows grow, all connections are to be in use as long as that. */
uint64_t fetch_part_size(const struct http_fetcher *f)
{
	unsigned quarters = f->pace.full ? 5 : f->pace.base_ms > 0 ? 7 : 4;
	uint64_t size = pace_budget(&f->pace) * quarters / 4 / parts_most(f);

	size = (size + PART_ALIGN - 1) & ~(PART_ALIGN - 1);
	if (size > PART_MOST)
		return PART_MOST;
	return size < PART_LEAST ? PART_LEAST : size;
}

/*
 * The end of an object that is wanted whole is spread over many connections: each has but its share
 * of the link, and the last bytes must not wait for one with a large part. Not more than that: the
 * parts together fill the link until the end.
 */
static uint64_t tail_size(const struct fetch *t, uint64_t size, unsigned most)
{
	const struct pace *p = &t->fetcher->pace;
	uint64_t share = (t->end - t->asked) / most;
	uint64_t least = (uint64_t)(2 * pace_rate(p) * p->base_ms / 1000) / most;

	if (least < PART_TAIL_LEAST)
		least = PART_TAIL_LEAST;
	if (share < least)
		share = least;
	return share < size ? share : size;
}

/* While nothing has come: what is first in the object is asked for in pieces that come in one
 * flight. Whoever wants it in order has these in two round trips. */
static bool is_first(const struct fetch *t)
{
	return t->fetcher->pace.base_ms <= 0 && t->req.len == STORE_WHOLE &&
	       t->asked - t->req.offset < FIRST_BYTES;
}

static uint64_t bulk_size(const struct fetch *t, uint64_t left, unsigned *ret_most)
{
	const struct http_fetcher *f = t->fetcher;
	uint64_t size = fetch_part_size(f), tail = size;
	unsigned tail_most = f->slots.most - SLOTS_URGENT;

	*ret_most = parts_most(f);
	if (is_first(t))
		return left < SLOT_COLD_BYTES ? left : SLOT_COLD_BYTES;
	if (t->req.len == STORE_WHOLE && t->end != STORE_WHOLE && *ret_most > SLOTS_BULK_NEAR)
		tail = tail_size(t, size, tail_most);
	if (tail < size) {
		size = tail;
		*ret_most = tail_most;
	}
	if (!f->pace.full) /* of different sizes, so that they do not all end at once */
		size = size / 2 + size * (fetch_lane(t)->busy % STAGGER) / STAGGER;
	return left > size + size / 2 ? size : left;
}

/* While the size of the object is not known: as much as is likely there, else what fills the link.
 */
static uint64_t likely_left(const struct fetch *t)
{
	uint64_t likely = t->req.likely, asked = t->asked - t->req.offset;
	const struct part *p;
	unsigned ahead = 0;

	if (t->req.urgent && likely == 0)
		likely = LIKELY_LEAST;
	if (likely)
		return likely > asked ? likely - asked : 0;
	TAILQ_FOREACH(p, &t->parts, link)
	ahead++;
	return ahead < SLOTS_BULK_START ? 2 * fetch_part_size(t->fetcher) : 0;
}

/* How much of t to ask for next, and on which connection; *ret_slot NULL: not now. */
static int next_part(struct fetch *t, struct http_slot **ret_slot, uint64_t *ret_len,
		     struct frem_error *err)
{
	struct http_fetcher *f = t->fetcher;
	uint64_t left = fetch_unasked(t), likely;
	unsigned most;

	*ret_slot = NULL;
	if (t->end == STORE_WHOLE) {
		likely = likely_left(t);
		left = left < likely ? left : likely;
		if (left == 0)
			return 0;
	}
	if (t->asked >= t->limit)
		return 0;
	*ret_len = left;
	if (t->req.urgent && left <= SPREAD_MOST)
		return http_slots_for_urgent(&f->slots, left, f->lane[LANE_BULK].busy > 0,
					     f->pace.base_ms, ret_slot, ret_len, err);
	*ret_len = bulk_size(t, left, &most);
	return http_slots_for_bulk(&f->slots, fetch_lane(t)->busy, most, ret_slot, err);
}

static int pump_lane(struct http_fetcher *f, struct http_lane *lane, struct frem_error *err)
{
	uint64_t budget = pace_budget(&f->pace);
	struct fetch *t, *next;

	for (t = TAILQ_FIRST(&lane->asking); t; t = next) {
		next = TAILQ_NEXT(t, link);
		while (t->state == FETCH_ASKING) {
			struct http_slot *slot;
			uint64_t len = 0;
			int r;

			if (lane->in_flight >= budget)
				return 0;
			r = next_part(t, &slot, &len, err);
			if (r == 0 && slot)
				r = fetch_ask(t, slot, len, err);
			if (r < 0)
				return r;
			if (!slot)
				break;
		}
	}
	return 0;
}

/* Whether there is nothing more to ask for. */
static bool is_dry(const struct http_lane *lane)
{
	const struct fetch *t;

	TAILQ_FOREACH(t, &lane->asking, link)
	if (fetch_unasked(t))
		return false;
	return true;
}

static int ask_again(struct http_fetcher *f, struct frem_error *err)
{
	struct fetches *lists[] = {&f->lane[LANE_URGENT].asking, &f->lane[LANE_BULK].asking,
				   &f->asked};
	int r = 0;

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		struct fetch *t;

		TAILQ_FOREACH(t, lists[i], link)
		if (r == 0)
			r = fetch_ask_again(t, err);
	}
	return r;
}

uint64_t fetch_late_ns(const struct http_fetcher *f)
{
	return f->pace.base_ms > 0 ? (uint64_t)((LATE_DELAYS * f->pace.base_ms + LATE_MS) *
						(double)NSEC_PER_MSEC)
				   : 0;
}

static int overtake(struct http_fetcher *f, struct frem_error *err)
{
	struct fetches *lists[] = {&f->lane[LANE_BULK].asking, &f->asked};
	uint64_t late_ns = fetch_late_ns(f);
	int r = 0;

	for (size_t i = 0; late_ns && i < sizeof(lists) / sizeof(lists[0]); i++) {
		struct fetch *t;

		TAILQ_FOREACH(t, lists[i], link)
		if (r == 0 && !t->req.urgent)
			r = fetch_overtake(t, late_ns, err);
	}
	fetches_reap(f); /* their connections are free only then */
	return r;
}

int fetches_pump(struct http_fetcher *f, struct frem_error *err)
{
	struct http_lane *bulk = &f->lane[LANE_BULK];
	int r;

	http_slots_look(&f->slots, f->pace.base_ms, parts_most(f), clock_ns());
	r = overtake(f, err);
	if (r == 0)
		r = ask_again(f, err);
	for (unsigned i = 0; i < N_LANES && r == 0; i++)
		r = pump_lane(f, &f->lane[i], err);
	if (bulk->busy == 0 && f->lane[LANE_URGENT].busy == 0)
		pace_idle(&f->pace);
	else if (is_dry(bulk) && bulk->in_flight < pace_budget(&f->pace) / 2)
		pace_short(&f->pace);
	return r;
}

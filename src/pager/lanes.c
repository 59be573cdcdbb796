/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lanes.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

/* Demand fetches at once, each a descriptor of a local store; more faults than that wait for one of
 * them to end. */
#define DEMAND_MAX 32u

/* A fetch of consecutive frames. */
struct transfer {
	TAILQ_ENTRY(transfer) link;
	struct lanes *lanes;
	struct fetch *fetch;
	size_t first, next, end; /* frames; next: the first that is not complete */
	bool demand;
	struct buffer in; /* bytes of frame `next` and behind */
};

TAILQ_HEAD(transfers, transfer);

/* A frame that has to be fetched by itself: demanded, or because it was damaged. */
struct single {
	TAILQ_ENTRY(single) link;
	size_t frame;
	unsigned damaged; /* so often */
	uint32_t avoid;	  /* the replicas that gave it */
	bool busy;	  /* being fetched, or arrived and not yet judged */
};

TAILQ_HEAD(singles, single);

struct lanes {
	struct lanes_options o;
	struct plan *plan;
	struct transfers transfers; /* bulk in the order in which it comes */
	struct singles singles;
	unsigned n_demand;
	bool exhausted; /* the plan has nothing more */
	bool touch_had; /* the last room there was */
	bool given_up;
	struct frem_error why;
};

int lanes_new(const struct lanes_options *o, struct lanes **ret, struct frem_error *err)
{
	_cleanup_lanes_ struct lanes *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return frem_oom(err);
	l->o = *o;
	TAILQ_INIT(&l->transfers);
	TAILQ_INIT(&l->singles);
	r = plan_new(o->index, o->wanted, o->arg, &l->plan, err);
	if (r == 0)
		*ret = TAKE_PTR(l);
	return r;
}

static void transfer_free(struct transfer *t)
{
	struct lanes *l = t->lanes;

	TAILQ_REMOVE(&l->transfers, t, link);
	if (t->demand)
		l->n_demand--;
	buffer_done(&t->in);
	free(t);
}

void lanes_free(struct lanes *l)
{
	struct transfer *t;
	struct single *s;

	if (!l)
		return;
	while ((t = TAILQ_FIRST(&l->transfers))) {
		fetcher_cancel(l->o.fetcher, t->fetch);
		transfer_free(t);
	}
	while ((s = TAILQ_FIRST(&l->singles))) {
		TAILQ_REMOVE(&l->singles, s, link);
		free(s);
	}
	plan_free(l->plan);
	free(l);
}

/* The first reason is the one that counts. */
static void give_up(struct lanes *l, const struct frem_error *why)
{
	if (l->given_up)
		return;
	l->given_up = true;
	l->why = *why;
	if (l->why.code == FREM_OK)
		frem_oom(&l->why);
	frem_context(&l->why, 0, "fetching '%s'", l->o.key);
}

/* ---- frames by themselves ---- */

static struct single *find_single(const struct lanes *l, size_t frame)
{
	struct single *s;

	TAILQ_FOREACH(s, &l->singles, link)
	if (s->frame == frame)
		return s;
	return NULL;
}

static struct single *add_single(struct lanes *l, size_t frame)
{
	struct single *s = find_single(l, frame);

	if (s)
		return s;
	s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->frame = frame;
	TAILQ_INSERT_TAIL(&l->singles, s, link);
	plan_taken(l->plan, frame);
	return s;
}

static void give_up_frame(struct lanes *l, size_t frame, const struct frem_error *why)
{
	struct frem_error err = *why;

	err.code = FREM_DAMAGED;
	frem_context(&err, 0, "frame %zu at offset %" PRIu64, frame, l->o.index->offsets[frame]);
	give_up(l, &err);
}

void lanes_good(struct lanes *l, size_t frame)
{
	struct single *s = find_single(l, frame);

	plan_taken(l->plan, frame);
	if (!s)
		return;
	TAILQ_REMOVE(&l->singles, s, link);
	free(s);
}

void lanes_skip(struct lanes *l, size_t frame)
{
	plan_taken(l->plan, frame);
}

void lanes_dropped(struct lanes *l, size_t frame)
{
	plan_again(l->plan, frame);
	l->exhausted = false;
}

/* ---- transfers ---- */

/* Moves complete frames to the queue of arrived ones. */
static int collect(struct transfer *t)
{
	struct lanes *l = t->lanes;
	uint32_t sources = t->fetch ? fetch_sources(l->o.fetcher, t->fetch) : 0;
	size_t used = 0;

	while (t->next < t->end) {
		size_t n = l->o.fetcher ? l->o.index->entries[t->next].stored : 0;
		struct item *i;

		if (t->in.len - used < n)
			break;
		i = item_new(ITEM_PAGES, t->next, t->in.data + used, n);
		if (!i)
			return -ENOMEM;
		i->sources = sources;
		if (t->demand)
			TAILQ_INSERT_HEAD(l->o.arrived, i, link);
		else
			TAILQ_INSERT_TAIL(l->o.arrived, i, link);
		used += n;
		t->next++;
	}
	t->in.len -= used;
	if (used && t->in.len)
		memmove(t->in.data, t->in.data + used, t->in.len);
	return 0;
}

static int on_data(void *arg, const void *data, size_t n)
{
	struct transfer *t = arg;

	if (buffer_append(&t->in, data, n) < 0)
		return -ENOMEM;
	return collect(t);
}

/* The store has done what it could. */
static void on_done(void *arg, int r, const struct frem_error *err)
{
	struct transfer *t = arg;
	struct lanes *l = t->lanes;

	if (r < 0 && (err->code == FREM_DAMAGED || err->code == FREM_NOT_FOUND))
		give_up_frame(l, t->next, err);
	else if (r < 0)
		give_up(l, err);
	transfer_free(t);
}

static int start(struct lanes *l, size_t first, size_t end, const struct single *s,
		 struct frem_error *err)
{
	const struct frame_index *x = l->o.index;
	struct transfer *t = calloc(1, sizeof(*t));
	struct fetch_request req = {.key = l->o.key,
				    .offset = x->offsets[first],
				    .len = x->offsets[end] - x->offsets[first],
				    .data = on_data,
				    .done = on_done,
				    .arg = t,
				    .urgent = s != NULL,
				    .avoid = s ? s->avoid : 0};
	/* frames of nothing but zero pages take no bytes */
	bool here = !l->o.fetcher || req.len == 0;
	int r;

	if (!t)
		return frem_oom(err);
	*t = (struct transfer){
		.lanes = l, .first = first, .next = first, .end = end, .demand = s != NULL};
	TAILQ_INSERT_TAIL(&l->transfers, t, link);
	l->n_demand += t->demand;
	r = !here	     ? fetcher_start(l->o.fetcher, &req, &t->fetch, err)
	    : collect(t) < 0 ? frem_oom(err)
			     : 0;
	if (r < 0 || here)
		transfer_free(t);
	return r;
}

static int start_single(struct lanes *l, struct single *s, struct frem_error *err)
{
	s->busy = true;
	return start(l, s->frame, s->frame + 1, s, err);
}

int lanes_demand(struct lanes *l, size_t frame, struct frem_error *err)
{
	struct single *s = add_single(l, frame);

	if (!s)
		return frem_oom(err);
	if (s->busy || l->n_demand >= DEMAND_MAX)
		return 0; /* lanes_step() starts it */
	return start_single(l, s, err);
}

int lanes_demand_again(struct lanes *l, size_t frame, struct frem_error *err)
{
	struct single *s = find_single(l, frame);

	return s && l->n_demand < DEMAND_MAX ? start_single(l, s, err) : 0;
}

void lanes_damaged(struct lanes *l, size_t frame, uint32_t sources, const struct frem_error *why)
{
	struct single *s = add_single(l, frame);
	struct frem_error err;

	log_info("fetching '%s', frame %zu again: %s", l->o.key, frame, why->text);
	l->o.stats->frames_retried++;
	if (!s) {
		lanes_dropped(l, frame);
		return;
	}
	s->busy = false;
	/* one that was to be avoided was asked all the same, as all were: then it starts over */
	s->avoid = sources & s->avoid ? sources : s->avoid | sources;
	if (++s->damaged >= LANES_DAMAGED_MAX)
		give_up_frame(l, frame, why);
	else if (l->n_demand < DEMAND_MAX && start_single(l, s, &err) < 0)
		give_up(l, &err);
}

bool lanes_is_demanded(const struct lanes *l, size_t frame)
{
	return find_single(l, frame) != NULL;
}

bool lanes_is_coming(const struct lanes *l, size_t frame)
{
	const struct frame_index *x = l->o.index;
	const struct transfer *t;
	struct fetcher_stats s;
	uint64_t ahead = 0;

	TAILQ_FOREACH(t, &l->transfers, link)
	{
		if (t->demand)
			continue;
		if (frame >= t->next && frame < t->end) {
			ahead += x->offsets[frame + 1] - x->offsets[t->next] - t->in.len;
			fetcher_get_stats(l->o.fetcher, &s);
			return plan_worth_waiting(ahead, x->entries[frame].stored, &s);
		}
		ahead += x->offsets[t->end] - x->offsets[t->next] - t->in.len;
	}
	return false;
}

void lanes_near(struct lanes *l, size_t frame)
{
	plan_fault(l->plan, frame);
}

/*
 * While bytes of the touch lane are on their way, what is asked for beside them takes a share of
 * the link from them. So much is left that the link is full until the first answer comes.
 */
static bool must_wait(const struct lanes *l, const struct fetcher_stats *s)
{
	uint64_t room = fetcher_room(l->o.fetcher);

	return !l->o.touch_over(l->o.arg) &&
	       (double)(s->budget - room) >= s->rate * s->rtt_ms / 1000;
}

/* Returns 1, or 0 where there is nothing to start. */
static int start_one(struct lanes *l, const struct fetcher_stats *s, bool bulk,
		     struct frem_error *err)
{
	bool share = bulk && l->touch_had && plan_pays(l->plan);
	size_t first, end;
	int r;

	l->touch_had = !share && l->o.touch(l->o.arg, s);
	if (l->touch_had)
		return 1;
	if (!bulk || l->exhausted || (!share && must_wait(l, s)))
		return 0;
	l->exhausted = !plan_next(l->plan, s->request, &first, &end);
	if (l->exhausted)
		return 0;
	r = start(l, first, end, NULL, err);
	return r < 0 ? r : 1;
}

static int start_bulk(struct lanes *l, bool bulk, struct frem_error *err)
{
	struct fetcher_stats s;
	int r = 1;

	fetcher_get_stats(l->o.fetcher, &s);
	while (r > 0 && fetcher_room(l->o.fetcher) > 0)
		r = start_one(l, &s, bulk, err);
	return r < 0 ? r : 0;
}

bool lanes_take(struct lanes *l, uint64_t bytes, size_t *ret_first, size_t *ret_end)
{
	l->exhausted = l->exhausted || !plan_next(l->plan, bytes, ret_first, ret_end);
	return !l->exhausted;
}

int lanes_step(struct lanes *l, bool bulk, struct frem_error *err)
{
	struct single *s;
	int r = 0;

	if (l->given_up) {
		*err = l->why;
		return l->why.errnum ? -l->why.errnum : -EIO;
	}
	TAILQ_FOREACH(s, &l->singles, link)
	{
		if (r < 0 || l->n_demand >= DEMAND_MAX)
			break;
		if (!s->busy)
			r = start_single(l, s, err);
	}
	return r == 0 && l->o.fetcher ? start_bulk(l, bulk, err) : r;
}

bool lanes_idle(const struct lanes *l)
{
	return l->exhausted && TAILQ_EMPTY(&l->transfers) && TAILQ_EMPTY(&l->singles);
}

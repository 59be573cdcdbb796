/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lanes.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define BACKOFF_MIN_NS (100 * NSEC_PER_MSEC)
#define BACKOFF_MAX_NS (2 * NSEC_PER_SEC)
/* Demand fetches at once; more faults than that wait for one of them to end. */
#define DEMAND_MAX 32u

/* A fetch of consecutive frames. */
struct transfer {
	TAILQ_ENTRY(transfer) link;
	struct lanes *lanes;
	size_t first, next, end; /* frames; next: the first that is not complete */
	bool demand;
	struct buffer in; /* bytes of frame `next` and behind */
};

TAILQ_HEAD(transfers, transfer);

/* A frame that has to be fetched by itself: demanded, or because it failed before. */
struct single {
	TAILQ_ENTRY(single) link;
	size_t frame;
	unsigned tries, damaged;
	uint64_t due_ns;
	bool busy; /* being fetched, or arrived and not yet judged */
};

TAILQ_HEAD(singles, single);

struct lanes {
	struct lanes_options o;
	struct plan *plan;
	struct transfers transfers;
	struct singles singles;
	unsigned n_bulk, n_demand;
	uint64_t bulk_due_ns, bulk_backoff_ns;
	uint64_t progress_ns; /* when something good came last, or fetching began */
	unsigned failures;
	bool troubled;	/* nothing good came since a failure */
	bool exhausted; /* the plan has nothing more */
	bool given_up;
	struct frem_error why;
};

int lanes_new(const struct lanes_options *o, struct lanes **ret, struct frem_error *err)
{
	struct lanes *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return frem_oom(err);
	l->o = *o;
	TAILQ_INIT(&l->transfers);
	TAILQ_INIT(&l->singles);
	l->progress_ns = clock_ns();
	r = plan_new(o->index, o->wanted, o->arg, &l->plan, err);
	if (r < 0) {
		free(l);
		return r;
	}
	*ret = l;
	return 0;
}

static void transfer_free(struct transfer *t)
{
	struct lanes *l = t->lanes;

	TAILQ_REMOVE(&l->transfers, t, link);
	if (t->demand)
		l->n_demand--;
	else
		l->n_bulk--;
	buffer_done(&t->in);
	free(t);
}

void lanes_free(struct lanes *l)
{
	struct transfer *t;
	struct single *s;

	if (!l)
		return;
	while ((t = TAILQ_FIRST(&l->transfers)))
		transfer_free(t);
	while ((s = TAILQ_FIRST(&l->singles))) {
		TAILQ_REMOVE(&l->singles, s, link);
		free(s);
	}
	plan_free(l->plan);
	free(l);
}

static struct single *find_single(const struct lanes *l, size_t frame)
{
	struct single *s;

	TAILQ_FOREACH(s, &l->singles, link)
	if (s->frame == frame)
		return s;
	return NULL;
}

static void give_up(struct lanes *l, const struct frem_error *why)
{
	if (l->given_up)
		return;
	l->given_up = true;
	l->why = *why;
	frem_context(&l->why, 0, "fetching '%s'", l->o.key);
}

void lanes_trouble(struct lanes *l, const struct frem_error *why)
{
	l->failures++;
	l->troubled = true;
	log_info("fetching '%s', trying again: %s", l->o.key, why->text);
	if (clock_ns() - l->progress_ns >= LANES_GIVE_UP_NS)
		give_up(l, why);
}

void lanes_progress(struct lanes *l)
{
	l->progress_ns = clock_ns();
	l->troubled = false;
}

static bool is_damage(const struct frem_error *why)
{
	return why->code == FREM_DAMAGED || why->code == FREM_NOT_FOUND;
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

/* The frame could not be had: it is tried by itself after a while. */
static void fail_single(struct lanes *l, size_t frame, const struct frem_error *why)
{
	struct single *s = add_single(l, frame);
	uint64_t wait;

	if (!s) {
		plan_again(l->plan, frame);
		l->exhausted = false;
		return;
	}
	s->busy = false;
	wait = BACKOFF_MIN_NS << (s->tries < 5 ? s->tries : 5);
	s->due_ns = clock_ns() + (wait < BACKOFF_MAX_NS ? wait : BACKOFF_MAX_NS);
	s->tries++;
	l->o.stats->frames_retried++;
	if (is_damage(why) && ++s->damaged >= LANES_DAMAGED_MAX) {
		struct frem_error err = *why;

		err.code = FREM_DAMAGED;
		frem_context(&err, 0, "frame %zu at offset %" PRIu64, frame,
			     l->o.index->offsets[frame]);
		give_up(l, &err);
	}
}

void lanes_damaged(struct lanes *l, size_t frame, const struct frem_error *why)
{
	lanes_trouble(l, why);
	fail_single(l, frame, why);
}

void lanes_good(struct lanes *l, size_t frame)
{
	struct single *s = find_single(l, frame);

	lanes_progress(l);
	l->bulk_backoff_ns = 0;
	plan_taken(l->plan, frame);
	if (!s)
		return;
	TAILQ_REMOVE(&l->singles, s, link);
	free(s);
}

void lanes_dropped(struct lanes *l, size_t frame)
{
	plan_again(l->plan, frame);
	l->exhausted = false;
}

/* Moves complete frames to the queue of arrived ones. */
static int collect(struct transfer *t)
{
	struct lanes *l = t->lanes;
	size_t used = 0;

	while (t->next < t->end) {
		size_t n = l->o.index->entries[t->next].stored;
		struct item *i;

		if (t->in.len - used < n)
			break;
		i = item_new(ITEM_PAGES, t->next, t->in.data + used, n);
		if (!i)
			return -ENOMEM;
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

	if (!t->demand)
		rate_add(t->lanes->o.rate, n, clock_ns());
	if (buffer_append(&t->in, data, n) < 0)
		return -ENOMEM;
	return collect(t);
}

/* What a failed bulk fetch did not bring is planned again, after a pause. */
static void bulk_failed(struct transfer *t, const struct frem_error *why)
{
	struct lanes *l = t->lanes;
	size_t from = t->next;

	if (is_damage(why) && from < t->end)
		fail_single(l, from++, why);
	for (size_t i = from; i < t->end; i++)
		plan_again(l->plan, i);
	l->exhausted = false;
	l->bulk_backoff_ns = l->bulk_backoff_ns ? l->bulk_backoff_ns * 2 : BACKOFF_MIN_NS;
	if (l->bulk_backoff_ns > BACKOFF_MAX_NS)
		l->bulk_backoff_ns = BACKOFF_MAX_NS;
	l->bulk_due_ns = clock_ns() + l->bulk_backoff_ns;
}

static void on_done(void *arg, int r, const struct frem_error *err)
{
	struct transfer *t = arg;
	struct lanes *l = t->lanes;

	if (r == 0 && collect(t) == 0 && t->next == t->end) {
		transfer_free(t);
		return;
	}
	if (r < 0 && err->code) {
		lanes_trouble(l, err);
		if (!t->demand)
			bulk_failed(t, err);
		else if (find_single(l, t->first)) /* not come another way meanwhile */
			fail_single(l, t->first, err);
	} else {
		struct frem_error oom;

		frem_oom(&oom);
		give_up(l, &oom);
	}
	transfer_free(t);
}

static int start(struct lanes *l, size_t first, size_t end, bool demand, struct frem_error *err)
{
	const struct frame_index *x = l->o.index;
	struct transfer *t = calloc(1, sizeof(*t));
	struct fetch_request req = {.key = l->o.key,
				    .offset = x->offsets[first],
				    .len = x->offsets[end] - x->offsets[first],
				    .data = on_data,
				    .done = on_done,
				    .arg = t,
				    .urgent = demand};
	int r;

	if (!t)
		return frem_oom(err);
	if (TAILQ_EMPTY(&l->transfers)) {
		if (!l->troubled)
			l->progress_ns = clock_ns();
		rate_pause(l->o.rate);
	}
	*t = (struct transfer){
		.lanes = l, .first = first, .next = first, .end = end, .demand = demand};
	TAILQ_INSERT_TAIL(&l->transfers, t, link);
	if (demand)
		l->n_demand++;
	else
		l->n_bulk++;
	/* frames of nothing but zero pages take no bytes: they are here already */
	r = req.len	     ? fetcher_start(l->o.fetcher, &req, NULL, err)
	    : collect(t) < 0 ? frem_oom(err)
			     : 0;
	if (r < 0 || req.len == 0)
		transfer_free(t);
	return r;
}

static int start_single(struct lanes *l, struct single *s, struct frem_error *err)
{
	s->busy = true;
	return start(l, s->frame, s->frame + 1, true, err);
}

int lanes_demand(struct lanes *l, size_t frame, struct frem_error *err)
{
	struct single *s = add_single(l, frame);

	if (!s)
		return frem_oom(err);
	if (s->busy || l->n_demand >= DEMAND_MAX || s->due_ns > clock_ns())
		return 0; /* lanes_step() starts it */
	return start_single(l, s, err);
}

bool lanes_is_demanded(const struct lanes *l, size_t frame)
{
	return find_single(l, frame) != NULL;
}

bool lanes_is_coming(const struct lanes *l, size_t frame)
{
	const struct frame_index *x = l->o.index;
	struct transfer *t;

	TAILQ_FOREACH(t, &l->transfers, link)
	{
		uint64_t ahead;

		if (t->demand || frame < t->next || frame >= t->end)
			continue;
		ahead = x->offsets[frame + 1] - x->offsets[t->next] - t->in.len;
		return plan_wait_for_stream(ahead, l->n_bulk, rate_now(l->o.rate),
					    x->entries[frame].stored, lanes_rtt_ms(l));
	}
	return false;
}

void lanes_near(struct lanes *l, size_t frame)
{
	plan_fault(l->plan, frame);
}

double lanes_rtt_ms(const struct lanes *l)
{
	struct fetcher_stats s;

	fetcher_get_stats(l->o.fetcher, &s);
	return s.rtt_ms;
}

static int start_bulk(struct lanes *l, struct frem_error *err)
{
	uint64_t chunk = plan_chunk(rate_now(l->o.rate), lanes_rtt_ms(l));
	int r = 0;

	while (r == 0 && l->n_bulk < PLAN_IN_FLIGHT) {
		size_t first, end;

		if (!plan_next(l->plan, chunk, &first, &end)) {
			l->exhausted = true;
			break;
		}
		r = start(l, first, end, false, err);
		if (l->o.index->offsets[first] == l->o.index->offsets[end])
			break; /* no bytes: let these be used first */
	}
	return r;
}

int lanes_step(struct lanes *l, bool bulk, struct frem_error *err)
{
	uint64_t now = clock_ns();
	struct single *s;
	int r = 0;

	if (!TAILQ_EMPTY(&l->transfers) && now - l->progress_ns > 2 * LANES_GIVE_UP_NS) {
		struct frem_error why;

		frem_fail(&why, FREM_STORE, ETIMEDOUT, "nothing came for %d s",
			  (int)((now - l->progress_ns) / NSEC_PER_SEC));
		give_up(l, &why);
	}
	if (l->given_up) {
		*err = l->why;
		return l->why.errnum ? -l->why.errnum : -EIO;
	}
	TAILQ_FOREACH(s, &l->singles, link)
	{
		if (r < 0 || l->n_demand >= DEMAND_MAX)
			break;
		if (!s->busy && s->due_ns <= now)
			r = start_single(l, s, err);
	}
	if (r == 0 && bulk && !l->exhausted && l->bulk_due_ns <= now)
		r = start_bulk(l, err);
	return r;
}

int lanes_timeout(const struct lanes *l)
{
	uint64_t now = clock_ns(), at = l->exhausted ? 0 : l->bulk_due_ns;
	struct single *s;

	if (at <= now)
		at = 0;
	TAILQ_FOREACH(s, &l->singles, link)
	if (!s->busy && (!at || s->due_ns < at))
		at = s->due_ns ? s->due_ns : 1;
	if (!at)
		return -1;
	return at <= now ? 0 : (int)((at - now) / NSEC_PER_MSEC) + 1;
}

unsigned lanes_failures(const struct lanes *l)
{
	return l->failures;
}

bool lanes_idle(const struct lanes *l)
{
	return l->exhausted && TAILQ_EMPTY(&l->transfers) && TAILQ_EMPTY(&l->singles);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Faults: threads that wait for a page. A fault stays in the list until its address was served, or
 * its waiters were woken to look again.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "engine_impl.h"
#include "recorder.h"

#define FAULTS_MAX 1000000u
/* A fault that waits for bulk data is not left waiting for longer than so many round-trip times and
 * a little: what brings it may have stalled. */
#define LATE_RTTS 2
#define LATE_LEAST_MS 100
#define ASKED_MAX 4 /* fetches of its own */

int fault_add(struct member *m, uint64_t address, struct frem_error *err)
{
	struct engine *e = m->engine;

	if (e->n_faults == e->cap_faults) {
		size_t cap = e->cap_faults ? 2 * e->cap_faults : 64;
		struct fault *more = NULL;

		if (cap <= FAULTS_MAX)
			more = realloc(e->faults, cap * sizeof(*more));
		if (!more)
			return frem_oom(err);
		e->faults = more;
		e->cap_faults = cap;
	}
	e->faults[e->n_faults++] =
		(struct fault){.member = m, .address = address, .read_ns = clock_ns()};
	e->new_faults = true;
	return 0;
}

static void remove_fault(struct engine *e, size_t i)
{
	e->stats->stall_ms += clock_ms_since(e->faults[i].read_ns);
	e->faults[i] = e->faults[--e->n_faults];
}

void faults_answered(struct member *m, uint64_t address, uint64_t pages)
{
	struct engine *e = m->engine;

	for (size_t i = e->n_faults; i-- > 0;) {
		const struct fault *f = &e->faults[i];

		if (f->member == m && f->address >= address &&
		    f->address - address < pages * PAGE_BYTES)
			remove_fault(e, i);
	}
}

bool faults_wait_for(const struct member *m, uint64_t number)
{
	const struct engine *e = m->engine;
	uint64_t at, n;

	if (!space_locate(m->space, number, &at, &n))
		return false;
	for (size_t i = 0; i < e->n_faults; i++)
		if (e->faults[i].member == m && e->faults[i].address == at)
			return true;
	return false;
}

void faults_forget_member(struct member *m)
{
	struct engine *e = m->engine;

	for (size_t i = e->n_faults; i-- > 0;)
		if (e->faults[i].member == m)
			remove_fault(e, i);
}

void faults_look_again(struct engine *e)
{
	for (size_t i = 0; i < e->n_faults; i++)
		e->faults[i].seen = false;
	e->new_faults = e->n_faults > 0;
}

void faults_look_at_kept(struct engine *e)
{
	for (size_t i = 0; i < e->n_faults; i++) {
		struct fault *f = &e->faults[i];
		uint64_t number;

		if (!f->seen || !space_find(f->member->space, f->address, &number) ||
		    !recorder_has(e, number))
			continue;
		f->seen = false;
		e->new_faults = true;
	}
}

/* Whether the touch lane brings the page, in so many bytes. */
static bool comes_in_touch_order(const struct engine *e, uint64_t number, uint64_t *ret_ahead)
{
	uint64_t place;

	return e->order && touch_order_place(e->order, number, &place) &&
	       touch_stream_is_coming(e->touch, (size_t)(place / FRAME_PAGES), ret_ahead);
}

/* Whether bytes that come in touch order are here sooner than a fetch of the frame. */
static bool comes_soon(const struct engine *e, uint64_t ahead, size_t frame)
{
	struct fetcher_stats s;

	fetcher_get_stats(e->fetcher, &s);
	return plan_worth_waiting(ahead, e->loaded.index->entries[frame].stored, &s);
}

/* When what was expected for the fault should have come. Of fetches of its own that do not come,
 * each is given twice the time of the one before: a packet that is lost costs one many round trips,
 * and a store that is away is not asked for more and more. */
static uint64_t late_at(const struct engine *e, const struct fault *f)
{
	double ms = LATE_RTTS * e->stats->rtt_ms + LATE_LEAST_MS;
	uint64_t ns = (uint64_t)(ms * (double)NSEC_PER_MSEC);

	return f->asked ? f->asked_ns + (ns << (f->asked - 1)) : f->read_ns + ns;
}

/* Whether something else is tried where its page does not come. */
static bool waits(const struct fault *f)
{
	return f->seen && f->asked < ASKED_MAX;
}

static void note_asked(struct fault *f)
{
	f->asked++;
	f->asked_ns = clock_ns();
}

void faults_look_after_late(struct engine *e)
{
	uint64_t now = clock_ns();

	for (size_t i = 0; i < e->n_faults; i++) {
		if (waits(&e->faults[i]) && late_at(e, &e->faults[i]) <= now) {
			e->faults[i].seen = false;
			e->new_faults = true;
		}
	}
}

int faults_timeout(const struct engine *e)
{
	uint64_t now = clock_ns(), at = UINT64_MAX;

	for (size_t i = 0; i < e->n_faults; i++)
		if (waits(&e->faults[i]) && late_at(e, &e->faults[i]) < at)
			at = late_at(e, &e->faults[i]);
	if (at == UINT64_MAX)
		return -1;
	return at <= now ? 0 : (int)((at - now) / NSEC_PER_MSEC) + 1;
}

/* Sees to it that the content of a wanted page comes. */
static int bring(struct engine *e, struct fault *f, uint64_t number, struct frem_error *err)
{
	size_t frame = (size_t)(number / FRAME_PAGES);
	bool counted = f->counted, late = late_at(e, f) <= clock_ns();
	uint64_t place, ahead;

	f->seen = f->counted = true;
	if (recorder_has(e, number)) {
		e->stats->prefetched_used += !counted;
		return recorder_answer(e, f->member, number, f->read_ns, err);
	}
	if (deliver_held(e, ITEM_PAGES, frame) ||
	    (e->order && touch_order_place(e->order, number, &place) &&
	     deliver_held(e, ITEM_TOUCH, (size_t)(place / FRAME_PAGES)))) {
		e->stats->prefetched_used += !counted;
		return 0;
	}
	if (lanes_is_demanded(e->lanes, frame)) {
		bool again = f->asked && late;

		if (again || !f->asked)
			note_asked(f);
		return again ? lanes_demand_again(e->lanes, frame, err) : 0;
	}
	if (!comes_in_touch_order(e, number, &ahead)) {
		lanes_near(e->lanes, frame);
	} else if (!late && comes_soon(e, ahead, frame)) {
		e->stats->prefetched_used += !counted;
		return 0;
	}
	if (!late && lanes_is_coming(e->lanes, frame))
		return 0;
	note_asked(f);
	e->stats->demand_faults++;
	log_debug("fault on page %llu: fetching frame %zu", (unsigned long long)number, frame);
	return lanes_demand(e->lanes, frame, err);
}

static int serve(struct engine *e, size_t i, struct frem_error *err)
{
	struct fault f = e->faults[i];
	uint64_t number;
	int r;

	if (!member_open(f.member)) {
		e->busy = true;
		return 0;
	}
	if (space_find(f.member->space, f.address, &number)) {
		if (space_wants(f.member->space, number))
			return bring(e, &e->faults[i], number, err);
		/* in place already: another thread's fault, or the page was just on its way */
		e->stats->prefetched_used++;
	}
	/* no image page, or not any more; where the page is in place, this only wakes the waiter */
	r = deliver_zero(f.member, f.address, err);
	if (r == -EAGAIN)
		e->busy = true;
	return r == -EAGAIN ? 0 : r;
}

int faults_serve(struct engine *e, struct frem_error *err)
{
	int r = 0;

	if (!e->lanes || !e->new_faults)
		return 0;
	e->new_faults = false;
	for (size_t i = e->n_faults; i-- > 0 && r == 0;) {
		/* answers and events may have shortened the list */
		if (i < e->n_faults && !e->faults[i].seen)
			r = serve(e, i, err);
	}
	return r;
}

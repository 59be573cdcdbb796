/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "plan.h"

#include <stdlib.h>

/* The queue that stands on a full link, over its round-trip time: see store/pace.c. */
#define QUEUE 1.2

struct window {
	size_t low, high;  /* frames [low, high) are here or on their way */
	size_t at;	   /* where the last fault was */
	uint64_t size;	   /* bytes it reaches beyond a fault; 0: not in use */
	uint64_t down, up; /* offsets up to which it reaches */
	bool pays;	   /* there was a second fault near it */
	uint64_t fault;	   /* number of the last one: the latest goes first */
};

struct plan {
	const struct frame_index *x;
	plan_wanted_fn wanted;
	void *arg;
	uint64_t *todo; /* a bit a frame */
	size_t first;	/* nothing is to do before it */
	struct window windows[PLAN_WINDOWS];
	uint64_t faults;
};

int plan_new(const struct frame_index *x, plan_wanted_fn wanted, void *arg, struct plan **ret,
	     struct frem_error *err)
{
	struct plan *p = calloc(1, sizeof(*p));

	if (p)
		p->todo = calloc(x->frames / 64 + 1, sizeof(*p->todo));
	if (!p || !p->todo) {
		plan_free(p);
		return frem_oom(err);
	}
	p->x = x;
	p->wanted = wanted;
	p->arg = arg;
	for (size_t i = 0; i < x->frames; i++)
		plan_again(p, i);
	*ret = p;
	return 0;
}

void plan_free(struct plan *p)
{
	if (!p)
		return;
	free(p->todo);
	free(p);
}

void plan_taken(struct plan *p, size_t frame)
{
	p->todo[frame / 64] &= ~(UINT64_C(1) << frame % 64);
}

void plan_again(struct plan *p, size_t frame)
{
	p->todo[frame / 64] |= UINT64_C(1) << frame % 64;
	if (frame < p->first)
		p->first = frame;
}

bool plan_is_taken(const struct plan *p, size_t frame)
{
	return !(p->todo[frame / 64] >> frame % 64 & 1);
}

/* ---- frames ---- */

/* Still to be fetched and wanted; what nobody wants is never looked at again. */
static bool useful(struct plan *p, size_t i)
{
	if (plan_is_taken(p, i))
		return false;
	if (p->wanted(p->arg, i))
		return true;
	plan_taken(p, i);
	return false;
}

/* The first useful frame at or behind i, or x->frames. */
static size_t seek_up(struct plan *p, size_t i)
{
	while (i < p->x->frames) {
		if (i % 64 == 0 && p->todo[i / 64] == 0)
			i += 64;
		else if (useful(p, i))
			return i;
		else
			i++;
	}
	return p->x->frames;
}

/* One behind the last useful frame before i, or 0. */
static size_t seek_down(struct plan *p, size_t i)
{
	while (i > 0) {
		if (i % 64 == 0 && p->todo[i / 64 - 1] == 0)
			i -= 64;
		else if (useful(p, i - 1))
			return i;
		else
			i--;
	}
	return 0;
}

static uint64_t bytes(const struct plan *p, size_t first, size_t end)
{
	return p->x->offsets[end] - p->x->offsets[first];
}

/* Grows [first, first + 1) upwards; the result ends with a useful frame. */
static size_t grow_up(struct plan *p, size_t first, uint64_t chunk)
{
	size_t end = first + 1;

	for (size_t i = end; i < p->x->frames && bytes(p, first, i + 1) <= chunk; i++) {
		if (useful(p, i))
			end = i + 1;
		else if (bytes(p, end, i + 1) > PLAN_GAP)
			break;
	}
	return end;
}

static size_t grow_down(struct plan *p, size_t end, uint64_t chunk)
{
	size_t first = end - 1;

	for (size_t i = first; i > 0 && bytes(p, i - 1, end) <= chunk; i--) {
		if (useful(p, i - 1))
			first = i - 1;
		else if (bytes(p, i - 1, first) > PLAN_GAP)
			break;
	}
	return first;
}

/* ---- windows ---- */

static bool is_near(const struct window *w, size_t frame)
{
	return w->size && frame + PLAN_NEAR_FRAMES >= w->low && frame < w->high + PLAN_NEAR_FRAMES;
}

/* The window that the fault is near, else the one that had none for longest. */
static struct window *window_of(struct plan *p, size_t frame)
{
	struct window *found = NULL, *oldest = &p->windows[0];

	for (struct window *w = p->windows; w < p->windows + PLAN_WINDOWS; w++) {
		if (is_near(w, frame) && (!found || w->fault > found->fault))
			found = w;
		if (w->fault < oldest->fault)
			oldest = w;
	}
	return found ? found : oldest;
}

static void reach_up(struct plan *p, struct window *w)
{
	w->up = p->x->offsets[w->at] + w->size;
}

static void reach_down(struct plan *p, struct window *w)
{
	uint64_t at = p->x->offsets[w->at];

	w->down = at > w->size ? at - w->size : 0;
}

static void open_window(struct plan *p, struct window *w, size_t frame)
{
	*w = (struct window){.low = frame, .high = frame + 1, .at = frame, .size = PLAN_NEAR_LEAST};
	reach_up(p, w);
	reach_down(p, w);
	w->up += bytes(p, frame, frame + 1); /* as much on either side of the frame */
}

void plan_fault(struct plan *p, size_t frame)
{
	struct window *w = window_of(p, frame);
	bool forward = frame > w->at;

	if (!is_near(w, frame)) {
		open_window(p, w, frame);
	} else if (frame != w->at) { /* else another page of the same frame: nothing new */
		w->pays = true;
		w->at = frame;
		if (w->size < PLAN_NEAR_MOST)
			w->size *= 2;
		if (forward)
			reach_up(p, w);
		else
			reach_down(p, w);
		if (frame >= w->high)
			w->high = frame + 1;
		if (frame < w->low)
			w->low = frame;
	}
	w->fault = ++p->faults;
}

/* The next useful frames of one side, if it reaches so far. */
static bool above(struct plan *p, struct window *w, uint64_t chunk, size_t *ret_first,
		  size_t *ret_end)
{
	const uint64_t *offsets = p->x->offsets;
	size_t first;

	if (offsets[w->high] >= w->up)
		return false;
	first = seek_up(p, w->high);
	w->high = first; /* what is between is here */
	if (first == p->x->frames || offsets[first] >= w->up)
		return false;
	if (chunk > w->up - offsets[first])
		chunk = w->up - offsets[first];
	*ret_first = first;
	*ret_end = grow_up(p, first, chunk);
	return true;
}

static bool below(struct plan *p, struct window *w, uint64_t chunk, size_t *ret_first,
		  size_t *ret_end)
{
	const uint64_t *offsets = p->x->offsets;
	size_t end;

	if (offsets[w->low] <= w->down)
		return false;
	end = seek_down(p, w->low);
	w->low = end;
	if (end == 0 || offsets[end] <= w->down)
		return false;
	if (chunk > offsets[end] - w->down)
		chunk = offsets[end] - w->down;
	*ret_first = grow_down(p, end, chunk);
	*ret_end = end;
	return true;
}

/* The sides take turns, so that what is nearer to the fault comes first. */
static bool in_window(struct plan *p, struct window *w, uint64_t chunk, size_t *ret_first,
		      size_t *ret_end)
{
	bool up = bytes(p, w->at, w->high) <= bytes(p, w->low, w->at) + bytes(p, w->at, w->at + 1);

	for (int side = 0; side < 2; side++, up = !up)
		if (up ? above(p, w, chunk, ret_first, ret_end)
		       : below(p, w, chunk, ret_first, ret_end))
			return true;
	return false;
}

/* The window of the latest fault that still has something to fetch, and what. */
static struct window *best_window(struct plan *p, bool pays, uint64_t chunk, size_t *ret_first,
				  size_t *ret_end)
{
	uint64_t before = UINT64_MAX;

	for (unsigned n = 0; n < PLAN_WINDOWS; n++) {
		struct window *best = NULL;

		for (struct window *w = p->windows; w < p->windows + PLAN_WINDOWS; w++)
			if (w->size && w->fault < before && (!best || w->fault > best->fault))
				best = w;
		if (!best)
			return NULL;
		if ((best->pays || !pays) && in_window(p, best, chunk, ret_first, ret_end))
			return best;
		before = best->fault;
	}
	return NULL;
}

bool plan_pays(struct plan *p)
{
	size_t first, end;

	return best_window(p, true, 0, &first, &end) != NULL;
}

/* ---- both ---- */

static void take(struct plan *p, size_t first, size_t end)
{
	for (size_t i = first; i < end; i++)
		plan_taken(p, i);
}

bool plan_next(struct plan *p, uint64_t chunk, size_t *ret_first, size_t *ret_end)
{
	size_t first = 0, end = 0;
	struct window *w = best_window(p, false, chunk, &first, &end);

	if (w) {
		if (first >= w->high)
			w->high = end;
		else
			w->low = first;
	} else {
		p->first = first = seek_up(p, p->first);
		if (first == p->x->frames)
			return false;
		end = grow_up(p, first, chunk);
	}
	take(p, first, end);
	*ret_first = first;
	*ret_end = end;
	return true;
}

bool plan_worth_waiting(uint64_t ahead, uint64_t own, const struct fetcher_stats *s)
{
	double stream_ms, own_ms;

	if (!s->found || s->rate <= 0) /* what fills the link comes as soon as any answer can */
		return ahead <= s->budget;
	stream_ms = (double)ahead / s->rate * 1000;
	own_ms = QUEUE * s->rtt_ms + (double)(s->urgent.in_flight + own) / s->rate * 1000;
	return stream_ms <= own_ms + PLAN_WASTE_MS;
}

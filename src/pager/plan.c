/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "plan.h"

#include <stdlib.h>

#define GAP_MIN_MS 5 /* between two requests on a connection, whatever the network */

struct plan {
	const struct frame_index *x;
	plan_wanted_fn wanted;
	void *arg;
	uint64_t *todo; /* a bit a frame */
	size_t centre;	/* where the last demand fault was */
	bool near;	/* there was one */
	bool forward;	/* the side of the next chunk */
	uint64_t size;	/* of the next chunk beside a fault */
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
}

bool plan_is_taken(const struct plan *p, size_t frame)
{
	return !(p->todo[frame / 64] >> frame % 64 & 1);
}

void plan_fault(struct plan *p, size_t frame)
{
	p->centre = frame;
	p->near = true;
	p->forward = true;
	p->size = PLAN_CHUNK_MIN;
}

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

static void take(struct plan *p, size_t first, size_t end)
{
	for (size_t i = first; i < end; i++)
		plan_taken(p, i);
}

bool plan_next(struct plan *p, uint64_t chunk, size_t *ret_first, size_t *ret_end)
{
	size_t up = seek_up(p, p->near ? p->centre : 0);
	size_t down = p->near ? seek_down(p, p->centre) : 0;
	bool forward;

	if (up == p->x->frames && down == 0)
		return false;
	forward = down == 0 || (up < p->x->frames && p->forward);
	if (p->near && p->size < chunk) {
		chunk = p->size;
		p->size *= 2;
	}
	*ret_first = forward ? up : grow_down(p, down, chunk);
	*ret_end = forward ? grow_up(p, up, chunk) : down;
	take(p, *ret_first, *ret_end);
	p->forward = !forward;
	return true;
}

uint64_t plan_chunk(double rate, double rtt_ms)
{
	/* each request then lasts at least as long as the gap before the next */
	double want = rate * (rtt_ms < GAP_MIN_MS ? GAP_MIN_MS : rtt_ms) / 1000;

	if (want > (double)PLAN_CHUNK_HIGH)
		return PLAN_CHUNK_HIGH;
	return want < (double)PLAN_CHUNK_LOW ? PLAN_CHUNK_LOW : (uint64_t)want;
}

bool plan_wait_for_stream(uint64_t ahead, unsigned streams, double rate, uint64_t own,
			  double rtt_ms)
{
	double stream_ms, own_ms;

	if (rate <= 0)
		return true; /* it starts at this moment, as a fetch of our own would */
	stream_ms = (double)ahead * streams / rate * 1000;
	/* a request, the bytes of the streams that wait on the link before its answer, and a share
	 * of the link */
	own_ms = 2 * rtt_ms + (double)own * (streams + 1) / rate * 1000;
	return stream_ms <= own_ms + PLAN_WASTE_MS;
}

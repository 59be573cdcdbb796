/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the touch lane brings the remaining lane does not: frames of `pages` that are touched as a
 * whole are left out there. Whatever the touch lane does not bring in the end is given back.
 */
#include <stdlib.h>

#include "engine_impl.h"

static size_t frame_at(const struct engine *e, uint64_t place)
{
	return (size_t)(touch_order_number(e->order, place) / FRAME_PAGES);
}

/* Of the touch set, the places [0, n) come. */
static uint64_t places_that_come(const struct engine *e)
{
	uint64_t n = (uint64_t)touch_stream_frames(e->touch) * FRAME_PAGES;
	uint64_t pages = touch_stream_set(e->touch)->pages;

	return n < pages ? n : pages;
}

int touch_lane_known(struct engine *e, struct frem_error *err)
{
	const struct frame_index *x = e->loaded.index;
	uint64_t n = places_that_come(e);
	uint8_t *touched = calloc(x->frames + 1, sizeof(*touched));

	if (!touched)
		return frem_oom(err);
	for (uint64_t i = 0; i < n; i++) {
		size_t frame = frame_at(e, i);

		if (++touched[frame] == frame_pages(x, frame))
			lanes_skip(e->lanes, frame);
	}
	free(touched);
	return 0;
}

bool touch_lane_more(void *arg, const struct fetcher_stats *s)
{
	const struct engine *e = arg;

	return e->touch && touch_stream_more(e->touch, s);
}

bool touch_lane_over(const void *arg)
{
	const struct engine *e = arg;

	return !e->touch || touch_stream_ended(e->touch);
}

static void give_back(struct engine *e, uint64_t first, uint64_t end)
{
	for (uint64_t i = first; i < end; i++)
		lanes_dropped(e->lanes, frame_at(e, i));
}

void touch_lane_step(struct engine *e)
{
	if (e->touch_given_back || !e->order || !touch_stream_ended(e->touch))
		return;
	e->touch_given_back = true;
	give_back(e, places_that_come(e), touch_stream_set(e->touch)->pages);
	faults_look_again(e);
}

void touch_lane_dropped(struct engine *e, size_t frame)
{
	uint64_t first = (uint64_t)frame * FRAME_PAGES;

	give_back(e, first, first + frame_pages(touch_stream_set(e->touch)->index, frame));
}

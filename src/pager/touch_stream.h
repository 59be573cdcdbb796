/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The touch lane: one sequential read of the `touch` object, from the start of the command. Its
 * frames come out in the queue of arrived items, in touch order, not yet verified. The object is
 * optional: whatever is wrong with it ends the stream and never the restart.
 */
#ifndef FREM_PAGER_TOUCH_STREAM_H
#define FREM_PAGER_TOUCH_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "format/name.h"
#include "format/touch.h"
#include "item.h"
#include "load.h"
#include "store/store.h"

struct touch_stream;

struct touch_stream_options {
	struct fetcher *fetcher;
	const struct checkpoint_name *id;
	struct item_queue *arrived;
	uint64_t *bytes; /* counts what comes */
	/* The first frame that is of use, asked once the descriptor is there; NULL: all are. */
	size_t (*first)(void *arg, const struct touch_set *set);
	void *arg;
};

int touch_stream_start(const struct touch_stream_options *o, struct touch_stream **ret,
		       struct frem_error *err);
void touch_stream_free(struct touch_stream *t);
/* To be called when bytes came. l: NULL while the manifest is not there. */
int touch_stream_step(struct touch_stream *t, const struct loaded *l, struct frem_error *err);
/*
 * Lets it ask for as much more as one bulk request takes. False: it needs no more now. At first it
 * has enough for the beginning; later it shares the link with the remaining lane.
 */
bool touch_stream_more(struct touch_stream *t, const struct fetcher_stats *s);
/* The descriptor, once it is there and checked, else NULL; owned by t. */
const struct touch_set *touch_stream_set(const struct touch_stream *t);
/* Nothing more will come. */
bool touch_stream_ended(const struct touch_stream *t);
/* Frames that came or may still come: after an early end not all of the set. */
size_t touch_stream_frames(const struct touch_stream *t);
/* Why it ended early, for the user; "" where the object is complete or just not there. Taken once.
 */
bool touch_stream_notice(struct touch_stream *t, char *out, size_t size);
/* Bytes until the end of the frame, where it is still to come. */
bool touch_stream_is_coming(const struct touch_stream *t, size_t frame, uint64_t *ret_ahead);

FREM_CLEANUP(struct touch_stream *, cleanup_touch_stream, touch_stream_free)
#define _cleanup_touch_stream_ _cleanup_(cleanup_touch_stream)

#endif

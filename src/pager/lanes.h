/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The demand lane and the remaining lane: fetches of frames of the `pages` object. Demand is urgent
 * to the store; of the remaining image only as much is started as fills the link, so that what
 * comes next is decided late. A failure that may pass is the store's business: it tries again, and
 * what it says in the end is final. Frames come out in the queue of arrived items, not yet
 * verified; the user says of each whether it was good, and one that was not is fetched again from
 * other replicas. Single-threaded; callbacks of the fetcher only collect.
 */
#ifndef FREM_PAGER_LANES_H
#define FREM_PAGER_LANES_H

#include "base/cleanup.h"
#include "item.h"
#include "plan.h"
#include "store/store.h"
#include "wire.h"

/* A frame that is damaged so often in a row is taken to be so for good. */
#define LANES_DAMAGED_MAX 6u

struct lanes;

struct lanes_options {
	/* NULL: nothing is fetched; what is demanded comes at once, without bytes, for whoever
	 * reads the frames, and there is no bulk */
	struct fetcher *fetcher;
	const char *key;		 /* of the `pages` object */
	const struct frame_index *index; /* of it */
	plan_wanted_fn wanted;
	/* The touch lane takes room for one request; false: it needs none. */
	bool (*touch)(void *arg, const struct fetcher_stats *s);
	/* Whether all of it is here. */
	bool (*touch_over)(const void *arg);
	void *arg;
	struct item_queue *arrived;
	struct pager_stats *stats;
};

int lanes_new(const struct lanes_options *o, struct lanes **ret, struct frem_error *err);
void lanes_free(struct lanes *l);
/* A program waits for the frame: fetch it by itself, now, if it is not being fetched so already. */
int lanes_demand(struct lanes *l, size_t frame, struct frem_error *err);
/* It does not come: fetch it once more, over another connection; what comes first counts. */
int lanes_demand_again(struct lanes *l, size_t frame, struct frem_error *err);
bool lanes_is_demanded(const struct lanes *l, size_t frame);
/* Whether the frame is part of a bulk fetch under way that brings it soon enough. */
bool lanes_is_coming(const struct lanes *l, size_t frame);
/* A program waits for the frame: the remaining lane goes on near it. */
void lanes_near(struct lanes *l, size_t frame);
/* Takes frames from the plan that the caller reads by himself: about so many stored bytes. He does
 * not ask for bulk then. */
bool lanes_take(struct lanes *l, uint64_t bytes, size_t *ret_first, size_t *ret_end);
/* The frame came, and was good; or it is here by other means. */
void lanes_good(struct lanes *l, size_t frame);
/* The frame that came from these replicas was damaged: fetch it again. */
void lanes_damaged(struct lanes *l, size_t frame, uint32_t sources, const struct frem_error *why);
/* All of the frame comes by other means: the remaining lane need not bring it. */
void lanes_skip(struct lanes *l, size_t frame);
/* It does not, or was dropped unused: the remaining lane has to bring it after all. */
void lanes_dropped(struct lanes *l, size_t frame);
/*
 * Starts what is demanded, and as much bulk as there is room for: first of the touch lane and,
 * where `bulk` is true, then of the remaining lane. Once faults go on elsewhere than the touch set
 * says, both have the same share. Fails when the store or a frame is given up.
 */
int lanes_step(struct lanes *l, bool bulk, struct frem_error *err);
/* Whether the remaining lane has nothing more to fetch and nothing is under way. */
bool lanes_idle(const struct lanes *l);

FREM_CLEANUP(struct lanes *, cleanup_lanes, lanes_free)
#define _cleanup_lanes_ _cleanup_(cleanup_lanes)

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The demand lane and the remaining lane: fetches of frames of the `pages` object, and what is done
 * when they fail. Frames come out in the queue of arrived items, not yet verified; the user says of
 * each whether it was good. Single-threaded; callbacks of the fetcher only collect.
 */
#ifndef FREM_PAGER_LANES_H
#define FREM_PAGER_LANES_H

#include "base/cleanup.h"
#include "item.h"
#include "plan.h"
#include "rate.h"
#include "store/store.h"
#include "wire.h"

/* Without anything good from the store for so long, the restart is given up. */
#define LANES_GIVE_UP_NS (30 * NSEC_PER_SEC)
/* A frame that is damaged or missing so often in a row is taken to be so for good. */
#define LANES_DAMAGED_MAX 6u

struct lanes;

struct lanes_options {
	struct fetcher *fetcher;
	const char *key;		 /* of the `pages` object */
	const struct frame_index *index; /* of it */
	plan_wanted_fn wanted;
	void *arg;
	struct item_queue *arrived;
	struct pager_stats *stats;
	struct rate *rate; /* of all bulk data */
};

int lanes_new(const struct lanes_options *o, struct lanes **ret, struct frem_error *err);
void lanes_free(struct lanes *l);
/* A program waits for the frame: fetch it by itself, now, if it is not being fetched so already. */
int lanes_demand(struct lanes *l, size_t frame, struct frem_error *err);
bool lanes_is_demanded(const struct lanes *l, size_t frame);
/* Whether the frame is part of a bulk fetch under way that brings it soon enough. */
bool lanes_is_coming(const struct lanes *l, size_t frame);
/* The remaining lane goes on near frame. */
void lanes_near(struct lanes *l, size_t frame);
/* The frame came, and was good; or it is here by other means. */
void lanes_good(struct lanes *l, size_t frame);
/* The frame that came was damaged: fetch it again. */
void lanes_damaged(struct lanes *l, size_t frame, const struct frem_error *why);
/* A held frame was dropped unused: the remaining lane has to bring it again. */
void lanes_dropped(struct lanes *l, size_t frame);
/* Starts retries that are due and, with bulk, fetches of the remaining lane. Fails when the store
 * or a frame is given up. */
int lanes_step(struct lanes *l, bool bulk, struct frem_error *err);
/* Bulk data of someone else came or failed: counted as the lanes' own. */
void lanes_progress(struct lanes *l);
/* Notes a failure of a fetch that is not of one frame; gives up where it has lasted too long. */
void lanes_trouble(struct lanes *l, const struct frem_error *why);
/* Milliseconds until something is due, or -1. */
int lanes_timeout(const struct lanes *l);
/* Grows with every failure: whoever relied on a fetch looks again. */
unsigned lanes_failures(const struct lanes *l);
/* Whether the remaining lane has nothing more to fetch and nothing is under way. */
bool lanes_idle(const struct lanes *l);
double lanes_rtt_ms(const struct lanes *l);

FREM_CLEANUP(struct lanes *, cleanup_lanes, lanes_free)
#define _cleanup_lanes_ _cleanup_(cleanup_lanes)

#endif

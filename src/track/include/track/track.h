/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Post-checkpoint tracking: which pages of an image the program accesses in the tracking window,
 * and in what order. A tracker only observes; if it dies the program does not notice.
 *
 * Life: tracker_new() before the dump (loads what has to be loaded), tracker_prepare() just before
 * it, with the tasks running (does what need not be done while they are frozen), tracker_arm()
 * while all tasks are frozen (clears the accessed bits and flushes the TLB, the paper's two steps),
 * tracker_start() as soon as they run again, tracker_stop() when the window closes, then the
 * result. Scans run on a thread of the tracker; calls come one at a time.
 */
#ifndef FREM_TRACK_TRACK_H
#define FREM_TRACK_TRACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "criu/image_map.h"
#include "format/touch.h"

struct tracker;

struct track_backend_info {
	const char *name; /* "accessed-bits" */
	bool works;
	char why[256]; /* where it does not: one line, with what to do */
};

/* Probes every backend without tracking anything; returns how many were written to out. */
size_t track_probe(struct track_backend_info *out, size_t most);

/* Error: FREM_UNABLE where no backend works here, saying why. */
int tracker_new(struct tracker **ret, struct frem_error *err);
void tracker_free(struct tracker *t);

/* Right before the dump, with the tree below root still running: the more is done here, the shorter
 * tracker_arm() keeps it frozen. Best effort: a task that is not met here is armed all the same. */
void tracker_prepare(struct tracker *t, pid_t root);
/* With all tasks of the tree frozen: clears their accessed bits. pids are real pids, the root
 * first. */
int tracker_arm(struct tracker *t, const pid_t *pids, size_t n, struct frem_error *err);
/* The tasks run: starts the scans. */
int tracker_start(struct tracker *t, struct frem_error *err);

enum track_state {
	TRACK_RUNNING,
	TRACK_SATURATED, /* nearly all resident pages have been touched */
	TRACK_ENDED,	 /* no tracked task is left */
};

/* Where the window stands, without waiting. *ret_pages: distinct pages seen touched so far. */
enum track_state tracker_poll(struct tracker *t, uint64_t *ret_pages);
/* Ends the scans (with a last one). `ended` says why: see struct touch_info. */
void tracker_stop(struct tracker *t, const char *ended);

/*
 * The touch set: what was touched, cut down to the candidate pages (the lazy pages of the image),
 * in first-touch order. Fills info, runs and pages of a new touch set; manifest and index are the
 * caller's to fill. tasks of the map are matched with the armed pids by pid (same pid namespace)
 * or, where that fails, by their order in the tree.
 */
int tracker_result(struct tracker *t, const struct image_map *map, struct touch_set **ret,
		   struct frem_error *err);

FREM_CLEANUP(struct tracker *, cleanup_tracker, tracker_free)
#define _cleanup_tracker_ _cleanup_(cleanup_tracker)

#endif

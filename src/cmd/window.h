/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tracking window of a checkpoint. It opens when the tasks run again, and a thread of it closes
 * it while the upload may still go on: when nearly all has been touched, the program has ended, its
 * time is over, or the next checkpoint of the same program is about to begin. That one waits for
 * HANDOVER_MS at most, so nothing that a window's owner does can hold it up.
 */
#ifndef FREM_CMD_WINDOW_H
#define FREM_CMD_WINDOW_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/progress.h"
#include "base/rundir.h"
#include "handover.h"
#include "track/track.h"

struct window_options {
	struct tracker *tracker; /* started; the window's alone until window_free() */
	const struct rundir *run;
	const pid_t *pids; /* of the tracked tasks, the root first; copied */
	size_t n_pids;
	const uint8_t *job; /* as in struct handover_request; copied */
	uint32_t seq;	    /* of the checkpoint */
	uint64_t opened_ns; /* clock_ns() when the tasks ran again */
	uint64_t limit_ms;  /* how long it may last; 0: see window_wait() */
};

struct window;

int window_open(const struct window_options *o, struct window **ret, struct frem_error *err);
void window_free(struct window *w);

/* How a window ended. */
struct window_end {
	const char *reason; /* see struct touch_info */
	uint64_t ms;	    /* how long it was open, within its limit */
};

/*
 * Waits until the window is closed, by limit_ms after it was opened at the latest, and says what
 * is lost where it was closed early. limit_reason: why it is closed then. A signal closes it, and
 * is used up.
 */
struct window_end window_wait(struct window *w, uint64_t limit_ms, const char *limit_reason,
			      struct progress *progress);

FREM_CLEANUP(struct window *, cleanup_window, window_free)
#define _cleanup_window_ _cleanup_(cleanup_window)

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The pid namespace of a job, so that its pids are free wherever it is restarted.
 *
 *   frem run   outside; passes signals in, and ends with the status of
 *   init       pid 1: reaps, passes signals on, ends when its child does, and then the kernel ends
 *              all that is left inside
 *   its child  the parent of the job; all of frem's work
 *   warden     outside, in a session of its own: kills init when `frem run` was killed, and lives
 *              until nothing of the job does
 */
#ifndef FREM_CMD_RUN_NAMESPACE_H
#define FREM_CMD_RUN_NAMESPACE_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"

struct namespace_plan {
	/* In init's child: what it returns becomes the exit status, and its error is shown. The
	 * signals of supervise_signals() are blocked when it begins. */
	int (*inside)(void *arg, struct frem_error *err);
	void *arg;
	bool json; /* for ui_finish() inside */
};

/* Returns the exit status of what ran inside, which has said all there was to say; or fails. */
int namespace_run(const struct namespace_plan *plan, struct frem_error *err);
/* Inside: no pid up to `pid` is given out any more, so that what is started later stays clear of
 * those that a restart takes for itself. */
int namespace_skip_pids(pid_t pid, struct frem_error *err);
/* Inside: low pids are given out again, as in a young namespace. */
int namespace_reuse_pids(struct frem_error *err);

#endif

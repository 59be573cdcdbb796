/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The time after a restart: being the job's parent, and waiting for its memory. */
#ifndef FREM_CMD_SUPERVISE_H
#define FREM_CMD_SUPERVISE_H

#include <signal.h>

#include "base/error.h"
#include "restart_job.h"

/*
 * To be called before the job can run: what is meant for it, and would end frem, waits until
 * supervise_job() passes it on.
 */
void supervise_hold_signals(void);
/* The signals that are passed on to a job in the foreground, and SIGCHLD. */
void supervise_signals(sigset_t *ret);
/*
 * Foreground: passes signals on to the job, follows the pager, waits for the job to end. Returns
 * the job's exit status (128 + N where signal N ended it) or a negative code where its memory could
 * not be brought in and it was killed.
 */
int supervise_job(struct restart_job *job, struct frem_error *err);
/* Detached: waits until all memory is in, or the job is gone. */
int supervise_drain(struct restart_job *job, struct frem_error *err);

/* ---- parts of it, for a loop that has more to do ---- */

/* What waitpid() said, as an exit status: 128 + N where signal N ended it. */
int supervise_status(int wait_status);
/* Takes every event of the pager that is there. Fails where the memory could not be brought in: the
 * job was killed. */
int supervise_events(struct restart_job *job, struct frem_error *err);
/* The job has ended with this status: settles what becomes of its pager. Returns the status, or
 * fails where the pager had killed it. */
int supervise_ended(struct restart_job *job, int status, struct frem_error *err);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The time after a restart: being the job's parent, and waiting for its memory. */
#ifndef FREM_CMD_SUPERVISE_H
#define FREM_CMD_SUPERVISE_H

#include "base/error.h"
#include "restart_job.h"

/*
 * To be called before the job can run: what is meant for it, and would end frem, waits until
 * supervise_job() passes it on.
 */
void supervise_hold_signals(void);
/*
 * Foreground: passes signals on to the job, follows the pager, waits for the job to end. Returns
 * the job's exit status (128 + N where signal N ended it) or a negative code where its memory could
 * not be brought in and it was killed.
 */
int supervise_job(struct restart_job *job, struct frem_error *err);
/* Detached: waits until all memory is in, or the job is gone. */
int supervise_drain(struct restart_job *job, struct frem_error *err);

#endif

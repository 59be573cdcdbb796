/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a restart recorded becomes a touch set of its checkpoint, or refines the one that is there.
 */
#ifndef FREM_CMD_RECORD_H
#define FREM_CMD_RECORD_H

#include "base/error.h"
#include "restart_job.h"

/*
 * Makes the touch set and stores it, in a process of its own, of low priority, that nobody has to
 * wait for: the job's signals and its end are not held up by an upload, and an upload is not broken
 * off by the end of the job or of frem. All memory is in, or the pager is detached. Nothing is done
 * where nothing was recorded.
 */
void record_start(struct restart_job *job);
/* To be called when job->recording_fd, where it is not -1, is readable: warns where it failed. */
void record_hear(struct restart_job *job);
/* The same here and now, for a caller who runs in the background itself. */
void record_here(const struct restart_job *job);

#endif

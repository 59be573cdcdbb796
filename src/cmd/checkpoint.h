/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A checkpoint from its beginning to its end, for the verbs that make one. */
#ifndef FREM_CMD_CHECKPOINT_H
#define FREM_CMD_CHECKPOINT_H

#include "base/error.h"
#include "base/progress.h"
#include "checkpoint_job.h"

/* --window: auto, off or a duration. Error: FREM_USAGE. */
int checkpoint_parse_window(const char *text, struct checkpoint_options *o, struct frem_error *err);
/*
 * Dump, upload, window, touch set. `committed` is called once the checkpoint is in the store and
 * the program runs on, or has been stopped; what fails after that costs the touch set alone, is
 * warned of, and is no error.
 */
int checkpoint_make(struct checkpoint_job *job,
		    void (*committed)(void *arg, const struct checkpoint_job *job), void *arg,
		    struct frem_error *err);

#endif

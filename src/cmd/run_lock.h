/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One `frem run` of a name and store at a time on a host: a locked file in the run directory of
 * each, which later ones find there. The lock goes with the last process that holds it, so it lasts
 * for as long as something of the job can still write to its files; nothing is left to clean up.
 */
#ifndef FREM_CMD_RUN_LOCK_H
#define FREM_CMD_RUN_LOCK_H

#include "base/error.h"
#include "base/rundir.h"

/*
 * Fails with FREM_REFUSED where another one runs. One that was killed is waited for until all of it
 * is gone. *ret_fd holds the lock; processes that are forked share it.
 */
int run_lock_take(const struct rundir *own, const char *store, const char *name, int *ret_fd,
		  struct frem_error *err);

#endif

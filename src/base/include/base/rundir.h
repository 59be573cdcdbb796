/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A private run directory that cannot outlive its users.
 *
 * rundir_new() makes the directory (mode 0700) and forks a janitor, a process in its own session
 * that ignores terminal signals and holds the read end of a pipe. The write end is inherited by
 * every process that frem forks and is closed by exec. When the last holder is gone, by return, by
 * error or by kill -9, the janitor removes the directory. Users also share a lock on it, so that
 * where the janitor was killed too, the next run directory made beside it sweeps it away.
 */
#ifndef FREM_BASE_RUNDIR_H
#define FREM_BASE_RUNDIR_H

#include "base/cleanup.h"
#include "base/error.h"

struct rundir;

/*
 * Makes a directory below `parent`; NULL means $FREM_RUN_DIR, or else /var/tmp.
 * Call it before any thread is started. *ret is untouched on failure.
 */
int rundir_new(const char *parent, struct rundir **ret, struct frem_error *err);
/* Lets go of the directory; where no other process holds it, returns once it is removed. */
void rundir_free(struct rundir *d);

const char *rundir_path(const struct rundir *d);
int rundir_fd(const struct rundir *d); /* O_DIRECTORY descriptor, owned by d */

/* Makes a sub-directory and opens it; the descriptor is the caller's. */
int rundir_subdir(const struct rundir *d, const char *name, int *ret_fd, struct frem_error *err);

/* Calls `each` for every other run directory of this user beside d, with a descriptor that is
 * closed afterwards; some may have no user any more. */
void rundir_others(const struct rundir *d, void (*each)(void *arg, int dir_fd), void *arg);

FREM_CLEANUP(struct rundir *, cleanup_rundir, rundir_free)
#define _cleanup_rundir_ _cleanup_(cleanup_rundir)

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Processes of a job that a checkpoint of its root would miss. */
#ifndef FREM_CMD_RUN_ORPHANS_H
#define FREM_CMD_RUN_ORPHANS_H

#include <sys/types.h>

#include "base/error.h"

/*
 * Fails with FREM_REFUSED where something in this pid namespace is neither below root nor frem or
 * its CRIU: a program of the job that has left its parents, as daemons do. A checkpoint without it
 * would not be the job.
 */
int run_orphans_check(pid_t root, struct frem_error *err);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory of a restarted program that is still to come. */
#ifndef FREM_CMD_MISSING_MEMORY_H
#define FREM_CMD_MISSING_MEMORY_H

#include <sys/types.h>

#include "base/error.h"
#include "base/progress.h"

/*
 * Waits until no process of the tree below root waits for memory from a userfaultfd: a dump would
 * take what has not come for zeros. A signal breaks it off.
 */
int missing_memory_wait(pid_t root, struct progress *progress, struct frem_error *err);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ends a tree that is being restored if this process dies before the restore is over.
 *
 * CRIU lets the tasks run when nobody answers its last notification. They would run without the one
 * who serves their memory, passes signals on and waits for them; and pages that nobody serves any
 * more read as zeros. The guard is a process of its own that shares nothing but a socket with us.
 */
#ifndef FREM_CRIU_GUARD_H
#define FREM_CRIU_GUARD_H

#include <sys/types.h>

#include "base/error.h"

struct guard {
	pid_t pid;
	int socket;
};

int guard_start(struct guard *ret, struct frem_error *err);
/* From now on, the tree below root ends with this process. */
void guard_watch(struct guard *g, pid_t root);
/* The tree is on its own feet, or gone. */
void guard_release(struct guard *g);

#endif

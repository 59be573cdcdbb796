/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What can be said about a process before CRIU is asked to dump it, and after it refused. */
#ifndef FREM_CRIU_TARGET_H
#define FREM_CRIU_TARGET_H

#include <sys/types.h>

#include "base/error.h"

/* FREM_REFUSED for what is no process, or one that a dump would freeze us with. */
int target_check(pid_t pid, struct frem_error *err);
/* Adds a hint where the tree has something that CRIU does not name in its log. */
void target_hint(pid_t pid, struct frem_error *err);

#endif

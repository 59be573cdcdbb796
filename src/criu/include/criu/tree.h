/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Live process trees, as /proc shows them. */
#ifndef FREM_CRIU_TREE_H
#define FREM_CRIU_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/error.h"

struct tree {
	pid_t *pids; /* the root first, parents before children, siblings by pid */
	size_t n, cap;
};

/* The processes of the tree below and with root; those that end meanwhile may be missing. */
int tree_read(pid_t root, struct tree *ret, struct frem_error *err);
void tree_done(struct tree *t);
/* The processes that are children of this process now. */
int tree_children_of_self(struct tree *ret, struct frem_error *err);
/* The pid that the process has in its innermost pid namespace, or -1. */
pid_t tree_inner_pid(pid_t pid);
/* Field n (from 3 on) of /proc/PID/stat, see proc(5); -1 where the process is gone. */
long tree_stat_field(pid_t pid, int n);
/* The command name of a process or thread, "?" where it is gone. */
void tree_comm(pid_t pid, char out[17]);
/* Kills every process of the tree, from the root down so that nothing is started in its place. */
void tree_kill(pid_t root);

/* Waits until a process that was killed has ended and its pid is free again, but not beyond the
 * clock_ns() time `until`. Reaps it where it has become a child of this process. */
void tree_await(pid_t pid, uint64_t until);

#define _cleanup_tree_ __attribute__((cleanup(tree_done)))

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Kills a restored tree of which memory is missing. Nothing may be closed before every task is
 * gone: uffds_alive() says so with certainty, since a userfaultfd knows whether its address space
 * lives.
 */
#ifndef FREM_PAGER_TREE_KILL_H
#define FREM_PAGER_TREE_KILL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * What an address space of the tree is known by, as long as it is not replaced by exec (which ends
 * its userfaultfd): where the kernel had put its stack and arguments, which every fork keeps.
 */
struct job_print {
	uint64_t stack, arguments;
	uint64_t pid_ns;
};

/* A task that CRIU has announced. */
struct job_seen {
	int32_t inner; /* its pid as in the image */
	pid_t pid;     /* and here; 0: not known */
};

struct job_tree {
	pid_t root;		  /* 0: not known, the restore is not through */
	int pidfd;		  /* of root, so that a reused pid is never killed; -1 */
	struct job_print *prints; /* by which orphans of the tree are known */
	size_t n_prints;
	pid_t ancestors[2];    /* before root is known: the caller, and CRIU; 0: none */
	struct job_seen *seen; /* tasks, which matter before root is known */
	size_t n_seen, cap_seen;
};

void job_tree_init(struct job_tree *t, pid_t caller);
void job_tree_done(struct job_tree *t);
/* CRIU announced the task with the pid `inner` in the image; pid: of the process that said so,
 * which is the task itself if that is its innermost pid. */
int job_tree_add_seen(struct job_tree *t, int32_t inner, pid_t pid);
/* The task among those seen whose parent is none of them, or 0 where none is known. */
pid_t job_tree_top(const struct job_tree *t);
void job_tree_set_root(struct job_tree *t, pid_t root);
/* Stops the tree from the top down until nothing new appears, then kills all of it. Where its root
 * is not known: kills the tasks seen, and the descendants of the ancestors whose innermost pid was
 * seen. Once. */
void job_tree_kill(const struct job_tree *t);
/* job_tree_kill() until no userfaultfd of this process has an address space any more, for at most
 * timeout_ms. Returns whether all are gone. */
bool job_tree_kill_all(const struct job_tree *t, int timeout_ms);
/* Whether some userfaultfd of this process still has its address space. */
bool uffds_alive(void);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The moment at which accesses begin to count, for the processes of the backend "accessed-bits".
 * How it is made short, and why no access is missed: at the top of arm.c.
 */
#ifndef FREM_TRACK_ARM_H
#define FREM_TRACK_ARM_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"
#include "bpf_walker.h"

struct tracked_task {
	pid_t pid;
	bool gone; /* exited, or another program by now */
	struct bpf_link *link;
	struct young_identity identity;
	uint64_t swaps; /* see task_swapped() */
};

/* With the tree below root running: clears most accessed bits ahead of time. Best effort. */
void prepare_tree(struct bpf_walker *w, pid_t root);

/* With all threads of the process frozen: fills in the link and the identity, and clears all
 * accessed bits. -ESRCH: the task is gone. */
int arm_task(struct bpf_walker *w, struct tracked_task *t, struct frem_error *err);

/* Whether pages of the task went to swap or came back since this was last asked; swapped: how many
 * it has there now, roughly, as a walk tells. */
bool task_swapped(struct tracked_task *t, uint64_t swapped);

#endif

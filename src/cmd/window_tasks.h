/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What becomes of the tasks of a checkpoint in its window. */
#ifndef FREM_CMD_WINDOW_TASKS_H
#define FREM_CMD_WINDOW_TASKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

struct window_task {
	pid_t pid;	/* 0: it ended, or executed another program */
	uint64_t start; /* as in struct process_info */
	uint64_t stack;
};

struct window_tasks {
	struct window_task *tasks; /* the root first */
	size_t n;
	pid_t root;
	bool executed; /* one executed another program */
	bool stopped;  /* all that were left were once found stopped */
};

int window_tasks_init(struct window_tasks *t, const pid_t *pids, size_t n, struct frem_error *err);
void window_tasks_done(struct window_tasks *t);
/* Looks at all of them. */
void window_tasks_look(struct window_tasks *t);
/* Is this process one of them, or in one tree with the root? start: to be sure which it is. */
bool window_tasks_overlap(const struct window_tasks *t, pid_t pid, uint64_t start);

#endif

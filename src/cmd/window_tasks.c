/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "window_tasks.h"

#include <stdlib.h>

#include "process.h"

int window_tasks_init(struct window_tasks *t, const pid_t *pids, size_t n, struct frem_error *err)
{
	struct window_task *tasks = calloc(n + 1, sizeof(*tasks));

	if (!tasks)
		return frem_oom(err);
	*t = (struct window_tasks){.tasks = tasks, .n = n, .root = n ? pids[0] : 0};
	for (size_t i = 0; i < n; i++) {
		struct process_info info;

		if (process_info_read(pids[i], &info, NULL) == 0)
			tasks[i] = (struct window_task){pids[i], info.start, info.stack};
	}
	return 0;
}

void window_tasks_done(struct window_tasks *t)
{
	free(t->tasks);
	*t = (struct window_tasks){0};
}

/* The task's state as in struct process_info; 0 where it has no page of the image any more. */
static char look(struct window_tasks *t, struct window_task *task)
{
	struct process_info info = {0};
	bool same = task->pid && process_info_read(task->pid, &info, NULL) == 0 &&
		    info.start == task->start && info.state != 'Z' && info.state != 'X';

	if (same && info.stack == task->stack)
		return info.state;
	if (same && info.stack) /* one that is just exiting has none */
		t->executed = true;
	task->pid = 0;
	return 0;
}

void window_tasks_look(struct window_tasks *t)
{
	size_t left = 0, stopped = 0;

	for (size_t i = 0; i < t->n; i++) {
		char state = look(t, &t->tasks[i]);

		left += state != 0;
		stopped += state == 'T' || state == 't';
	}
	if (left && left == stopped)
		t->stopped = true;
}

bool window_tasks_overlap(const struct window_tasks *t, pid_t pid, uint64_t start)
{
	struct process_info info;

	if (process_info_read(pid, &info, NULL) < 0 || info.start != start)
		return false;
	for (size_t i = 0; i < t->n; i++)
		if (t->tasks[i].pid == pid)
			return true;
	return process_is_within(pid, t->root) || process_is_within(t->root, pid);
}

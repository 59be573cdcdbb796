/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What /proc says about a process. */
#ifndef FREM_CMD_PROCESS_H
#define FREM_CMD_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"

struct process_info {
	char comm[64];
	char state; /* as in /proc/PID/stat */
	pid_t ppid;
	bool kernel_thread;
};

/* Error: FREM_REFUSED, "no such process". */
int process_info_read(pid_t pid, struct process_info *ret, struct frem_error *err);
/* Is it this process itself or one of its ancestors? */
bool process_is_ancestor(pid_t pid);
/* Fails with FREM_UNABLE where this process is not privileged enough to dump and restore others. */
int process_need_root(struct frem_error *err);

#endif

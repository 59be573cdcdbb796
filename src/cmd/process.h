/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What /proc says about a process. */
#ifndef FREM_CMD_PROCESS_H
#define FREM_CMD_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

struct process_info {
	char comm[64];
	char state; /* as in /proc/PID/stat */
	pid_t ppid;
	bool kernel_thread;
	uint64_t start; /* tells it from another that gets its pid later */
	uint64_t stack; /* where its stack began: execve() moves it */
};

/* Error: FREM_REFUSED, "no such process". */
int process_info_read(pid_t pid, struct process_info *ret, struct frem_error *err);
/* Is pid this root itself, or below it? */
bool process_is_within(pid_t pid, pid_t root);
/* Fails with FREM_UNABLE where this process is not privileged enough to dump and restore others. */
int process_need_root(struct frem_error *err);

#endif

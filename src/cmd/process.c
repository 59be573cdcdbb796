/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

#define PF_KTHREAD 0x00200000u /* include/linux/sched.h */

/* The numbers of /proc/PID/stat behind the state; see proc_pid_stat(5). */
enum {
	STAT_PPID,
	STAT_FLAGS = 5,
	STAT_START = 18,
	STAT_STACK = 24,
	STAT_NUMBERS,
};

/* /proc/PID/stat: "pid (comm) state ppid pgrp session tty tpgid flags ..."; comm may hold anything.
 */
static int parse_stat(char *text, struct process_info *ret)
{
	char *open = strchr(text, '('), *close = strrchr(text, ')');
	unsigned long long numbers[STAT_NUMBERS];

	if (!open || !close || close < open || close[1] != ' ' || !close[2])
		return -EINVAL;
	*close = '\0';
	ret->state = close[2];
	close += 3;
	for (size_t i = 0; i < STAT_NUMBERS; i++) {
		char *end;

		numbers[i] = strtoull(close, &end, 10);
		if (end == close)
			return -EINVAL;
		close = end;
	}
	snprintf(ret->comm, sizeof(ret->comm), "%s", open + 1);
	ret->ppid = (pid_t)numbers[STAT_PPID];
	ret->kernel_thread = numbers[STAT_FLAGS] & PF_KTHREAD;
	ret->start = numbers[STAT_START];
	ret->stack = numbers[STAT_STACK];
	return 0;
}

int process_info_read(pid_t pid, struct process_info *ret, struct frem_error *err)
{
	struct process_info info = {0};
	char path[64], text[1024];
	_cleanup_close_ int fd = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return frem_fail(err, FREM_REFUSED, 0, "no such process");
	n = read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return frem_fail(err, FREM_REFUSED, 0, "no such process");
	text[n] = '\0';
	if (parse_stat(text, &info) < 0)
		return frem_fail(err, FREM_FAILED, EINVAL, "reading '%s'", path);
	*ret = info;
	return 0;
}

bool process_is_within(pid_t pid, pid_t root)
{
	struct process_info info;

	while (pid > 0 && pid != root) {
		if (process_info_read(pid, &info, NULL) < 0)
			return false;
		pid = info.ppid;
	}
	return pid == root;
}

int process_need_root(struct frem_error *err)
{
	int r;

	if (geteuid() == 0)
		return 0;
	r = frem_fail(err, FREM_UNABLE, 0, "checkpoints and restarts need root");
	return frem_hint(err, r, "run it with sudo; `frem check` lists what is needed");
}

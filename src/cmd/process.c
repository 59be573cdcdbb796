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

/* /proc/PID/stat: "pid (comm) state ppid pgrp session tty tpgid flags ..."; comm may hold anything.
 */
static int parse_stat(char *text, struct process_info *ret)
{
	char *open = strchr(text, '('), *close = strrchr(text, ')');
	long long numbers[6]; /* ppid to flags */

	if (!open || !close || close < open || close[1] != ' ' || !close[2])
		return -EINVAL;
	*close = '\0';
	ret->state = close[2];
	close += 3;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
		char *end;

		numbers[i] = strtoll(close, &end, 10);
		if (end == close)
			return -EINVAL;
		close = end;
	}
	snprintf(ret->comm, sizeof(ret->comm), "%s", open + 1);
	ret->ppid = (pid_t)numbers[0];
	ret->kernel_thread = numbers[5] & PF_KTHREAD;
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

bool process_is_ancestor(pid_t pid)
{
	struct process_info info;
	pid_t at = getpid();

	while (at > 0 && at != pid) {
		if (process_info_read(at, &info, NULL) < 0)
			return false;
		at = info.ppid;
	}
	return at == pid;
}

int process_need_root(struct frem_error *err)
{
	int r;

	if (geteuid() == 0)
		return 0;
	r = frem_fail(err, FREM_UNABLE, 0, "checkpoints and restarts need root");
	return frem_hint(err, r, "run it with sudo; `frem check` lists what is needed");
}

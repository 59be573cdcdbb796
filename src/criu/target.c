/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "target.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "criu/tree.h"

#define PF_KTHREAD 0x00200000L /* include/linux/sched.h of the kernel */

/* A number of /proc/PID/status, or -1. */
static long status_field(pid_t pid, const char *name)
{
	_cleanup_fclose_ FILE *f = NULL;
	size_t n = strlen(name);
	char path[64], line[512];

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, name, n) && line[n] == ':')
			return strtol(line + n + 1, NULL, 10);
	return -1;
}

int target_check(pid_t pid, struct frem_error *err)
{
	long group = pid > 0 ? status_field(pid, "Tgid") : -1;
	char comm[17];

	if (group < 0)
		return frem_fail(err, FREM_REFUSED, 0, "dumping process %d: no such process", pid);
	if (group != pid)
		return frem_fail(err, FREM_REFUSED, 0,
				 "dumping process %d: it is a thread of process %ld", pid, group);
	tree_comm(pid, comm);
	if (tree_stat_field(pid, 9) & PF_KTHREAD)
		return frem_fail(err, FREM_REFUSED, 0,
				 "dumping process %d: '%s' is a thread of the kernel", pid, comm);
	/* a dump of our own ancestor would freeze us, and CRIU with us, for ever */
	for (long up = getpid(); up > 0; up = status_field((pid_t)up, "PPid"))
		if (up == pid)
			return frem_fail(err, FREM_REFUSED, 0,
					 "dumping process %d: '%s' is what this command runs in",
					 pid, comm);
	return 0;
}

void target_hint(pid_t pid, struct frem_error *err)
{
	struct tree t = {0};

	if (tree_read(pid, &t, NULL) < 0)
		return;
	for (size_t i = 0; i < t.n; i++) {
		long tracer = status_field(t.pids[i], "TracerPid");
		char comm[17];

		if (tracer <= 0)
			continue;
		tree_comm((pid_t)tracer, comm);
		frem_hint(err, 0, "process %d is traced by '%s' (pid %ld): end that first",
			  t.pids[i], comm, tracer);
		break;
	}
	tree_done(&t);
}

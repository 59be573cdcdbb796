/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "run_orphans.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "criu/tree.h"
#include "process.h"

#define INIT 1

/* frem never replaces itself, so what is its own is told by its executable. Session leaders of
 * CRIU's end with it and are reaped by init; while it works, it is below this process. */
static bool is_frem(pid_t pid)
{
	char path[64], own[4096], its[4096];
	ssize_t n, m;

	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	n = readlink("/proc/self/exe", own, sizeof(own));
	m = readlink(path, its, sizeof(its));
	return m < 0 || (n == m && memcmp(own, its, (size_t)n) == 0);
}

int run_orphans_check(pid_t root, struct frem_error *err)
{
	_cleanup_tree_ struct tree below_init = {0};
	int r = tree_read(INIT, &below_init, err);

	for (size_t i = 1; r == 0 && i < below_init.n; i++) {
		pid_t pid = below_init.pids[i];
		struct process_info info;

		if (process_info_read(pid, &info, NULL) < 0 || info.state == 'Z' ||
		    info.ppid != INIT || is_frem(pid) || process_is_within(root, pid))
			continue;
		r = frem_fail(err, FREM_REFUSED, 0,
			      "'%s' (pid %d) has left the job's process tree, as daemons do",
			      info.comm, pid);
		frem_hint(err, r, "keep it in the foreground: most programs have an option for it");
	}
	return r;
}

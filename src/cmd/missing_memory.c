/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "missing_memory.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "criu/tree.h"
#include "interrupt.h"

#define POLL_LEAST_MS 20
#define POLL_MOST_MS 1000

/* Whether a mapping is registered with a userfaultfd for missing pages: flag "um" in its line
 * "VmFlags:" of smaps, see proc_pid_smaps(5). */
static bool is_missing(pid_t pid)
{
	_cleanup_fclose_ FILE *smaps = NULL;
	char line[4352]; /* the longest is that of a mapping with its path */

	snprintf(line, sizeof(line), "/proc/%d/smaps", pid);
	smaps = fopen(line, "re");
	while (smaps && fgets(line, sizeof(line), smaps))
		if (strncmp(line, "VmFlags:", 8) == 0 && strstr(line, " um"))
			return true;
	return false;
}

/* 1, 0 or -errno. */
static int tree_misses(pid_t root, struct frem_error *err)
{
	_cleanup_tree_ struct tree t = {0};
	int r = tree_read(root, &t, err);

	for (size_t i = 0; r == 0 && i < t.n; i++)
		r = is_missing(t.pids[i]);
	return r;
}

int missing_memory_wait(pid_t root, struct progress *progress, struct frem_error *err)
{
	long ms = POLL_LEAST_MS;
	int r;

	while ((r = tree_misses(root, err)) > 0) {
		struct timespec pause = {.tv_sec = ms / 1000,
					 .tv_nsec = ms % 1000 * (long)NSEC_PER_MSEC};

		progress_report(progress, "waiting for the memory of its restart", 0, 0);
		nanosleep(&pause, NULL);
		r = interrupt_check(err);
		if (r < 0)
			break;
		ms = ms * 2 < POLL_MOST_MS ? ms * 2 : POLL_MOST_MS;
	}
	return r;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "missing_memory.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "criu/tree.h"
#include "interrupt.h"

#define POLL_LEAST_MS 20
#define POLL_MOST_MS 1000
#define SAY_MS 1000 /* a wait that lasts longer is told of */

/* Whether a mapping is registered with a userfaultfd for missing pages: flag "um" in its line
 * "VmFlags:" of smaps, see proc_pid_smaps(5). */
static int is_missing(pid_t pid, struct frem_error *err)
{
	_cleanup_fclose_ FILE *smaps = NULL;
	char line[4352]; /* the longest is that of a mapping with its path */
	int r = 0;

	snprintf(line, sizeof(line), "/proc/%d/smaps", pid);
	smaps = fopen(line, "re");
	errno = smaps ? 0 : errno;
	while (smaps && r == 0 && fgets(line, sizeof(line), smaps))
		r = strncmp(line, "VmFlags:", 8) == 0 && strstr(line, " um");
	/* a task that has ended misses nothing; what cannot be seen might miss all of it */
	if (r || !errno || errno == ENOENT || errno == ESRCH)
		return r;
	return frem_fail(err, FREM_FAILED, errno, "reading /proc/%d/smaps", pid);
}

/* A restored task holds none: the pager has it. One of its own is for other ends, and never goes
 * away by waiting. */
static bool has_userfaultfd(pid_t pid)
{
	char path[64], target[64];
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *entry;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		ssize_t n = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);

		target[n < 0 ? 0 : n] = '\0';
		if (strcmp(target, "anon_inode:[userfaultfd]") == 0)
			return true;
	}
	return false;
}

/* 1, 0 or -errno. */
static int tree_misses(pid_t root, struct frem_error *err)
{
	_cleanup_tree_ struct tree t = {0};
	int r = tree_read(root, &t, err);
	bool misses = false;

	for (size_t i = 0; r >= 0 && i < t.n; i++) {
		if (has_userfaultfd(t.pids[i]))
			return 0; /* CRIU refuses it, in its own words */
		r = is_missing(t.pids[i], err);
		misses |= r > 0;
	}
	return r < 0 ? r : misses;
}

int missing_memory_wait(pid_t root, struct progress *progress, struct frem_error *err)
{
	uint64_t start = clock_ns();
	long ms = POLL_LEAST_MS;
	bool said = false;
	int r;

	while ((r = tree_misses(root, err)) > 0) {
		struct timespec pause = {.tv_sec = ms / 1000,
					 .tv_nsec = ms % 1000 * (long)NSEC_PER_MSEC};

		progress_report(progress, "waiting for the memory of its restart", 0, 0);
		nanosleep(&pause, NULL);
		if (!said && clock_ms_since(start) > SAY_MS) {
			log_notice("the process was restarted and part of its memory has still to "
				   "arrive: the checkpoint is taken when it is there");
			said = true;
		}
		r = interrupt_check(err);
		if (r < 0)
			break;
		ms = ms * 2 < POLL_MOST_MS ? ms * 2 : POLL_MOST_MS;
	}
	return r;
}

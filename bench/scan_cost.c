/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * scan_cost: what tracking costs a program, against its size. A child holds memory in small pages;
 * once tracked it goes through a tenth of it. The table gives the time for which the child is
 * frozen to be armed, and the processor time of one scan, a resident GB.
 *
 *   scan_cost [GB...]          0.25, 1 and 4 if none is given
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "base/clock.h"
#include "track/track.h"

#define PAGE 4096u
#define WINDOW_MS 1500.0

struct child {
	pid_t pid;
	volatile uint8_t *memory;
	uint64_t pages;
	int *shared; /* 1: memory is filled; 2: the child may touch; 3: it has */
};

static void wait_for(volatile int *shared, int value)
{
	struct timespec pause = {0, 200000};

	while (*shared < value)
		nanosleep(&pause, NULL);
}

static _Noreturn void child_main(const struct child *c)
{
	volatile int *shared = c->shared;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (uint64_t i = 0; i < c->pages; i++)
		c->memory[i * PAGE] = 1;
	*shared = 1;
	wait_for(shared, 2);
	for (uint64_t i = 0; i < c->pages; i += 10)
		(void)c->memory[i * PAGE];
	*shared = 3;
	for (;;)
		pause();
}

static int child_start(struct child *c, double gb)
{
	void *shared, *memory;

	c->pages = (uint64_t)(gb * (1 << 30)) / PAGE;
	shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	memory = mmap(NULL, c->pages * PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (shared == MAP_FAILED || memory == MAP_FAILED)
		return -1;
	madvise(memory, c->pages * PAGE, MADV_NOHUGEPAGE);
	c->shared = shared;
	c->memory = memory;
	c->pid = fork();
	if (!c->pid)
		child_main(c);
	if (c->pid < 0)
		return -1;
	wait_for(c->shared, 1);
	return kill(c->pid, SIGSTOP) || waitpid(c->pid, NULL, WUNTRACED) < 0 ? -1 : 0;
}

static void child_end(struct child *c)
{
	if (c->pid > 0) {
		kill(c->pid, SIGKILL);
		waitpid(c->pid, NULL, 0);
	}
	munmap((void *)c->memory, c->pages * PAGE);
	munmap(c->shared, PAGE);
}

static int track(const struct child *c, struct touch_set **ret, struct frem_error *err)
{
	struct image_extent extent = {(uintptr_t)c->memory, c->pages, 0, 0};
	struct image_task task = {.pid = c->pid,
				  .alive = 1,
				  .lazy_pages = c->pages,
				  .extents = &extent,
				  .n_extents = 1};
	struct image_map map = {.tasks = &task, .n_tasks = 1, .lazy_pages = c->pages};
	_cleanup_tracker_ struct tracker *t = NULL;
	uint64_t start;
	int r = tracker_new(&t, err);

	if (!r)
		r = tracker_arm(t, &c->pid, 1, err);
	kill(c->pid, SIGCONT);
	if (!r)
		r = tracker_start(t, err);
	if (r < 0)
		return r;
	start = clock_ns();
	*c->shared = 2;
	wait_for(c->shared, 3);
	while (clock_ms_since(start) < WINDOW_MS) {
		struct timespec pause = {0, 10000000};

		nanosleep(&pause, NULL);
	}
	tracker_stop(t, "asked");
	return tracker_result(t, &map, ret, err);
}

static int measure(double gb)
{
	_cleanup_touch_set_ struct touch_set *set = NULL;
	struct frem_error err = {};
	struct child c = {};
	double scan_ms;

	if (child_start(&c, gb)) {
		perror("scan_cost");
		return 1;
	}
	if (track(&c, &set, &err) < 0) {
		fprintf(stderr, "scan_cost: %s\n", err.text);
		child_end(&c);
		return 1;
	}
	scan_ms = (set->info.overhead_ms - set->info.frozen_ms) / set->info.scans;
	printf("%6.2f GB  frozen %7.2f ms %6.2f ms/GB   scan %7.3f ms %6.3f ms/GB   %3u scans   "
	       "touched %.2f %%\n",
	       gb, set->info.frozen_ms, set->info.frozen_ms / gb, scan_ms, scan_ms / gb,
	       set->info.scans, 100.0 * (double)set->pages / (double)c.pages);
	fflush(stdout);
	child_end(&c);
	return 0;
}

int main(int argc, char **argv)
{
	const char *usual[] = {"0.25", "1", "4"};
	int r = 0;

	for (int i = 0; i < (argc > 1 ? argc - 1 : 3); i++) {
		double gb = strtod(argc > 1 ? argv[i + 1] : usual[i], NULL);

		if (gb <= 0 || gb > 1024) {
			fprintf(stderr, "usage: scan_cost [GB...]\n");
			return 2;
		}
		r |= measure(gb);
	}
	return r;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The tracker under memory pressure: pages go to swap and come back while it watches. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "swap_fixture.h"
#include "track/track.h"

#define PAGE 4096u
#define PAGES 49152u	  /* 192 MB */
#define LIMIT (80u << 20) /* of which so much can be in memory */
#define AT_ONCE 16u	  /* accesses a millisecond */
#define PATIENCE_MS 60000.0
#define MOST 0.95

/* ---- the program ---- */

struct shared {
	_Atomic unsigned phase;
	_Atomic unsigned done;
	unsigned n;
	uint32_t order[PAGES]; /* pages to access, a few a millisecond */
};

struct program {
	pid_t pid;
	volatile uint8_t *memory;
	struct shared *shared;
};

static void pause_us(long us)
{
	struct timespec t = {0, us * 1000};

	nanosleep(&t, NULL);
}

static _Noreturn void program_main(const struct program *p)
{
	struct shared *s = p->shared;
	unsigned phase = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (pressure_enter())
		_exit(1);
	for (uint32_t i = 0; i < PAGES; i++)
		memcpy((void *)(p->memory + (size_t)i * PAGE), &i, sizeof(i));
	s->done = ++phase;
	for (;;) {
		while (s->phase < phase)
			pause_us(100);
		for (unsigned i = 0; i < s->n; i++) {
			(void)p->memory[(size_t)s->order[i] * PAGE];
			if (i % AT_ONCE == 0)
				pause_us(1000);
		}
		s->done = ++phase;
	}
}

static void wait_done(const struct program *p, unsigned phase)
{
	uint64_t since = clock_ns();

	while (p->shared->done < phase) {
		assert_int_equal(waitpid(p->pid, NULL, WNOHANG), 0);
		assert_true(clock_ms_since(since) < PATIENCE_MS);
		pause_us(1000);
	}
}

static void program_start(struct program *p)
{
	void *memory = mmap(NULL, (size_t)PAGES * PAGE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	p->shared = mmap(NULL, sizeof(*p->shared), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(memory != MAP_FAILED && p->shared != MAP_FAILED);
	madvise(memory, (size_t)PAGES * PAGE, MADV_NOHUGEPAGE);
	p->memory = memory;
	p->pid = fork();
	assert_true(p->pid >= 0);
	if (!p->pid)
		program_main(p);
	wait_done(p, 1);
}

static void program_end(struct program *p)
{
	kill(p->pid, SIGKILL);
	waitpid(p->pid, NULL, 0);
	munmap((void *)p->memory, (size_t)PAGES * PAGE);
	munmap(p->shared, sizeof(*p->shared));
}

static uint64_t hash(uint64_t x)
{
	return (x + 1) * UINT64_C(0x9e3779b97f4a7c15) >> 32;
}

/* Two pages in three, in a random order. */
static void choose_pages(struct shared *s)
{
	s->n = 0;
	for (uint32_t i = 0; i < PAGES; i++)
		if (hash(i) % 3)
			s->order[s->n++] = i;
	for (unsigned i = s->n - 1; i > 0; i--) {
		unsigned k = (unsigned)(hash(i) % (i + 1));
		uint32_t swap = s->order[i];

		s->order[i] = s->order[k];
		s->order[k] = swap;
	}
}

/* ---- tracking it ---- */

static void assert_ok(int r, const struct frem_error *err)
{
	if (r < 0)
		fail_msg("%s (%s)", err->text, err->hint);
}

static void arm_and_start(struct tracker *t, const struct program *p)
{
	struct frem_error err = {};

	tracker_prepare(t, p->pid);
	kill(p->pid, SIGSTOP);
	assert_int_equal(waitpid(p->pid, NULL, WUNTRACED), p->pid);
	assert_ok(tracker_arm(t, &p->pid, 1, &err), &err);
	kill(p->pid, SIGCONT);
	assert_ok(tracker_start(t, &err), &err);
}

static uint8_t *found(struct tracker *t, const struct program *p)
{
	struct image_extent extent = {(uintptr_t)p->memory, PAGES, 0, 0};
	struct image_task task = {
		.pid = p->pid, .alive = 1, .lazy_pages = PAGES, .extents = &extent, .n_extents = 1};
	struct image_map map = {.tasks = &task, .n_tasks = 1, .lazy_pages = PAGES};
	_cleanup_touch_set_ struct touch_set *set = NULL;
	struct frem_error err = {};
	uint8_t *seen = calloc(PAGES, 1);

	assert_non_null(seen);
	assert_ok(tracker_result(t, &map, &set, &err), &err);
	for (size_t i = 0; i < set->n_runs; i++)
		memset(seen + set->runs[i].first, 1, set->runs[i].pages);
	print_message("%u scans in %u ms, %.1f ms of processor time\n", set->info.scans,
		      set->info.window_ms, set->info.scan_ms + set->info.insert_ms);
	return seen;
}

/* Which pages are in swap now: bit 62 of /proc/PID/pagemap. */
static uint8_t *in_swap(const struct program *p)
{
	_cleanup_free_ uint64_t *entries = calloc(PAGES, sizeof(*entries));
	_cleanup_close_ int fd = -1;
	uint8_t *swapped = calloc(PAGES, 1);
	char path[64];

	assert_true(entries && swapped);
	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)p->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, entries, PAGES * sizeof(*entries),
			       (off_t)((uintptr_t)p->memory / PAGE * sizeof(*entries))),
			 PAGES * sizeof(*entries));
	for (unsigned i = 0; i < PAGES; i++)
		swapped[i] = entries[i] >> 62 & 1;
	return swapped;
}

/* Of the pages that were accessed and, where `only` is given, are in it. */
static double recall(const struct program *p, const uint8_t *seen, const uint8_t *only,
		     const char *what)
{
	const struct shared *s = p->shared;
	unsigned accessed = 0, hits = 0;

	for (unsigned i = 0; i < s->n; i++) {
		uint32_t page = s->order[i];

		if (only && !only[page])
			continue;
		accessed++;
		hits += seen[page];
	}
	print_message("%s: %u of %u found\n", what, hits, accessed);
	assert_true(accessed > s->n / 10);
	return (double)hits / accessed;
}

static unsigned count(const uint8_t *pages)
{
	unsigned n = 0;

	for (unsigned i = 0; i < PAGES; i++)
		n += pages[i];
	return n;
}

/*
 * Pages are accessed once, at random, while twice as many as there is room for go and come. Those
 * that reclaim takes for old between two scans are missed: how many depends on how long the
 * scanner has to wait for a processor, so the bound is for a busy machine. Without tracking through
 * swap, it would be most of them.
 */
static void test_swapping(void **state)
{
	_cleanup_tracker_ struct tracker *t = NULL;
	_cleanup_free_ uint8_t *seen = NULL, *before = NULL, *after = NULL;
	struct frem_error err = {};
	struct program p = {};

	(void)state;
	assert_ok(tracker_new(&t, &err), &err);
	program_start(&p);
	choose_pages(p.shared);
	arm_and_start(t, &p);
	before = in_swap(&p);
	p.shared->phase = 1;
	wait_done(&p, 2);
	after = in_swap(&p);
	tracker_stop(t, "asked");
	seen = found(t, &p);
	assert_true(recall(&p, seen, NULL, "accessed") >= MOST);
	assert_true(recall(&p, seen, before, "in swap before") >= MOST);
	assert_true(recall(&p, seen, after, "in swap after") >= MOST);
	assert_true(count(seen) <= p.shared->n + p.shared->n / 100);
	program_end(&p);
}

static int start(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	const char *why = pressure_start(LIMIT);
	if (why) {
		print_message("%s\n", why);
		skip();
	}
	return 0;
}

static int end(void **state)
{
	(void)state;
	pressure_end();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_swapping, start, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

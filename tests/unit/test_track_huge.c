/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is found of programs in huge pages, and that they are left as they were. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <bpf/libbpf.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/cleanup.h"
#include "huge.h"
#include "huge_program.h"

#define PAGE 4096u
#define UNIT_PAGES 512u
#define UNIT_SIZE ((uint64_t)UNIT_PAGES * PAGE)
#define PATIENCE_MS 60000.0
#define SCAN_GAP_NS (20 * NSEC_PER_MSEC)

/* ---- a tracker of huge pages alone, for one process ---- */

struct watcher {
	struct bpf_walker *walker;
	struct tracked_task task;
	struct huge_pages *huge;
	struct touched_set *set;
	unsigned scan;
	uint64_t next_scan, next_tend;
	uint64_t begun;
};

static void assert_ok(int r, const struct frem_error *err)
{
	if (r < 0)
		fail_msg("%s (%s)", err->text, err->hint);
}

/* None of the programs moves or unmaps anything. */
static bool in_place(void *arg, size_t task, uint64_t unit)
{
	(void)arg;
	(void)task;
	(void)unit;
	return true;
}

/* The process is stopped. */
static void watcher_start(struct watcher *w, pid_t pid)
{
	struct frem_error err = {};

	*w = (struct watcher){.task.pid = pid, .begun = clock_ns()};
	assert_ok(bpf_walker_new(&w->walker, &err), &err);
	assert_ok(touched_set_new(&w->set, &err), &err);
	assert_ok(arm_task(w->walker, &w->task, &err), &err);
	assert_ok(huge_new(&w->huge, w->walker, &w->task, 1, in_place, NULL, &err), &err);
}

static void watcher_end(struct watcher *w)
{
	huge_free(w->huge);
	touched_set_free(w->set);
	bpf_link__destroy(w->task.link);
	bpf_walker_free(w->walker);
}

static int take_record(void *arg, const struct young_record *r, struct frem_error *err)
{
	struct watcher *w = arg;
	uint64_t touched[YOUNG_WORDS];
	struct touched_sight sight = {.unit = r->unit, .huge = r->huge != 0, .touched = touched};
	unsigned scan = w->scan;

	memcpy(touched, r->touched, sizeof(touched));
	assert_ok(huge_saw(w->huge, 0, r, touched, &scan, err), err);
	return touched_set_add(w->set, &sight, scan, err);
}

static void watcher_scan(struct watcher *w)
{
	struct bpf_walk walk = {.link = w->task.link, .expected = w->task.identity};
	struct frem_error err = {};
	int r;

	w->scan++;
	walk.present = w->scan == 1;
	do {
		r = bpf_walker_next(w->walker, &walk, take_record, w, &err);
	} while (r > 0);
	w->task.gone = r < 0;
}

/* Goes on with whatever is due; returns what the state is now. */
static struct huge_counts watcher_step(struct watcher *w)
{
	struct timespec pause = {0, 500000};
	struct huge_counts c;

	assert_true(clock_ms_since(w->begun) < PATIENCE_MS);
	if (clock_ns() >= w->next_scan) {
		watcher_scan(w);
		w->next_scan = clock_ns() + SCAN_GAP_NS;
		w->next_tend = 0;
	}
	if (clock_ns() >= w->next_tend)
		w->next_tend = huge_tend(w->huge, w->set);
	nanosleep(&pause, NULL);
	huge_counts(w->huge, &c);
	return c;
}

/* ---- what it found ---- */

struct fit {
	uint64_t used, set, found;
};

static struct fit fit_of(const struct watcher *w, const struct huge_program *p)
{
	struct image_extent extent = {(uintptr_t)p->memory, p->pages, 0, 0};
	struct image_task task = {
		.alive = 1, .lazy_pages = p->pages, .extents = &extent, .n_extents = 1};
	struct image_map map = {.tasks = &task, .n_tasks = 1, .lazy_pages = p->pages};
	_cleanup_free_ uint32_t *scan_ms = calloc(w->scan + 1, sizeof(*scan_ms));
	_cleanup_free_ uint8_t *used = huge_program_used(p);
	_cleanup_free_ struct touch_run *runs = NULL;
	struct frem_error err = {};
	struct fit fit = {};
	size_t n, task_of = 0;

	assert_non_null(used);
	assert_non_null(scan_ms);
	assert_ok(touched_set_runs(w->set, &map, &task_of, scan_ms, &runs, &n, &fit.set, &err),
		  &err);
	for (size_t i = 0; i < n; i++)
		for (uint32_t k = 0; k < runs[i].pages; k++)
			fit.found += used[runs[i].first + k];
	for (uint64_t i = 0; i < p->pages; i++)
		fit.used += used[i];
	print_message("%lu pages used, %lu in the set, %lu of them used; %u scans in %.0f ms\n",
		      fit.used, fit.set, fit.found, w->scan, clock_ms_since(w->begun));
	return fit;
}

static void assert_fits(struct fit fit, unsigned recall_percent)
{
	assert_true(fit.set <= 2 * fit.used);
	assert_true(fit.found * 100 >= fit.used * recall_percent);
}

/* ---- programs ---- */

static int start_program(struct huge_program *p, enum huge_pattern pattern, uint64_t units)
{
	assert_int_equal(huge_program_start(p, pattern, units * UNIT_PAGES), 0);
	if (huge_program_huge(p) >= units * UNIT_SIZE)
		return 0;
	print_message("no huge pages are to be had here\n");
	huge_program_end(p);
	return -1;
}

static int skip_without_root(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	return 0;
}

/* All units can be looked at: the set is what is used, and the pages are huge again. */
static void check_sparse(enum huge_pattern pattern)
{
	struct huge_program p;
	struct huge_counts c;
	struct watcher w;
	struct fit fit;
	uint64_t huge;

	if (start_program(&p, pattern, 6))
		skip();
	huge = huge_program_huge(&p);
	watcher_start(&w, p.pid);
	huge_program_continue(&p);
	do {
		c = watcher_step(&w);
	} while (c.known < 6 || c.splitter.apart);
	huge_finish(w.huge, w.set);
	fit = fit_of(&w, &p);
	assert_fits(fit, 99);
	assert_true(fit.set <= fit.used + fit.used / 20);
	assert_true(huge_program_huge(&p) >= huge);
	watcher_end(&w);
	huge_program_end(&p);
}

static void test_reads(void **state)
{
	(void)state;
	check_sparse(HUGE_TENTH);
}

static void test_writes(void **state)
{
	(void)state;
	check_sparse(HUGE_WRITTEN);
}

/* More units than there is time for: those looked at tell how many of the others may count. */
static void test_not_all_looked_at(void **state)
{
	struct huge_program p;
	struct huge_counts c;
	struct watcher w;
	struct fit fit;

	(void)state;
	if (start_program(&p, HUGE_TENTH, 64))
		skip();
	watcher_start(&w, p.pid);
	huge_program_continue(&p);
	do {
		c = watcher_step(&w);
	} while (c.known < 5);
	assert_true(c.waiting > 32);
	huge_finish(w.huge, w.set);
	fit = fit_of(&w, &p);
	assert_fits(fit, 0);
	assert_true(fit.set >= fit.used); /* and of them, as many as may */
	watcher_end(&w);
	huge_program_end(&p);
}

/* A program that uses all of its pages is soon left alone. */
static void test_dense(void **state)
{
	struct huge_program p;
	struct huge_counts c;
	struct watcher w;

	(void)state;
	if (start_program(&p, HUGE_STREAM, 64))
		skip();
	watcher_start(&w, p.pid);
	huge_program_continue(&p);
	do {
		c = watcher_step(&w);
	} while (c.known < 64);
	huge_finish(w.huge, w.set);
	assert_true(c.splitter.splits <= 40);
	assert_fits(fit_of(&w, &p), 100);
	watcher_end(&w);
	huge_program_end(&p);
}

/* However the tracker ends, nothing stays apart. */
static void test_aborted(void **state)
{
	struct huge_program p;
	struct huge_counts c;
	struct watcher w;
	uint64_t huge;

	(void)state;
	if (start_program(&p, HUGE_RARE, 6))
		skip();
	huge = huge_program_huge(&p);
	watcher_start(&w, p.pid);
	huge_program_continue(&p);
	do {
		c = watcher_step(&w);
	} while (!c.splitter.apart);
	assert_true(huge_program_huge(&p) < huge);
	huge_program_stop(&p);
	watcher_end(&w);
	assert_true(huge_program_huge(&p) >= huge);
	huge_program_end(&p);
}

/* The program ends while some of it is apart. */
static void test_exit(void **state)
{
	struct huge_program p;
	struct huge_counts c;
	struct watcher w;

	(void)state;
	if (start_program(&p, HUGE_RARE, 6))
		skip();
	watcher_start(&w, p.pid);
	huge_program_continue(&p);
	do {
		c = watcher_step(&w);
	} while (!c.splitter.apart);
	kill(p.pid, SIGKILL);
	assert_int_equal(waitid(P_PID, p.pid, &(siginfo_t){}, WEXITED | WNOWAIT), 0);
	do {
		c = watcher_step(&w);
	} while (!w.task.gone);
	huge_finish(w.huge, w.set);
	huge_counts(w.huge, &c);
	assert_int_equal(c.splitter.apart, 0);
	watcher_end(&w);
	huge_program_end(&p);
}

/* Huge pages that a forked child shares stay as they are, and count whole. */
static void test_forked(void **state)
{
	struct huge_program p, shared;
	struct huge_counts c;
	struct watcher w;
	uint64_t huge;

	(void)state;
	if (start_program(&p, HUGE_FORKED, 6))
		skip();
	huge_program_continue(&p);
	while (!huge_program_count(&p))
		;
	huge_program_stop(&p);
	huge = huge_program_huge(&p);
	shared = p;
	shared.pid = huge_program_child(&p);
	watcher_start(&w, p.pid);
	huge_program_continue(&p);
	do {
		c = watcher_step(&w);
		assert_int_equal(c.splitter.joins, 0);
		assert_true(huge_program_huge(&p) >= huge);
		assert_true(huge_program_huge(&shared) >= huge);
	} while (c.refused < 6);
	huge_finish(w.huge, w.set);
	assert_int_equal(fit_of(&w, &p).set, p.pages);
	watcher_end(&w);
	huge_program_end(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_reads, skip_without_root),
		cmocka_unit_test_setup(test_writes, skip_without_root),
		cmocka_unit_test_setup(test_not_all_looked_at, skip_without_root),
		cmocka_unit_test_setup(test_dense, skip_without_root),
		cmocka_unit_test_setup(test_aborted, skip_without_root),
		cmocka_unit_test_setup(test_exit, skip_without_root),
		cmocka_unit_test_setup(test_forked, skip_without_root),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The tracker against real processes with known patterns of accesses. */
#include <dirent.h>
#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "track/track.h"
#include "track_child.h"
#include "track_watch.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) && !defined(__SANITIZE_ADDRESS__)
#define __SANITIZE_ADDRESS__ 1 /* as gcc has it */
#endif
#endif

/* ---- what is found, and in what order ---- */

#define TENTH_CHUNKS 8u

/* The chunks are slices of the memory, in this order; every tenth page of each is touched. */
static const unsigned tenth_order[TENTH_CHUNKS] = {5, 2, 7, 0, 3, 6, 1, 4};

static void touch_tenth(struct tracker *t, const struct child *c)
{
	uint64_t slice = c->pages / TENTH_CHUNKS;

	for (unsigned i = 0; i < TENTH_CHUNKS; i++) {
		uint64_t first = tenth_order[i] * slice, before = pages_seen(t);

		child_do(c, i % 2 ? CHILD_WRITE : CHILD_READ, first, first + slice, 10);
		wait_for_pages(t, before, (slice + 9) / 10);
	}
}

static void check_order(const uint32_t *when, uint64_t slice)
{
	uint32_t last = 0, early = 0;

	for (unsigned i = 0; i < TENTH_CHUNKS; i++) {
		uint64_t first = tenth_order[i] * slice;
		uint32_t latest = 0;

		for (uint64_t p = first; p < first + slice; p += 10) {
			early += when[p] && when[p] < last;
			latest = when[p] > latest ? when[p] : latest;
		}
		last = latest;
	}
	assert_in_range(early, 0, MOST_STALE);
}

static void test_tenth(void **state)
{
	_cleanup_tracker_ struct tracker *t = open_tracker();
	_cleanup_touch_set_ struct touch_set *set = NULL;
	_cleanup_free_ uint32_t *when = NULL;
	struct child c = {};
	uint64_t slice, want, hits = 0;

	(void)state;
	child_start(&c, 512 * MB_PAGES, 0);
	arm_and_start(t, &c, 1);
	touch_tenth(t, &c);
	assert_int_equal(tracker_poll(t, NULL), TRACK_RUNNING);
	tracker_stop(t, "asked");
	set = result(t, &c, 1, 0);
	when = by_page(set, c.pages);
	slice = c.pages / TENTH_CHUNKS;
	want = TENTH_CHUNKS * ((slice + 9) / 10);
	for (unsigned i = 0; i < TENTH_CHUNKS; i++)
		hits += count(when, i * slice, (i + 1) * slice, 10);
	print_message("touched %lu pages, found %lu of them and %lu others; %u scans in %u ms; "
		      "%.2f ms of processor time, %.2f ms of it frozen\n",
		      want, hits, set->pages - hits, set->info.scans, set->info.window_ms,
		      set->info.overhead_ms, set->info.frozen_ms);
	assert_true(hits >= want - want * 3 / 100);
	assert_true(set->pages - hits <= want * 3 / 100);
	check_order(when, slice);
	assert_string_equal(set->info.backend, "accessed-bits");
	assert_string_equal(set->info.ended, "asked");
	assert_true(set->info.scans >= TENTH_CHUNKS);
	assert_true(set->info.overhead_ms >= set->info.frozen_ms && set->info.frozen_ms > 0);
	child_done(&c);
}

static void test_nothing_before_arming(void **state)
{
	_cleanup_tracker_ struct tracker *t = open_tracker();
	_cleanup_touch_set_ struct touch_set *set = NULL;
	struct child c = {};

	(void)state;
	child_start(&c, 16 * MB_PAGES, 0);
	arm_and_start(t, &c, 1);
	/* a command, so that the child ran and was scanned, that touches one page */
	child_do(&c, CHILD_READ, 100, 101, 1);
	tracker_stop(t, "asked");
	set = result(t, &c, 1, 0);
	assert_found(set, c.pages, 100, 101);
	child_done(&c);
}

static void test_two_processes(void **state)
{
	_cleanup_tracker_ struct tracker *t = open_tracker();
	_cleanup_touch_set_ struct touch_set *set = NULL;
	_cleanup_free_ uint32_t *when = NULL;
	const uint32_t *second;
	struct child c[2] = {};
	uint64_t before;

	(void)state;
	child_start(&c[0], 16 * MB_PAGES, 0);
	child_start(&c[1], 16 * MB_PAGES, 0);
	arm_and_start(t, c, 2);
	before = pages_seen(t);
	child_do(&c[1], CHILD_WRITE, 700, 900, 1);
	wait_for_pages(t, before, 200);
	child_do(&c[0], CHILD_READ, 10, 20, 1);
	tracker_stop(t, "asked");
	set = result(t, c, 2, 0);
	when = by_page(set, 2 * c[0].pages);
	second = when + c[0].pages;
	assert_true(count(second, 700, 900, 1) >= nearly(200));
	assert_in_range(count(when, 10, 20, 1), 9, 10); /* see nearly() */
	assert_int_equal(count(when, 0, 2 * c[0].pages, 1), set->pages);
	assert_in_range(set->pages - count(second, 700, 900, 1), 9, 10 + 2 * MOST_STALE);
	assert_true(second[700] <= when[10]); /* the second process was first */
	child_done(&c[0]);
	child_done(&c[1]);
}

/* More page tables than are read in one go. */
static void test_many_tables(void **state)
{
	_cleanup_tracker_ struct tracker *t = open_tracker();
	_cleanup_touch_set_ struct touch_set *set = NULL;
	_cleanup_free_ uint32_t *when = NULL;
	struct child c = {};
	uint64_t n;

	(void)state;
	child_start(&c, 1500 * UINT64_C(512), CHILD_SPARSE);
	arm_and_start(t, &c, 1);
	child_do(&c, CHILD_READ, 0, c.pages, 1024);
	tracker_stop(t, "asked");
	set = result(t, &c, 1, 0);
	when = by_page(set, c.pages);
	n = count(when, 0, c.pages, 1024);
	assert_true(n >= nearly(750));
	assert_in_range(set->pages, n, n + MOST_STALE);
	child_done(&c);
}

/* A huge page has one accessed bit: all of it counts, and nothing beside it. */
static void test_huge_page(void **state)
{
	_cleanup_tracker_ struct tracker *t = open_tracker();
	_cleanup_touch_set_ struct touch_set *set = NULL;
	struct child c = {};

	(void)state;
	child_start(&c, 16 * MB_PAGES, CHILD_HUGE);
	arm_and_start(t, &c, 1);
	child_do(&c, CHILD_READ, 3 * 512 + 77, 3 * 512 + 78, 1);
	tracker_stop(t, "asked");
	set = result(t, &c, 1, 0);
	child_done(&c);
	assert_int_equal(set->n_runs, 1);
	if (set->pages == 1)
		return; /* no huge page was to be had */
	assert_int_equal(set->runs[0].first, 3 * 512);
	assert_int_equal(set->pages, 512);
}

/* ---- how a window can end ---- */

static void test_exec(void **state)
{
	_cleanup_tracker_ struct tracker *t = open_tracker();
	_cleanup_touch_set_ struct touch_set *set = NULL;
	struct child c = {};
	uint64_t before;

	(void)state;
	child_start(&c, 16 * MB_PAGES, 0);
	arm_and_start(t, &c, 1);
	before = pages_seen(t);
	child_do(&c, CHILD_READ, 40, 240, 1);
	wait_for_pages(t, before, 200);
	child_do(&c, CHILD_EXEC, 0, 0, 0);
	wait_for_state(t, TRACK_ENDED);
	tracker_stop(t, "program-ended");
	set = result(t, &c, 1, 0);
	assert_found(set, c.pages, 40, 240);
	child_done(&c);
}

static void test_exit(void **state)
{
	_cleanup_tracker_ struct tracker *t = open_tracker();
	_cleanup_touch_set_ struct touch_set *set = NULL;
	struct child c[2] = {};
	uint64_t before;

	(void)state;
	child_start(&c[0], 16 * MB_PAGES, 0);
	child_start(&c[1], 16 * MB_PAGES, 0);
	arm_and_start(t, c, 2);
	before = pages_seen(t);
	child_do(&c[0], CHILD_READ, 40, 240, 1);
	wait_for_pages(t, before, 200);
	child_do(&c[0], CHILD_EXIT, 0, 0, 0);
	assert_int_equal(waitid(P_PID, c[0].pid, &(siginfo_t){}, WEXITED | WNOWAIT), 0);
	/* one is left, and is still tracked */
	before = pages_seen(t);
	child_do(&c[1], CHILD_READ, 0, 500, 1);
	wait_for_pages(t, before, 500);
	assert_int_equal(tracker_poll(t, NULL), TRACK_RUNNING);
	child_do(&c[1], CHILD_EXIT, 0, 0, 0);
	wait_for_state(t, TRACK_ENDED);
	tracker_stop(t, "program-ended");
	set = result(t, c, 2, 0);
	assert_in_range(set->pages, nearly(700), 700 + MOST_STALE);
	child_done(&c[0]);
	child_done(&c[1]);
}

static void test_gone_before_arming(void **state)
{
	_cleanup_tracker_ struct tracker *t = open_tracker();
	_cleanup_touch_set_ struct touch_set *set = NULL;
	struct frem_error err = {};
	struct child c = {};
	pid_t pid;

	(void)state;
	child_start(&c, MB_PAGES, 0);
	pid = c.pid;
	child_done(&c);
	assert_ok(tracker_arm(t, &pid, 1, &err), &err);
	assert_ok(tracker_start(t, &err), &err);
	wait_for_state(t, TRACK_ENDED);
	tracker_stop(t, "program-ended");
	set = result(t, &c, 1, 0);
	assert_int_equal(set->pages, 0);
}

static void test_saturated(void **state)
{
	_cleanup_tracker_ struct tracker *t = NULL;
	struct child c = {};

	(void)state;
#ifdef __SANITIZE_ADDRESS__
	skip(); /* most of what is resident is the sanitizer's */
#endif
	/* large, and before the tracker is loaded: it has little else */
	child_start(&c, 512 * MB_PAGES, 0);
	t = open_tracker();
	arm_and_start(t, &c, 1);
	wait_for_pages(t, 0, 1); /* the first scan found what is resident */
	child_do(&c, CHILD_READ, 0, c.pages / 2, 1);
	wait_for_pages(t, 0, c.pages / 2);
	assert_int_equal(tracker_poll(t, NULL), TRACK_RUNNING);
	child_do(&c, CHILD_READ, c.pages / 2, c.pages, 1);
	wait_for_state(t, TRACK_SATURATED);
	child_done(&c);
}

/* ---- pid namespaces ---- */

#define INSIDE "inside-pid-namespace"

/* Runs this program once more, as process 1 of a pid namespace with a /proc to match. */
static void test_inside_pid_namespace(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	fflush(stdout);
	pid = (pid_t)syscall(SYS_clone, SIGCHLD | CLONE_NEWPID | CLONE_NEWNS, NULL, NULL, NULL,
			     NULL);
	assert_true(pid >= 0);
	if (!pid) {
		if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
		    mount("proc", "/proc", "proc", 0, NULL))
			_exit(3);
		execl("/proc/self/exe", INSIDE, NULL);
		_exit(4);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* The tracker is outside; the image names the task by its pid inside. */
static void test_into_pid_namespace(void **state)
{
	_cleanup_tracker_ struct tracker *t = open_tracker();
	_cleanup_touch_set_ struct touch_set *set = NULL;
	struct child c = {};

	(void)state;
	child_start(&c, 16 * MB_PAGES, CHILD_OWN_PIDS);
	arm_and_start(t, &c, 1);
	child_do(&c, CHILD_READ, 5, 9, 1);
	tracker_stop(t, "asked");
	set = result(t, &c, 1, 1);
	assert_found(set, c.pages, 5, 9);
	child_done(&c);
}

/* ---- what the machine can do ---- */

static void test_probe(void **state)
{
	struct track_backend_info info[4];
	size_t n = track_probe(info, 4);

	(void)state;
	assert_true(n >= 1);
	assert_string_equal(info[0].name, "accessed-bits");
	if (!info[0].works)
		fail_msg("%s", info[0].why);
	assert_int_equal(track_probe(info, 0), 0);
}

/* Runs a function in a process of its own, which may give up what it likes. */
static void apart(bool (*is_right)(void))
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (!pid)
		_exit(is_right() ? 0 : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static bool drop_capabilities(uint64_t which)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct sets[2];

	if (syscall(SYS_capget, &head, sets))
		return false;
	for (unsigned i = 0; i < 2; i++) {
		uint32_t keep = ~(uint32_t)(which >> 32 * i);

		sets[i].effective &= keep;
		sets[i].permitted &= keep;
		sets[i].inheritable &= keep;
	}
	return !syscall(SYS_capset, &head, sets);
}

/* It does not work, and one line says why and what to do. */
static bool probe_says(const char *what)
{
	struct track_backend_info info[1];

	track_probe(info, 1);
	return !info[0].works && strstr(info[0].why, what) && strstr(info[0].why, "; ") &&
	       !strchr(info[0].why, '\n');
}

static bool nothing_allowed(void)
{
	return drop_capabilities(~UINT64_C(0)) && probe_says("root");
}

static bool no_bpf_allowed(void)
{
	uint64_t bpf =
		UINT64_C(1) << CAP_BPF | UINT64_C(1) << CAP_PERFMON | UINT64_C(1) << CAP_SYS_ADMIN;

	return drop_capabilities(bpf) && probe_says("CAP_BPF");
}

static bool no_types_described(void)
{
	return !unshare(CLONE_NEWNS) && !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
	       !mount("none", "/sys/kernel/btf", "tmpfs", 0, NULL) && probe_says("BTF");
}

static void test_unable(void **state)
{
	(void)state;
	apart(nothing_allowed);
	if (geteuid() != 0)
		return;
	apart(no_bpf_allowed);
	apart(no_types_described);
}

/* Other programs' memory may be looked at, but not be made cold: it is cleared all the same. */
static struct child out_of_reach;

static bool found_all_the_same(void)
{
	_cleanup_touch_set_ struct touch_set *set = NULL;
	_cleanup_free_ uint32_t *when = NULL;
	struct tracker *t;
	uint64_t n;

	if (!drop_capabilities(UINT64_C(1) << CAP_SYS_PTRACE))
		return false;
	t = open_tracker();
	arm_and_start(t, &out_of_reach, 1);
	child_do(&out_of_reach, CHILD_READ, 500, 900, 1);
	tracker_stop(t, "asked");
	set = result(t, &out_of_reach, 1, 0);
	when = by_page(set, out_of_reach.pages);
	n = count(when, 500, 900, 1);
	print_message("found %lu of 400 pages, and %lu others\n", n, set->pages - n);
	return n >= nearly(400) && set->pages <= n + MOST_STALE;
}

static void test_out_of_reach(void **state)
{
	(void)state;
	child_start(&out_of_reach, 16 * MB_PAGES, 0);
	apart(found_all_the_same);
	child_done(&out_of_reach);
}

static size_t open_descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	size_t n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void test_nothing_left_behind(void **state)
{
	size_t before = open_descriptors();
	struct child c = {};

	(void)state;
	child_start(&c, MB_PAGES, 0);
	for (unsigned i = 0; i < 3; i++) {
		_cleanup_tracker_ struct tracker *t = open_tracker();

		if (i > 0)
			arm_and_start(t, &c, 1);
		if (i > 1)
			tracker_stop(t, "asked");
		child_continue(&c);
		child_stop(&c);
	}
	child_done(&c);
	assert_int_equal(open_descriptors(), before);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_probe, skip_without_root),
		cmocka_unit_test_setup(test_tenth, skip_without_root),
		cmocka_unit_test_setup(test_nothing_before_arming, skip_without_root),
		cmocka_unit_test_setup(test_two_processes, skip_without_root),
		cmocka_unit_test_setup(test_many_tables, skip_without_root),
		cmocka_unit_test_setup(test_huge_page, skip_without_root),
		cmocka_unit_test_setup(test_exec, skip_without_root),
		cmocka_unit_test_setup(test_exit, skip_without_root),
		cmocka_unit_test_setup(test_gone_before_arming, skip_without_root),
		cmocka_unit_test_setup(test_saturated, skip_without_root),
		cmocka_unit_test_setup(test_inside_pid_namespace, skip_without_root),
		cmocka_unit_test_setup(test_into_pid_namespace, skip_without_root),
		cmocka_unit_test(test_unable),
		cmocka_unit_test_setup(test_out_of_reach, skip_without_root),
		cmocka_unit_test_setup(test_nothing_left_behind, skip_without_root),
	};

	const struct CMUnitTest inside[] = {
		cmocka_unit_test(test_two_processes),
		cmocka_unit_test(test_exec),
		cmocka_unit_test(test_exit),
	};

	child_after_exec(argc, argv);
	if (argc == 1 && !strcmp(argv[0], INSIDE))
		return cmocka_run_group_tests(inside, NULL, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

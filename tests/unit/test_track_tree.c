/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Process trees that change within the window: what children touch, and what ends, counts. */
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "track_scene.h"

static int skip_without_root(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	return 0;
}

/* In the program. */
static void reap(pid_t pid)
{
	int status;

	MUST(waitpid(pid, &status, 0) == pid);
	MUST(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* ---- ends ---- */

static void read_and_exit(const struct scene *s)
{
	read_pages(s, 3, 7);
	MUST(write(s->c.from, "", 1) == 1);
	_exit(0);
}

static void test_exit(void **state)
{
	struct scene s;

	(void)state;
	scene_start(&s, NULL);
	scene_last(&s, read_and_exit);
	scene_end(&s);
	scene_expect(&s, 3, 7, -1);
	scene_free(&s);
}

static void read_and_be_killed(const struct scene *s)
{
	write_pages(s, 3, 7);
	MUST(write(s->c.from, "", 1) == 1);
	raise(SIGKILL);
}

static void test_kill(void **state)
{
	struct scene s;

	(void)state;
	scene_start(&s, NULL);
	scene_last(&s, read_and_be_killed);
	scene_end(&s);
	scene_expect(&s, 3, 7, -1);
	scene_free(&s);
}

static void read_and_exec(const struct scene *s)
{
	read_pages(s, 200, 220);
	child_exec(&s->c);
}

/* The new program writes to the same addresses. */
static void test_exec(void **state)
{
	struct scene s;

	(void)state;
	scene_start(&s, NULL);
	scene_last(&s, read_and_exec);
	scene_end(&s);
	scene_expect(&s, 200, 220, -1);
	scene_free(&s);
}

/* ---- children ---- */

static void fork_some(const struct scene *s)
{
	pid_t child;

	read_pages(s, 0, 2);
	/* what the parent touched before is none of the child's touches; what it unmapped, it has
	 * not either */
	unmap_pages(s, 100, 110);
	child = fork();
	MUST(child >= 0);
	if (!child) {
		pid_t grandchild;

		read_pages(s, 10, 12);
		write_pages(s, 20, 22);
		unmap_pages(s, 30, 40);
		map_pages(s, 30, 40);
		write_pages(s, 30, 40);
		map_pages(s, 100, 110);
		write_pages(s, 100, 110);
		grandchild = fork();
		MUST(grandchild >= 0);
		if (!grandchild) {
			write_pages(s, 50, 52);
			write_pages(s, 35, 36); /* its parent's own */
			_exit(0);
		}
		reap(grandchild);
		_exit(0);
	}
	reap(child);
	/* the child's changes are not the parent's */
	read_pages(s, 31, 33);
}

static void test_fork(void **state)
{
	struct scene s;

	(void)state;
	scene_start(&s, NULL);
	scene_do(&s, fork_some);
	assert_int_equal(tracker_poll(s.tracker, NULL), TRACK_RUNNING);
	scene_end(&s);
	scene_expect(&s, 0, 2, 10, 12, 20, 22, 31, 33, 50, 52, -1);
	scene_free(&s);
}

/* A child that lives on, and touches pages in scans after its birth. */
static void fork_one(const struct scene *s)
{
	pid_t child = fork();

	MUST(child >= 0);
	if (child) {
		s->numbers[0] = (uint64_t)child;
		return;
	}
	alarm(20);
	read_pages(s, 60, 64);
	__atomic_store_n(&s->numbers[1], 1, __ATOMIC_SEQ_CST);
	while (!__atomic_load_n(&s->numbers[2], __ATOMIC_SEQ_CST))
		sched_yield();
	read_pages(s, 70, 74);
	__atomic_store_n(&s->numbers[1], 2, __ATOMIC_SEQ_CST);
	for (;;)
		pause();
}

static void exit_parent(const struct scene *s)
{
	MUST(write(s->c.from, "", 1) == 1);
	_exit(0);
}

static void wait_for_number(const struct scene *s, unsigned i, uint64_t value)
{
	uint64_t since = clock_ns();

	while (__atomic_load_n(&s->numbers[i], __ATOMIC_SEQ_CST) != value)
		scene_breathe(since);
}

/* Waits for a scan that sees this many pages. */
static void wait_for_pages(const struct scene *s, uint64_t n)
{
	uint64_t pages = 0, since = clock_ns();

	while (tracker_poll(s->tracker, &pages) == TRACK_RUNNING && pages < n)
		scene_breathe(since);
	assert_true(pages >= n);
}

/* Of the program only the child is left: that is not the end. */
static void test_child_survives(void **state)
{
	struct scene s;

	(void)state;
	scene_start(&s, NULL);
	scene_do(&s, fork_one);
	wait_for_number(&s, 1, 1);
	wait_for_pages(&s, 4);
	scene_do(&s, exit_parent);
	assert_int_equal(waitid(P_PID, (id_t)s.c.pid, &(siginfo_t){}, WEXITED | WNOWAIT), 0);
	__atomic_store_n(&s.numbers[2], 1, __ATOMIC_SEQ_CST);
	wait_for_number(&s, 1, 2);
	assert_int_equal(tracker_poll(s.tracker, NULL), TRACK_RUNNING);
	assert_int_equal(kill((pid_t)s.numbers[0], SIGKILL), 0);
	scene_wait_ended(&s);
	scene_end(&s);
	scene_expect(&s, 60, 64, 70, 74, -1);
	scene_free(&s);
}

static void vfork_and_exec(const struct scene *s)
{
	volatile const struct scene *v = s;
	pid_t child = vfork(); // NOLINT(clang-analyzer-security.insecureAPI.vfork)

	if (!child) {
		(void)v->c.memory[11 * PAGE];
		execl("/proc/self/exe", "exit-at-once", NULL);
		_exit(1);
	}
	MUST(child > 0);
	reap(child);
	read_pages(s, 12, 13);
}

static void test_vfork(void **state)
{
	struct scene s;

	(void)state;
	scene_start(&s, NULL);
	scene_do(&s, vfork_and_exec);
	assert_int_equal(tracker_poll(s.tracker, NULL), TRACK_RUNNING);
	scene_end(&s);
	scene_expect(&s, 11, 13, -1);
	scene_free(&s);
}

#define MANY 64u

/* All alive at the same time. */
static void fork_many(const struct scene *s)
{
	pid_t child[MANY];

	for (unsigned i = 0; i < MANY; i++) {
		child[i] = fork();
		MUST(child[i] >= 0);
		if (!child[i]) {
			read_pages(s, 2 * i, 2 * i + 1);
			__atomic_fetch_add(&s->numbers[0], 1, __ATOMIC_SEQ_CST);
			while (__atomic_load_n(&s->numbers[0], __ATOMIC_SEQ_CST) < MANY)
				sched_yield();
			write_pages(s, 2 * i, 2 * i + 1);
			_exit(0);
		}
	}
	for (unsigned i = 0; i < MANY; i++)
		reap(child[i]);
}

static void test_many_children(void **state)
{
	struct scene s;
	bool found[SCENE_PAGES];

	(void)state;
	scene_start(&s, NULL);
	scene_do(&s, fork_many);
	assert_int_equal(tracker_poll(s.tracker, NULL), TRACK_RUNNING);
	scene_end(&s);
	scene_found(&s, found);
	for (unsigned i = 0; i < SCENE_PAGES; i++)
		assert_int_equal(found[i], i < 2 * MANY && i % 2 == 0);
	scene_free(&s);
}

/* Children that each live for a moment only, one after the other. */
static void fork_briefly(const struct scene *s)
{
	for (unsigned i = 0; i < SCENE_PAGES; i++) {
		pid_t child = fork();

		MUST(child >= 0);
		if (!child) {
			if (i % 3)
				read_pages(s, i, i + 1);
			_exit(0);
		}
		reap(child);
	}
}

static void test_brief_children(void **state)
{
	struct scene s;
	bool found[SCENE_PAGES];

	(void)state;
	scene_start(&s, NULL);
	scene_do(&s, fork_briefly);
	scene_end(&s);
	scene_found(&s, found);
	for (unsigned i = 0; i < SCENE_PAGES; i++)
		assert_int_equal(found[i], i % 3 != 0);
	scene_free(&s);
}

/* The tree that is checkpointed has many processes itself. */
static void test_many_armed(void **state)
{
	struct child c[MANY] = {};
	struct image_extent extents[MANY];
	struct image_task tasks[MANY];
	struct image_map map = {.tasks = tasks, .n_tasks = MANY};
	struct frem_error err = {};
	struct tracker *t = NULL;
	struct touch_set *set = NULL;
	pid_t pids[MANY];

	(void)state;
	assert_int_equal(tracker_new(&t, &err), 0);
	for (unsigned i = 0; i < MANY; i++) {
		child_start(&c[i], 16, 0);
		pids[i] = c[i].pid;
		extents[i] = (struct image_extent){
			.address = (uintptr_t)c[i].memory, .pages = 16, .first = 16 * i};
		tasks[i] = (struct image_task){.pid = c[i].pid,
					       .alive = 1,
					       .first = 16 * i,
					       .lazy_pages = 16,
					       .extents = &extents[i],
					       .n_extents = 1};
	}
	map.lazy_pages = UINT64_C(16) * MANY;
	assert_int_equal(tracker_arm(t, pids, MANY, &err), 0);
	for (unsigned i = 0; i < MANY; i++)
		child_continue(&c[i]);
	assert_int_equal(tracker_start(t, &err), 0);
	for (unsigned i = 0; i < MANY; i++)
		child_do(&c[i], CHILD_WRITE, i % 16, i % 16 + 1, 1);
	for (unsigned i = 0; i < MANY; i += 2)
		child_do(&c[i], CHILD_EXIT, 0, 0, 0);
	tracker_stop(t, "asked");
	assert_int_equal(tracker_result(t, &map, &set, &err), 0);
	for (unsigned i = 0; i < MANY; i++)
		child_done(&c[i]);
	/* what was written to a moment before the arming may count, too: see settle() */
	for (unsigned i = 0, found = 0; i < MANY; i++, found = 0) {
		for (size_t k = 0; k < set->n_runs; k++)
			found += set->runs[k].first <= 16 * i + i % 16 &&
				 set->runs[k].first + set->runs[k].pages > 16 * i + i % 16;
		assert_int_equal(found, 1);
	}
	touch_set_free(set);
	tracker_free(t);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_exit, skip_without_root),
		cmocka_unit_test_setup(test_kill, skip_without_root),
		cmocka_unit_test_setup(test_exec, skip_without_root),
		cmocka_unit_test_setup(test_fork, skip_without_root),
		cmocka_unit_test_setup(test_child_survives, skip_without_root),
		cmocka_unit_test_setup(test_vfork, skip_without_root),
		cmocka_unit_test_setup(test_many_children, skip_without_root),
		cmocka_unit_test_setup(test_brief_children, skip_without_root),
		cmocka_unit_test_setup(test_many_armed, skip_without_root),
	};

	if (!strcmp(argv[0], "exit-at-once"))
		return 0;
	child_after_exec(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

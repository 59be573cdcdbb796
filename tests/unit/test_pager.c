/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The pager against real userfaultfds: what a restored program reads is what it had. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "pager_fixture.h"

#define PAGES 1000u

static bool is_resident(const void *at)
{
	unsigned char in = 0;

	mincore((void *)((uintptr_t)at & ~(uintptr_t)4095), PAGE_BYTES, &in);
	return in & 1;
}

/* ---- all of the memory ---- */

static int read_backwards(struct fixture *f)
{
	unsigned task = f->task[0] ? 1 : 0; /* the second one is forked when the first is known */

	for (uint64_t i = f->pages; i-- > 0;)
		if (!right(f, task, i))
			return 1;
	for (uint64_t i = 0; i < HOLE; i++)
		if (!is_zero(page_at(task, 0) - (i + 1) * PAGE_BYTES) ||
		    !is_zero(page_at(task, f->pages + i)))
			return 2;
	return 0;
}

static void test_all_memory_is_right(void **state)
{
	struct fixture *f = *state;
	const struct pager_stats *s;

	make_checkpoint(f, 2, PAGES, 150);
	restore_all(f, PAGER_NOW, read_backwards);
	expect_all_right(f);
	assert_int_equal(task_status(f, 1), 0);
	s = pager_stats(f->pager);
	assert_int_equal(s->pages_total, 2 * PAGES);
	assert_int_equal(s->pages_in, 2 * PAGES);
	assert_int_equal(s->pages_touch, 150);
	assert_int_equal(s->frames_retried, 0);
	assert_true(s->drained_ms >= s->touch_set_ms && s->touch_set_ms > 0);
	assert_true(s->bytes_fetched >= s->bytes_touch && s->bytes_touch > 100 * PAGE_BYTES);
}

static void test_without_touch_set(void **state)
{
	struct fixture *f = *state;

	make_checkpoint(f, 1, PAGES, 0);
	restore_all(f, PAGER_TOUCH_SET, read_backwards);
	expect_all_right(f);
}

static void test_few_pages(void **state)
{
	struct fixture *f = *state;

	make_checkpoint(f, 2, 2, 0);
	restore_all(f, PAGER_NOW, read_backwards);
	expect_all_right(f);
	assert_int_equal(task_status(f, 1), 0);
}

/* ---- the touch set ---- */

static int read_touched(struct fixture *f)
{
	for (uint64_t i = 0; i < 200; i++)
		if (!is_resident(page_at(0, touch_page(f, i))) || !right(f, 0, touch_page(f, i)))
			return 1;
	f->control->step = 1;
	return all_right(f, 0, 0, f->pages) ? 0 : 2;
}

static void test_touch_set_is_in_before_the_resume(void **state)
{
	struct fixture *f = *state;
	struct pager_event e;

	make_checkpoint(f, 1, PAGES, 200);
	f->control->pages_open = 0;
	f->control->touch_open = 300000;
	start_pager(f, PAGER_TOUCH_SET);
	expect_event(f, PAGER_EVENT_READY, NULL);
	start_task(f, 0, read_touched);
	say_restored(f);
	assert_false(event_within(f, 200, &e)); /* a part of the touch set is not enough */
	f->control->touch_open = -1;
	expect_event(f, PAGER_EVENT_TOUCHED, NULL);
	assert_int_equal(pager_stats(f->pager)->pages_in, 200);
	let_run(f);
	wait_step(f, 1);
	f->control->pages_open = -1;
	expect_event(f, PAGER_EVENT_DRAINED, NULL);
	assert_int_equal(task_status(f, 0), 0);
	assert_true(pager_stats(f->pager)->bytes_before_resume >= 180 * PAGE_BYTES);
}

/* What only completes frames comes with the touch set; nobody waits for it, or counts it. */
static void test_untouched_pages_of_the_set(void **state)
{
	struct fixture *f = *state;

	f->untouched = 100;
	make_checkpoint(f, 1, PAGES, 200);
	f->control->pages_open = 0;
	start_pager(f, PAGER_TOUCH_SET);
	expect_event(f, PAGER_EVENT_READY, NULL);
	start_task(f, 0, read_touched);
	say_restored(f);
	expect_event(f, PAGER_EVENT_TOUCHED, NULL);
	assert_int_equal(pager_stats(f->pager)->pages_touch, 100);
	assert_in_range(pager_stats(f->pager)->pages_in, 100, 200);
	for (unsigned i = 0; i < WAIT_MS && pager_stats(f->pager)->pages_in < 200; i++)
		usleep(1000);
	let_run(f);
	wait_step(f, 1);
	f->control->pages_open = -1;
	expect_event(f, PAGER_EVENT_DRAINED, NULL);
	assert_int_equal(task_status(f, 0), 0);
}

/* ---- faults ---- */

static int read_one_then_all(struct fixture *f)
{
	if (!right(f, 0, touch_page(f, 700)))
		return 1;
	f->control->step = 1;
	return all_right(f, 0, 0, f->pages) ? 0 : 2;
}

/* The touch stream stands still, in the middle: a fault does not wait for it for ever. */
static void test_fault_overtakes_a_stalled_stream(void **state)
{
	struct fixture *f = *state;

	make_checkpoint(f, 1, PAGES, 800);
	f->control->touch_open = 100000;
	restore_all(f, PAGER_NOW, read_one_then_all);
	wait_step(f, 1);
	assert_int_equal(f->control->step, 1);
	assert_true(pager_stats(f->pager)->demand_faults >= 1);
	f->control->touch_open = -1;
	expect_all_right(f);
}

static int read_early(struct fixture *f)
{
	if (!right(f, 0, 500))
		return 1;
	if (is_resident(page_at(0, 499)) || is_resident(page_at(0, 501)))
		return 2;
	f->control->step = 1;
	wait_step(f, 2);
	return all_right(f, 0, 0, f->pages) ? 0 : 3;
}

/* Before CRIU's word only what a task waits for is put in place. */
static void test_fault_during_the_restore(void **state)
{
	struct fixture *f = *state;

	make_checkpoint(f, 1, PAGES, 300);
	start_pager(f, PAGER_NOW);
	expect_event(f, PAGER_EVENT_READY, NULL);
	f->control->go = 1;
	start_task(f, 0, read_early);
	wait_step(f, 1);
	assert_int_equal(f->control->step, 1);
	/* it is counted a moment after the task has it */
	for (unsigned i = 0; i < WAIT_MS && pager_stats(f->pager)->pages_in == 0; i++)
		usleep(1000);
	assert_int_equal(pager_stats(f->pager)->pages_in, 1);
	say_restored(f);
	expect_event(f, PAGER_EVENT_TOUCHED, NULL);
	expect_event(f, PAGER_EVENT_DRAINED, NULL);
	f->control->step = 2;
	assert_int_equal(task_status(f, 0), 0);
}

static struct fixture *shared_fixture;

static void *read_some(void *arg)
{
	(void)arg;
	for (uint64_t i = 0; i < PAGES; i += 50)
		if (!right(shared_fixture, 0, i))
			return shared_fixture;
	return NULL;
}

static int read_in_threads(struct fixture *f)
{
	pthread_t t[8];
	void *wrong;

	shared_fixture = f;
	for (size_t i = 0; i < 8; i++)
		if (pthread_create(&t[i], NULL, read_some, NULL))
			return 9;
	for (size_t i = 0; i < 8; i++) {
		pthread_join(t[i], &wrong);
		if (wrong)
			return 1;
	}
	return 0;
}

static void test_threads_on_one_page(void **state)
{
	struct fixture *f = *state;

	make_checkpoint(f, 1, PAGES, 0);
	f->control->pages_open = 0;
	restore_all(f, PAGER_NOW, read_in_threads);
	usleep(20000); /* let them all fault: more of the same page is a harder test, fewer pass too
			*/
	f->control->pages_open = -1;
	expect_all_right(f);
}

static int write_from_missing_pages(struct fixture *f)
{
	uint8_t got[4 * PAGE_BYTES];
	int ends[2];

	if (pipe(ends) < 0)
		return 9;
	for (uint64_t i = 0; i + 4 <= f->pages; i += 4) {
		if (write(ends[1], page_at(0, i), sizeof(got)) != sizeof(got) ||
		    read(ends[0], got, sizeof(got)) != sizeof(got))
			return 1;
		for (uint64_t k = 0; k < 4; k++)
			if (!right_at(f, got + k * PAGE_BYTES, 0, i + k))
				return 2;
	}
	return 0;
}

static void test_faults_in_system_calls(void **state)
{
	struct fixture *f = *state;

	make_checkpoint(f, 1, PAGES, 0);
	restore_all(f, PAGER_NOW, write_from_missing_pages);
	expect_all_right(f);
}

/* ---- ends ---- */

static int end_at_once(struct fixture *f)
{
	return right(f, 0, 3) ? 5 : 1;
}

static void test_task_that_ends_early(void **state)
{
	struct fixture *f = *state;

	make_checkpoint(f, 1, PAGES, 0);
	f->control->pages_open = 3000000;
	restore_all(f, PAGER_NOW, end_at_once);
	assert_int_equal(task_status(f, 0), 5);
	f->control->pages_open = 0;
	expect_event(f, PAGER_EVENT_TOUCHED, NULL);
	expect_event(f, PAGER_EVENT_DRAINED, NULL);
}

static int exec_true(struct fixture *f)
{
	if (!right(f, 0, 3))
		return 1;
	execl("/bin/sh", "sh", "-c", "exit 6", NULL);
	return 9;
}

static void test_exec(void **state)
{
	struct fixture *f = *state;

	make_checkpoint(f, 1, PAGES, 0);
	f->control->pages_open = 3000000;
	restore_all(f, PAGER_NOW, exec_true);
	assert_int_equal(task_status(f, 0), 6);
	expect_event(f, PAGER_EVENT_TOUCHED, NULL);
	expect_event(f, PAGER_EVENT_DRAINED, NULL);
}

static bool ends_within(pid_t pid, int ms)
{
	for (int i = 0; i < ms; i++) {
		if (waitpid(pid, NULL, WNOHANG) == pid)
			return true;
		usleep(1000);
	}
	return false;
}

static void test_detach(void **state)
{
	struct fixture *f = *state;
	pid_t keeper;

	make_checkpoint(f, 1, PAGES, 0);
	f->control->pages_open = 0;
	restore_all(f, PAGER_NOW, read_backwards);
	keeper = keeper_pid();
	assert_true(keeper > 0 && pager_pid() > 0);
	pager_detach(f->pager);
	assert_false(ends_within(keeper, 100));
	f->control->pages_open = -1;
	assert_int_equal(task_status(f, 0), 0);
	assert_true(ends_within(keeper, WAIT_MS));
	assert_int_equal(pager_stats(f->pager)->pages_in, PAGES);
}

/* ---- full ---- */

static void assert_file_is_right(struct fixture *f, unsigned task)
{
	uint8_t want[PAGE_BYTES], got[PAGE_BYTES];
	char name[32];
	int fd;

	snprintf(name, sizeof(name), "pages-%u.img", task + 1);
	fd = openat(f->images, name, O_RDONLY);
	assert_true(fd >= 0);
	for (uint64_t i = 0; i < f->pages; i++) {
		page_content(task * f->pages + i, want);
		assert_int_equal(file_pread_all(fd, got, PAGE_BYTES, (i + 1) * PAGE_BYTES), 0);
		assert_memory_equal(got, want, PAGE_BYTES);
	}
	assert_int_equal(lseek(fd, 0, SEEK_END), (f->pages + 1) * PAGE_BYTES);
	close(fd);
}

static void test_full_writes_the_image(void **state)
{
	struct fixture *f = *state;

	make_checkpoint(f, 2, PAGES, 100);
	start_pager(f, PAGER_FULL);
	expect_event(f, PAGER_EVENT_READY, NULL);
	assert_file_is_right(f, 0);
	assert_file_is_right(f, 1);
	expect_event(f, PAGER_EVENT_DRAINED, NULL);
	assert_int_equal(pager_stats(f->pager)->bytes_touch, 0);
	assert_int_equal(pager_stats(f->pager)->pages_in, 2 * PAGES);
	assert_true(faccessat(f->work, "lazy-pages.socket", F_OK, 0) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PAGER_TEST(test_all_memory_is_right),
		PAGER_TEST(test_without_touch_set),
		PAGER_TEST(test_few_pages),
		PAGER_TEST(test_touch_set_is_in_before_the_resume),
		PAGER_TEST(test_untouched_pages_of_the_set),
		PAGER_TEST(test_fault_overtakes_a_stalled_stream),
		PAGER_TEST(test_fault_during_the_restore),
		PAGER_TEST(test_threads_on_one_page),
		PAGER_TEST(test_faults_in_system_calls),
		PAGER_TEST(test_task_that_ends_early),
		PAGER_TEST(test_exec),
		PAGER_TEST(test_detach),
		PAGER_TEST(test_full_writes_the_image),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The pager in trouble: damaged objects, a store that goes away, processes that are killed. Wrong
 * bytes are never seen: what cannot be proved right ends the job, with the reason.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "pager_fixture.h"

#define PAGES 1000u
#define KILLED (128 + SIGKILL)

static void expect_failure(struct fixture *f, enum frem_code code, const char *text)
{
	struct pager_event e;

	do {
		if (!event_within(f, 90000, &e))
			fail_msg("no failure came");
	} while (e.type == PAGER_EVENT_NOTICE || e.type == PAGER_EVENT_TOUCHED);
	if (e.type != PAGER_EVENT_FAILED)
		fail_msg("event %d instead of a failure", e.type);
	if (e.err.code != code || !strstr(e.err.text, text))
		fail_msg("code %d: %s", e.err.code, e.err.text);
}

/* ---- what cannot be loaded ---- */

static void test_no_such_checkpoint(void **state)
{
	struct fixture *f = *state;

	make_checkpoint(f, 1, 10, 0);
	f->id.seq = 7;
	start_pager(f, PAGER_NOW);
	expect_failure(f, FREM_NOT_FOUND, "no checkpoint 'job@7'");
}

static void test_store_that_is_not_there(void **state)
{
	struct fixture *f = *state;
	uint64_t start = clock_ns();

	make_checkpoint(f, 1, 10, 0);
	f->control->dead = 1;
	start_pager(f, PAGER_NOW);
	expect_failure(f, FREM_STORE, "job/1/");
	assert_true(clock_ms_since(start) < 10000);
}

static void flip(struct fixture *f, const char *object, long at)
{
	char path[160];
	uint8_t byte;
	int fd = open(object_path(f, object, path), O_RDWR | O_CLOEXEC);
	struct stat st;

	assert_true(fd >= 0);
	fstat(fd, &st);
	if (at < 0)
		at += st.st_size;
	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= 0x10;
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	close(fd);
}

static void cut(struct fixture *f, const char *object, long by)
{
	char path[160];
	struct stat st;

	assert_int_equal(stat(object_path(f, object, path), &st), 0);
	assert_int_equal(truncate(path, st.st_size - by), 0);
}

static void test_damaged_manifest(void **state)
{
	struct fixture *f = *state;

	make_checkpoint(f, 1, 10, 0);
	flip(f, OBJECT_MANIFEST, 120);
	start_pager(f, PAGER_NOW);
	expect_failure(f, FREM_DAMAGED, "manifest");
}

static void test_damaged_head(void **state)
{
	struct fixture *f = *state;

	make_checkpoint(f, 1, 10, 0);
	flip(f, OBJECT_HEAD, -20);
	start_pager(f, PAGER_NOW);
	expect_failure(f, FREM_DAMAGED, "offset");
}

static void test_truncated_head(void **state)
{
	struct fixture *f = *state;

	make_checkpoint(f, 1, 10, 0);
	cut(f, OBJECT_HEAD, 9);
	start_pager(f, PAGER_FULL);
	expect_failure(f, FREM_DAMAGED, "head: ends at offset");
}

static void test_missing_head(void **state)
{
	struct fixture *f = *state;
	char path[160];

	make_checkpoint(f, 1, 10, 0);
	assert_int_equal(unlink(object_path(f, OBJECT_HEAD, path)), 0);
	start_pager(f, PAGER_NOW);
	expect_failure(f, FREM_DAMAGED, "head");
}

/* ---- a touch set that is no good ---- */

static int read_all(struct fixture *f)
{
	return all_right(f, 0, 0, f->pages) ? 0 : 1;
}

static void goes_on_without_touch(struct fixture *f, const char *why)
{
	struct pager_event e;

	start_pager(f, PAGER_TOUCH_SET);
	for (int seen = 0; seen < 2; seen++) {
		assert_true(event_within(f, WAIT_MS, &e));
		if (e.type == PAGER_EVENT_NOTICE && !strstr(e.notice, why))
			fail_msg("%s", e.notice);
		assert_true(e.type == PAGER_EVENT_NOTICE || e.type == PAGER_EVENT_READY);
	}
	start_task(f, 0, read_all);
	finish_restore(f);
	expect_all_right(f);
}

static void test_damaged_touch(void **state)
{
	struct fixture *f = *state;

	make_checkpoint(f, 1, PAGES, 100);
	flip(f, OBJECT_TOUCH, 200);
	goes_on_without_touch(f, "touch");
}

/* Written again for another dump under the same name: the manifest differs. */
static void test_foreign_touch(void **state)
{
	struct fixture *f = *state;
	char touch[160], kept[200];

	make_checkpoint(f, 1, 200, 50);
	object_path(f, OBJECT_TOUCH, touch);
	snprintf(kept, sizeof(kept), "%s/foreign", f->dir);
	assert_int_equal(rename(touch, kept), 0);
	f->id.seq = 2;
	snprintf(touch, sizeof(touch), "%s/dump", f->dir);
	snprintf(touch, sizeof(touch), "rm -rf %s/dump", f->dir);
	assert_int_equal(system(touch), 0);
	make_checkpoint(f, 1, 200, 0);
	assert_int_equal(rename(kept, object_path(f, OBJECT_TOUCH, touch)), 0);
	goes_on_without_touch(f, "another checkpoint");
}

static void test_damaged_touch_frames(void **state)
{
	struct fixture *f = *state;

	make_checkpoint(f, 1, PAGES, 300);
	flip(f, OBJECT_TOUCH, -1000);
	flip(f, OBJECT_TOUCH, -400000);
	restore_all(f, PAGER_TOUCH_SET, read_all);
	expect_all_right(f);
	assert_int_equal(pager_stats(f->pager)->frames_retried, 2);
}

static void test_touch_that_ends_too_soon(void **state)
{
	struct fixture *f = *state;

	make_checkpoint(f, 1, PAGES, 300);
	cut(f, OBJECT_TOUCH, 100000);
	restore_all(f, PAGER_TOUCH_SET, read_all);
	expect_all_right(f);
}

/* ---- damaged pages ---- */

static void test_pages_damaged_on_the_way(void **state)
{
	struct fixture *f = *state;

	make_checkpoint(f, 1, PAGES, 0);
	f->control->corrupt = 3;
	restore_all(f, PAGER_NOW, read_all);
	expect_all_right(f);
	/* what nobody waits for any more is dropped, damaged or not */
	assert_true(pager_stats(f->pager)->frames_retried >= 1);
}

static void test_pages_damaged_in_the_store(void **state)
{
	struct fixture *f = *state;

	make_checkpoint(f, 1, PAGES, 0);
	f->control->corrupt = -1;
	restore_all(f, PAGER_NOW, read_all);
	expect_failure(f, FREM_DAMAGED, "job/1/pages");
	assert_int_equal(task_status(f, 0), KILLED);
	assert_int_equal(f->control->bad, 0);
}

/* Of two replicas the first one flips bits in all that it gives. */
static void test_replica_that_is_wrong(void **state)
{
	struct fixture *f = *state;
	size_t n;

	make_checkpoint(f, 1, PAGES, 100);
	f->control->corrupt = f->control->corrupt_touch = -1;
	n = strlen(f->url);
	snprintf(f->url + n, sizeof(f->url) - n, " %s", f->store);
	restore_all(f, PAGER_NOW, read_all);
	expect_all_right(f);
	assert_int_equal(f->control->bad, 0);
}

static void test_truncated_pages(void **state)
{
	struct fixture *f = *state;

	make_checkpoint(f, 1, PAGES, 0);
	cut(f, OBJECT_PAGES, 5000);
	restore_all(f, PAGER_NOW, read_all);
	expect_failure(f, FREM_DAMAGED, "at offset");
	assert_int_equal(task_status(f, 0), KILLED);
	assert_int_equal(f->control->bad, 0);
}

static void test_full_with_damaged_pages(void **state)
{
	struct fixture *f = *state;

	make_checkpoint(f, 1, PAGES, 0);
	flip(f, OBJECT_PAGES, 1000000);
	start_pager(f, PAGER_FULL);
	expect_failure(f, FREM_DAMAGED, "at offset");
}

static void test_full_disk(void **state)
{
	struct fixture *f = *state;
	char path[160];

	make_checkpoint(f, 1, PAGES, 0);
	snprintf(path, sizeof(path), "%s/images", f->dir);
	assert_int_equal(mount("frem-test", path, "tmpfs", 0, "size=1m"), 0);
	close(f->images);
	f->images = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	start_pager(f, PAGER_FULL);
	expect_failure(f, FREM_FAILED, "No space left");
	pager_free(f->pager);
	f->pager = NULL;
	close(f->images);
	assert_int_equal(umount(path), 0);
	f->images = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* ---- a store that goes away ---- */

static int read_slowly(struct fixture *f)
{
	if (!all_right(f, 0, 0, 100))
		return 1;
	f->control->step = 1;
	return read_all(f);
}

static void test_store_that_comes_back(void **state)
{
	struct fixture *f = *state;

	make_checkpoint(f, 1, PAGES, 0);
	f->control->pages_open = 2500000;
	restore_all(f, PAGER_NOW, read_slowly);
	expect_event(f, PAGER_EVENT_TOUCHED, NULL);
	while (f->control->pages_open > 0)
		usleep(1000);
	f->control->dead = 1;
	usleep(1500000);
	f->control->dead = 0;
	f->control->pages_open = -1;
	expect_event(f, PAGER_EVENT_DRAINED, NULL);
	assert_int_equal(task_status(f, 0), 0);
}

static void test_store_that_stays_away(void **state)
{
	struct fixture *f = *state;
	uint64_t start;

	make_checkpoint(f, 1, PAGES, 0);
	f->control->pages_open = 2500000;
	f->store_timeout_ms = 2000;
	restore_all(f, PAGER_NOW, read_slowly);
	expect_event(f, PAGER_EVENT_TOUCHED, NULL);
	f->control->dead = 1;
	start = clock_ns();
	expect_failure(f, FREM_STORE, "'job/1/pages': gone for 2 s");
	assert_true(clock_ms_since(start) > 1500);
	assert_int_equal(task_status(f, 0), KILLED);
	assert_int_equal(f->control->bad, 0);
}

/* ---- processes that are killed ---- */

static void test_killed_keeper(void **state)
{
	struct fixture *f = *state;

	make_checkpoint(f, 1, PAGES, 0);
	f->control->pages_open = 2500000;
	restore_all(f, PAGER_NOW, read_slowly);
	expect_event(f, PAGER_EVENT_TOUCHED, NULL);
	kill_process(keeper_pid());
	expect_failure(f, FREM_FAILED, "keeper");
	assert_int_equal(task_status(f, 0), KILLED);
	assert_int_equal(f->control->bad, 0);
}

/* Children that a program forks while the keeper dies die with it, however deep. */
static int fork_for_ever(struct fixture *f)
{
	for (uint64_t i = 0;; i = (i + 37) % f->pages) {
		pid_t child = fork();

		if (child == 0) {
			if (fork() == 0)
				_exit(right(f, 0, (i + 1) % f->pages) ? 0 : 1);
			_exit(right(f, 0, i) ? 0 : 1);
		}
		waitpid(child, NULL, 0);
	}
}

/* Restarts, each with another moment at which `end` kills. */
static void killed_at_any_moment(struct fixture *f, unsigned restarts, void (*end)(unsigned i))
{
	make_checkpoint(f, 1, PAGES, 300);
	for (unsigned i = 0; i < restarts; i++) {
		char command[160];
		struct pager_event e;

		f->control->go = 0;
		f->control->pages_open = 2500000;
		restore_all(f, PAGER_NOW, i % 2 ? fork_for_ever : read_all);
		usleep(i * 1700);
		end(i);
		do
			assert_true(event_within(f, WAIT_MS, &e));
		while (e.type != PAGER_EVENT_FAILED);
		assert_non_null(strstr(e.err.text, "the keeper process was killed"));
		assert_int_equal(task_status(f, 0), KILLED);
		assert_int_equal(f->control->bad, 0);
		pager_free(f->pager);
		f->pager = NULL;
		close(f->criu);
		f->criu = -1;
		snprintf(command, sizeof(command), "rm -f %s/images/* %s/work/*", f->dir, f->dir);
		assert_int_equal(system(command), 0);
	}
}

static void kill_keeper(unsigned i)
{
	(void)i;
	kill_process(keeper_pid());
}

static void test_keeper_killed_at_any_moment(void **state)
{
	killed_at_any_moment(*state, 20, kill_keeper);
}

/* One right after the other, in both orders, or so that neither sees the other's end. */
static void kill_both(unsigned i)
{
	pid_t first = keeper_pid(), second = pager_pid();

	if (i & 2) {
		assert_int_equal(kill(first, SIGSTOP), 0);
		assert_int_equal(kill(second, SIGSTOP), 0);
	}
	if (i & 4) {
		kill_process(second);
		kill_process(first);
	} else {
		kill_process(first);
		kill_process(second);
	}
}

static void test_both_killed_at_any_moment(void **state)
{
	killed_at_any_moment(*state, 32, kill_both);
}

/* The keeper makes another one, which does what that would have done. */
static void test_killed_holder(void **state)
{
	struct fixture *f = *state;
	pid_t holder = 0;

	make_checkpoint(f, 1, PAGES, 0);
	f->control->pages_open = 0;
	restore_all(f, PAGER_NOW, read_all);
	expect_event(f, PAGER_EVENT_TOUCHED, NULL);
	for (unsigned i = 0; i < 10; i++)
		kill_process(holder = next_holder(holder));
	next_holder(holder);
	kill_both(2);
	expect_failure(f, FREM_FAILED, "keeper");
	assert_int_equal(task_status(f, 0), KILLED);
	assert_int_equal(f->control->bad, 0);
}

/* What CRIU has sent may not have been received when the restore is through: until then, the
 * keeper's death would close it, and the job would read zeros. */
static void test_resume_waits_for_the_keeper(void **state)
{
	struct fixture *f = *state;
	pid_t keeper, waker;
	uint64_t start;

	make_checkpoint(f, 1, PAGES, 0);
	f->control->pages_open = 0; /* memory is still missing when it is killed */
	start_pager(f, PAGER_NOW);
	expect_event(f, PAGER_EVENT_READY, NULL);
	keeper = keeper_pid();
	assert_int_equal(kill(keeper, SIGSTOP), 0);
	start_task(f, 0, read_all);
	start = clock_ns();
	waker = fork();
	if (waker == 0) {
		usleep(300000);
		kill(keeper, SIGCONT);
		_exit(0);
	}
	finish_restore(f);
	assert_true(clock_ms_since(start) >= 250);
	kill_process(keeper);
	expect_failure(f, FREM_FAILED, "keeper");
	assert_int_equal(task_status(f, 0), KILLED);
	assert_int_equal(f->control->bad, 0);
	waitpid(waker, NULL, 0);
}

static void test_killed_during_the_restore(void **state)
{
	struct fixture *f = *state;

	make_checkpoint(f, 1, PAGES, 0);
	f->control->pages_open = 0;
	start_pager(f, PAGER_NOW);
	expect_event(f, PAGER_EVENT_READY, NULL);
	f->control->go = 1;
	start_task(f, 0, read_all);
	kill_process(keeper_pid());
	/* its pid is not the image's here, so that it cannot be found: it waits for its memory */
	expect_failure(f, FREM_FAILED, "keeper");
	assert_int_equal(waitpid(f->task[0], NULL, WNOHANG), 0);
	assert_int_equal(f->control->bad, 0);
	kill_process(f->task[0]); /* as CRIU does, whose connection was closed */
	task_status(f, 0);
}

static void test_free_ends_the_job(void **state)
{
	struct fixture *f = *state;

	make_checkpoint(f, 1, PAGES, 0);
	f->control->pages_open = 0;
	restore_all(f, PAGER_NOW, read_all);
	expect_event(f, PAGER_EVENT_TOUCHED, NULL);
	pager_free(f->pager);
	f->pager = NULL;
	assert_int_equal(keeper_pid(), 0);
	assert_int_equal(task_status(f, 0), KILLED);
	assert_int_equal(f->control->bad, 0);
}

static int group_setup(void **state)
{
	(void)state;
	/* for test_full_disk: its mount is seen by this process and its children only */
	return unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PAGER_TEST(test_no_such_checkpoint),
		PAGER_TEST(test_store_that_is_not_there),
		PAGER_TEST(test_damaged_manifest),
		PAGER_TEST(test_damaged_head),
		PAGER_TEST(test_truncated_head),
		PAGER_TEST(test_missing_head),
		PAGER_TEST(test_damaged_touch),
		PAGER_TEST(test_foreign_touch),
		PAGER_TEST(test_damaged_touch_frames),
		PAGER_TEST(test_touch_that_ends_too_soon),
		PAGER_TEST(test_pages_damaged_on_the_way),
		PAGER_TEST(test_pages_damaged_in_the_store),
		PAGER_TEST(test_replica_that_is_wrong),
		PAGER_TEST(test_truncated_pages),
		PAGER_TEST(test_full_with_damaged_pages),
		PAGER_TEST(test_full_disk),
		PAGER_TEST(test_store_that_comes_back),
		PAGER_TEST(test_store_that_stays_away),
		PAGER_TEST(test_killed_keeper),
		PAGER_TEST(test_keeper_killed_at_any_moment),
		PAGER_TEST(test_both_killed_at_any_moment),
		PAGER_TEST(test_killed_holder),
		PAGER_TEST(test_resume_waits_for_the_keeper),
		PAGER_TEST(test_killed_during_the_restore),
		PAGER_TEST(test_free_ends_the_job),
	};

	return cmocka_run_group_tests(tests, group_setup, NULL);
}

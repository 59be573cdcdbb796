/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Recording a restart's first touches: order, content, and that the program does not notice. */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "pager/recording.h"
#include "pager_fixture.h"

#define PAGES 1000u
#define TOUCHED 300u /* by touch_some() */
#define LONG_MS 600000u

static bool is_resident(const void *at)
{
	unsigned char in = 0;

	mincore((void *)at, PAGE_BYTES, &in);
	return in & 1;
}

static void expect_drained(struct fixture *f)
{
	expect_event(f, PAGER_EVENT_TOUCHED, NULL);
	expect_event(f, PAGER_EVENT_DRAINED, NULL);
}

static struct pager_recording *recording(struct fixture *f)
{
	struct pager_recording *r = NULL;

	assert_true(pager_has_recording(f->pager));
	if (pager_recording(f->pager, &r, &f->err) < 0)
		fail_msg("%s", f->err.text);
	return r;
}

/* The page that touch_some() touches at a place. */
static uint64_t scattered(uint64_t place)
{
	return place * 7919 % PAGES;
}

static int touch_some(struct fixture *f)
{
	for (uint64_t i = 0; i < TOUCHED; i++)
		if (!right(f, 0, scattered(i)))
			return 1;
	f->control->step = 1;
	wait_step(f, 2);
	return all_right(f, 0, 0, f->pages) ? 0 : 2;
}

static void assert_recorded_in_order(const struct pager_recording *r, uint64_t n)
{
	assert_int_equal(r->n, n);
	for (uint64_t i = 0; i < n; i++) {
		assert_int_equal(r->seen[i].page, scattered(i));
		assert_true(i == 0 || r->seen[i].ms >= r->seen[i - 1].ms);
		assert_true(r->seen[i].ms <= r->ms);
	}
}

static void assert_content(const struct pager_recording *r, uint64_t page, struct fixture *f)
{
	uint8_t got[PAGE_BYTES], want[PAGE_BYTES];

	assert_true(pager_recording_has(r, page));
	assert_int_equal(pager_recording_read(r, page, 1, got, &f->err), 0);
	page_content(page, want);
	assert_memory_equal(got, want, PAGE_BYTES);
}

/* ---- what is recorded ---- */

static void test_order_is_exact(void **state)
{
	struct fixture *f = *state;
	struct pager_recording *r;

	f->record = PAGER_RECORD_AUTO;
	make_checkpoint(f, 1, PAGES, 0);
	restore_all(f, PAGER_NOW, touch_some);
	wait_step(f, 1);
	expect_drained(f);
	f->control->step = 2;
	assert_int_equal(task_status(f, 0), 0);
	r = recording(f);
	assert_recorded_in_order(r, TOUCHED);
	assert_string_equal(r->ended, "image-arrived");
	assert_in_range(r->ms, 1000, 5000);
	assert_int_equal(r->lazy_pages, PAGES);
	for (uint64_t page = 0; page < PAGES; page++)
		assert_content(r, page, f);
	assert_int_equal(pager_stats(f->pager)->recorded_pages, TOUCHED);
	assert_int_equal((uint32_t)pager_stats(f->pager)->recorded_ms, r->ms);
	pager_recording_free(r);
}

/* The same where each page has to be asked for over the network. */
static void test_order_of_demand_fetches(void **state)
{
	struct fixture *f = *state;
	struct pager_recording *r;

	f->record = PAGER_RECORD_FOR;
	f->record_ms = 400;
	make_checkpoint(f, 1, PAGES, 200);
	restore_all(f, PAGER_NOW, touch_some);
	wait_step(f, 1);
	expect_drained(f);
	f->control->step = 2;
	assert_int_equal(task_status(f, 0), 0);
	r = recording(f);
	assert_recorded_in_order(r, TOUCHED);
	assert_string_equal(r->ended, "asked");
	assert_in_range(r->ms, 400, 5000);
	pager_recording_free(r);
}

/* With everything here, a touch still brings its own page alone. */
static int look_around(struct fixture *f)
{
	static const uint64_t pages[] = {500, 100, 13 * 13, 999, 0};

	wait_step(f, 1);
	for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
		if (is_resident(page_at(0, pages[i])))
			return 1;
		if (!right(f, 0, pages[i]))
			return 2;
		if (i == 0 && (is_resident(page_at(0, 499)) || is_resident(page_at(0, 501))))
			return 3;
	}
	f->control->step = 2;
	wait_step(f, 3);
	return all_right(f, 0, 0, f->pages) ? 0 : 4;
}

static void wait_arrived(struct fixture *f)
{
	uint64_t start = clock_ns();
	char path[160];
	uint64_t want;
	int fd = open(object_path(f, "pages", path), O_RDONLY | O_CLOEXEC);

	want = (uint64_t)lseek(fd, 0, SEEK_END);
	close(fd);
	while (pager_stats(f->pager)->bytes_fetched < want && clock_ms_since(start) < WAIT_MS)
		usleep(500);
	assert_true(pager_stats(f->pager)->bytes_fetched >= want);
}

static void test_page_by_page(void **state)
{
	struct fixture *f = *state;
	struct pager_recording *r;

	f->record = PAGER_RECORD_AUTO;
	make_checkpoint(f, 1, PAGES, 0);
	restore_all(f, PAGER_NOW, look_around);
	wait_arrived(f);
	f->control->step = 1;
	wait_step(f, 2);
	if (f->control->step != 2)
		assert_int_equal(task_status(f, 0), 0); /* says what it did not find */
	assert_int_equal(pager_stats(f->pager)->pages_in, 5);
	assert_int_equal(pager_stats(f->pager)->demand_faults, 0);
	assert_int_equal(pager_stats(f->pager)->prefetched_used, 5);
	expect_drained(f);
	f->control->step = 3;
	assert_int_equal(task_status(f, 0), 0);
	assert_int_equal(pager_stats(f->pager)->pages_in, PAGES);
	r = recording(f);
	assert_int_equal(r->n, 5);
	assert_int_equal(r->seen[0].page, 500);
	pager_recording_free(r);
}

static int touch_in_child(struct fixture *f)
{
	int status;
	pid_t child;

	if (!right(f, 0, 7))
		return 1;
	child = fork();
	if (child == 0)
		_exit(right(f, 0, 7) && right(f, 0, 400) && right(f, 0, 3) ? 0 : 1);
	if (waitpid(child, &status, 0) != child || status)
		return 2;
	return right(f, 0, 3) && right(f, 0, 8) ? 0 : 3;
}

/* What a forked child touches counts, once. */
static void test_children_count(void **state)
{
	static const uint64_t want[] = {7, 400, 3, 8};
	struct fixture *f = *state;
	struct pager_recording *r;

	f->record = PAGER_RECORD_AUTO;
	make_checkpoint(f, 1, PAGES, 0);
	restore_all(f, PAGER_NOW, touch_in_child);
	assert_int_equal(task_status(f, 0), 0);
	expect_drained(f);
	r = recording(f);
	assert_int_equal(r->n, 4);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(r->seen[i].page, want[i]);
	assert_string_equal(r->ended, "program-ended");
	pager_recording_free(r);
}

static int read_early(struct fixture *f)
{
	if (!right(f, 0, 500))
		return 1;
	f->control->step = 1;
	wait_step(f, 2);
	return right(f, 0, 20) && all_right(f, 0, 0, f->pages) ? 0 : 2;
}

/* What is touched during the restore comes first, at no time at all. */
static void test_restore_counts(void **state)
{
	struct fixture *f = *state;
	struct pager_recording *r;

	f->record = PAGER_RECORD_AUTO;
	make_checkpoint(f, 1, PAGES, 0);
	start_pager(f, PAGER_NOW);
	expect_event(f, PAGER_EVENT_READY, NULL);
	f->control->go = 1;
	start_task(f, 0, read_early);
	wait_step(f, 1);
	say_restored(f);
	let_run(f);
	f->control->step = 2;
	assert_int_equal(task_status(f, 0), 0);
	expect_drained(f);
	r = recording(f);
	assert_int_equal(r->n, PAGES);
	assert_int_equal(r->seen[0].page, 500);
	assert_int_equal(r->seen[0].ms, 0);
	assert_int_equal(r->seen[1].page, 20);
	pager_recording_free(r);
}

/* ---- whether and for how long ---- */

static int touch_one(struct fixture *f)
{
	int ok = right(f, 0, 5);

	f->control->step = 1;
	wait_step(f, 2);
	return ok && all_right(f, 0, 0, f->pages) ? 0 : 1;
}

static void record_with_set(struct fixture *f, enum pager_mode mode, uint64_t touch,
			    uint32_t restarts)
{
	f->record = PAGER_RECORD_AUTO;
	f->restarts = restarts;
	make_checkpoint(f, 1, PAGES, touch);
	restore_all(f, mode, touch_one);
	wait_step(f, 1);
	expect_drained(f);
	f->control->step = 2;
	assert_int_equal(task_status(f, 0), 0);
}

static void test_settled_set_is_not_recorded(void **state)
{
	struct fixture *f = *state;

	record_with_set(f, PAGER_NOW, 100, TOUCH_RESTARTS_SETTLED);
	assert_false(pager_has_recording(f->pager));
	assert_true(pager_stats(f->pager)->drained_ms < 1000);
	assert_true(pager_stats(f->pager)->recorded_ms == 0);
	assert_int_equal(pager_stats(f->pager)->recorded_pages, 0);
}

static void test_young_set_is_refined(void **state)
{
	struct fixture *f = *state;
	struct pager_recording *r;

	record_with_set(f, PAGER_NOW, 100, TOUCH_RESTARTS_SETTLED - 1);
	r = recording(f);
	assert_int_equal(r->n, 1);
	assert_int_equal(r->seen[0].page, 5);
	for (uint64_t i = 0; i < 100; i++)
		assert_content(r, touch_page(f, i), f);
	pager_recording_free(r);
}

static void test_touch_set_mode_keeps_its_promise(void **state)
{
	struct fixture *f = *state;

	record_with_set(f, PAGER_TOUCH_SET, 100, 0);
	assert_false(pager_has_recording(f->pager));
}

static void test_touch_set_mode_without_a_set(void **state)
{
	struct fixture *f = *state;

	record_with_set(f, PAGER_TOUCH_SET, 0, 0);
	assert_true(pager_has_recording(f->pager));
}

/* The window is open until the image is here, however long that takes. */
static void test_slow_image(void **state)
{
	struct fixture *f = *state;
	struct pager_recording *r;
	struct pager_event e;

	f->record = PAGER_RECORD_AUTO;
	make_checkpoint(f, 1, PAGES, 0);
	f->control->pages_open = 2000000;
	restore_all(f, PAGER_NOW, touch_one);
	expect_event(f, PAGER_EVENT_TOUCHED, NULL);
	assert_false(event_within(f, 1300, &e));
	assert_true(pager_stats(f->pager)->pages_in <= 1);
	f->control->pages_open = -1;
	expect_event(f, PAGER_EVENT_DRAINED, NULL);
	f->control->step = 2;
	assert_int_equal(task_status(f, 0), 0);
	r = recording(f);
	assert_in_range(r->ms, 1300, 10000);
	assert_string_equal(r->ended, "image-arrived");
	pager_recording_free(r);
}

/* ---- ends ---- */

static void test_detached(void **state)
{
	struct fixture *f = *state;
	struct pager_recording *r;

	f->record = PAGER_RECORD_FOR;
	f->record_ms = LONG_MS;
	make_checkpoint(f, 1, PAGES, 0);
	restore_all(f, PAGER_NOW, touch_some);
	wait_step(f, 1);
	pager_detach(f->pager);
	r = recording(f);
	assert_recorded_in_order(r, TOUCHED);
	assert_string_equal(r->ended, "program-ended");
	pager_recording_free(r);
	/* nobody waits for more: the memory comes in */
	for (int i = 0; i < WAIT_MS && pager_stats(f->pager)->pages_in < PAGES; i++)
		usleep(1000);
	assert_int_equal(pager_stats(f->pager)->pages_in, PAGES);
	f->control->step = 2;
	assert_int_equal(task_status(f, 0), 0);
}

static int touch_five(struct fixture *f)
{
	for (uint64_t i = 0; i < 5; i++)
		if (!right(f, 0, scattered(i)))
			return 1;
	return 0;
}

static void test_program_that_ends_early(void **state)
{
	struct fixture *f = *state;
	struct pager_recording *r;

	f->record = PAGER_RECORD_FOR;
	f->record_ms = LONG_MS;
	make_checkpoint(f, 1, PAGES, 0);
	restore_all(f, PAGER_NOW, touch_five);
	assert_int_equal(task_status(f, 0), 0);
	expect_drained(f);
	r = recording(f);
	assert_recorded_in_order(r, 5);
	assert_string_equal(r->ended, "program-ended");
	pager_recording_free(r);
}

/* A small file system where the run directory is; gone with this process. */
static void mount_small(struct fixture *f, unsigned kilobytes)
{
	char path[96], options[32];

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		skip();
	snprintf(path, sizeof(path), "%s/work", f->dir);
	snprintf(options, sizeof(options), "size=%uk", kilobytes);
	assert_int_equal(mount("tmpfs", path, "tmpfs", 0, options), 0);
	close(f->work);
	f->work = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(f->work >= 0);
}

static int unmount_teardown(void **state)
{
	struct fixture *f = *state;
	char path[96];

	snprintf(path, sizeof(path), "%s/work", f->dir);
	umount2(path, MNT_DETACH);
	return fixture_teardown(state);
}

static void fill_disk(struct fixture *f)
{
	static uint8_t junk[65536];
	int fd = openat(f->work, "junk", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	memset(junk, 1, sizeof(junk));
	while (write(fd, junk, sizeof(junk)) > 0)
		;
	close(fd);
}

static void test_full_disk(void **state)
{
	struct fixture *f = *state;
	struct pager_event e;

	mount_small(f, 3 * PAGES * PAGE_BYTES / 1024);
	f->record = PAGER_RECORD_FOR;
	f->record_ms = LONG_MS;
	make_checkpoint(f, 1, PAGES, 0);
	f->control->pages_open = 2000000;
	restore_all(f, PAGER_NOW, touch_one);
	wait_step(f, 1);
	expect_event(f, PAGER_EVENT_TOUCHED, NULL);
	fill_disk(f);
	f->control->pages_open = -1;
	assert_true(event_within(f, WAIT_MS, &e));
	assert_int_equal(e.type, PAGER_EVENT_NOTICE);
	assert_non_null(strstr(e.notice, "No space left on device"));
	assert_true(event_within(f, WAIT_MS, &e));
	assert_int_equal(e.type, PAGER_EVENT_DRAINED);
	f->control->step = 2;
	assert_int_equal(task_status(f, 0), 0);
	assert_false(pager_has_recording(f->pager));
}

static void test_small_disk(void **state)
{
	struct fixture *f = *state;
	struct pager_event e;

	mount_small(f, PAGES * PAGE_BYTES / 1024);
	f->record = PAGER_RECORD_FOR;
	f->record_ms = LONG_MS;
	make_checkpoint(f, 1, PAGES, 0);
	restore_all(f, PAGER_NOW, touch_one);
	wait_step(f, 1);
	f->control->step = 2;
	assert_int_equal(task_status(f, 0), 0);
	assert_true(event_within(f, WAIT_MS, &e));
	assert_int_equal(e.type, PAGER_EVENT_NOTICE);
	assert_non_null(strstr(e.notice, "not recorded"));
	expect_drained(f);
	assert_false(pager_has_recording(f->pager));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PAGER_TEST(test_order_is_exact),
		PAGER_TEST(test_order_of_demand_fetches),
		PAGER_TEST(test_page_by_page),
		PAGER_TEST(test_children_count),
		PAGER_TEST(test_restore_counts),
		PAGER_TEST(test_settled_set_is_not_recorded),
		PAGER_TEST(test_young_set_is_refined),
		PAGER_TEST(test_touch_set_mode_keeps_its_promise),
		PAGER_TEST(test_touch_set_mode_without_a_set),
		PAGER_TEST(test_slow_image),
		PAGER_TEST(test_detached),
		PAGER_TEST(test_program_that_ends_early),
		cmocka_unit_test_setup_teardown(test_full_disk, fixture_setup, unmount_teardown),
		cmocka_unit_test_setup_teardown(test_small_disk, fixture_setup, unmount_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Copies by several threads at once, from a store that is as fast as they are: what a program reads
 * is what it had, whatever it does to its memory meanwhile.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "pager_fixture.h"

#define PAGES 4000u

static int read_all(struct fixture *f)
{
	unsigned task = f->task[0] ? 1 : 0; /* the second one is forked when the first is known */

	return all_right(f, task, 0, f->pages) ? 0 : 1;
}

static void run_locally(struct fixture *f, enum pager_mode mode, uint64_t touch)
{
	make_checkpoint(f, 2, PAGES, touch);
	f->local = true;
	restore_all(f, mode, read_all);
	expect_all_right(f);
	assert_int_equal(task_status(f, 1), 0);
	assert_int_equal(pager_stats(f->pager)->pages_in, 2 * PAGES);
	assert_int_equal(pager_stats(f->pager)->frames_retried, 0);
	assert_true(pager_stats(f->pager)->bytes_fetched >= PAGES * PAGE_BYTES);
}

static void test_local_store(void **state)
{
	run_locally(*state, PAGER_NOW, 0);
}

static void test_local_touch_set(void **state)
{
	run_locally(*state, PAGER_TOUCH_SET, 500);
}

static void test_local_recording(void **state)
{
	struct fixture *f = *state;

	f->record = PAGER_RECORD_FOR;
	f->record_ms = 300;
	run_locally(f, PAGER_NOW, 500);
	assert_true(pager_stats(f->pager)->recorded_pages > 0);
}

/* Lazy page i is at i + 1 in its file: see write_pagemap(). */
static void test_local_full(void **state)
{
	struct fixture *f = *state;
	int fd;

	make_checkpoint(f, 2, PAGES, 0);
	f->local = true;
	start_pager(f, PAGER_FULL);
	expect_event(f, PAGER_EVENT_READY, NULL);
	expect_event(f, PAGER_EVENT_DRAINED, NULL);
	fd = openat(f->images, "pages-2.img", O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	for (uint64_t i = 0; i < PAGES; i++) {
		uint8_t page[PAGE_BYTES];

		assert_int_equal(file_pread_all(fd, page, PAGE_BYTES, (i + 1) * PAGE_BYTES), 0);
		assert_true(right_at(f, page, 1, i));
	}
	close(fd);
}

/* ---- a file that is not what it should be ---- */

static int read_for_ever(struct fixture *f)
{
	for (;;)
		if (!all_right(f, 0, 0, f->pages))
			return 1;
}

static void expect_damaged(struct fixture *f)
{
	struct pager_event e;

	do {
		assert_true(event_within(f, WAIT_MS, &e));
	} while (e.type == PAGER_EVENT_TOUCHED || e.type == PAGER_EVENT_NOTICE);
	assert_int_equal(e.type, PAGER_EVENT_FAILED);
	assert_int_equal(e.err.code, FREM_DAMAGED);
	assert_int_equal(task_status(f, 0), 128 + SIGKILL);
	assert_int_equal(f->control->bad, 0);
	assert_true(pager_stats(f->pager)->frames_retried > 0);
}

static void test_local_damage(void **state)
{
	struct fixture *f = *state;
	char path[160];
	int fd;

	make_checkpoint(f, 1, PAGES, 0);
	fd = open(object_path(f, OBJECT_PAGES, path), O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "damaged", 7, 1000000), 7);
	close(fd);
	f->local = true;
	restore_all(f, PAGER_NOW, read_for_ever);
	expect_damaged(f);
}

/* ---- a program that changes its memory ---- */

#define THREADS 6u
#define STEPS 250
#define RANGE 24u

enum place {
	IN_IMAGE, /* what it was at the checkpoint, where it was */
	ZERO,
	MOVED, /* what it was, in the thread's other area, and zero here */
};

struct part {
	struct fixture *f;
	uint64_t first, pages;
	enum place *place;
	unsigned seed;
};

static uint8_t *other_area(uint64_t page)
{
	return (uint8_t *)ADDRESS(1) + page * PAGE_BYTES;
}

static bool is_right(const struct part *p, uint64_t i)
{
	uint64_t page = p->first + i;

	if (p->place[i] == IN_IMAGE)
		return right(p->f, 0, page);
	return is_zero(page_at(0, page)) &&
	       (p->place[i] == ZERO || right_at(p->f, other_area(page), 0, page));
}

static bool is_all_right(const struct part *p)
{
	for (uint64_t i = 0; i < p->pages; i++)
		if (!is_right(p, i))
			return false;
	return true;
}

/* Moves what is still in its place, and maps new memory there. */
static bool move(struct part *p, uint64_t i, uint64_t n)
{
	size_t len = n * PAGE_BYTES;
	uint8_t *at = page_at(0, p->first + i), *to = other_area(p->first + i);

	for (uint64_t k = i; k < i + n; k++)
		if (p->place[k] != IN_IMAGE)
			return true;
	for (uint64_t k = i; k < i + n; k++)
		p->place[k] = MOVED;
	return mremap(at, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to &&
	       mmap(at, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
		    0) == at;
}

static bool take_away(struct part *p, uint64_t i, uint64_t n, bool unmap)
{
	uint8_t *at = page_at(0, p->first + i);
	size_t len = n * PAGE_BYTES;

	for (uint64_t k = i; k < i + n; k++)
		if (p->place[k] == IN_IMAGE)
			p->place[k] = ZERO;
	if (!unmap)
		return madvise(at, len, MADV_DONTNEED) == 0;
	return munmap(at, len) == 0 && mmap(at, len, PROT_READ | PROT_WRITE,
					    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == at;
}

static bool child_sees_the_same(struct part *p, uint64_t i, uint64_t n)
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		for (uint64_t k = i; k < i + n; k++)
			if (!is_right(p, k))
				_exit(1);
		_exit(0);
	}
	return waitpid(child, &status, 0) == child && status == 0;
}

static bool step(struct part *p)
{
	uint64_t n = 1 + (uint64_t)rand_r(&p->seed) % RANGE;
	uint64_t i = (uint64_t)rand_r(&p->seed) % (p->pages - n);

	switch (rand_r(&p->seed) % 12) {
	case 0:
		return move(p, i, n);
	case 1:
	case 2:
		return take_away(p, i, n, true);
	case 3:
	case 4:
		return take_away(p, i, n, false);
	case 5:
		return child_sees_the_same(p, i, n);
	default:
		return is_right(p, i);
	}
}

static void *change_part(void *arg)
{
	struct part *p = arg;

	for (int i = 0; i < STEPS; i++)
		if (!step(p))
			return p;
	return is_all_right(p) ? NULL : p;
}

static int change_in_threads(struct fixture *f)
{
	struct part parts[THREADS];
	pthread_t t[THREADS];
	void *wrong;
	int r = 0;

	for (unsigned i = 0; i < THREADS; i++) {
		uint64_t pages = f->pages / THREADS;

		parts[i] = (struct part){f, i * pages, pages, calloc(pages, sizeof(enum place)),
					 i + 1};
		if (!parts[i].place || pthread_create(&t[i], NULL, change_part, &parts[i]))
			return 9;
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(t[i], &wrong);
		r |= wrong != NULL;
	}
	return r;
}

/* Large enough that it changes while it comes. */
static void test_changes_while_copies_run(void **state)
{
	struct fixture *f = *state;

	make_checkpoint(f, 1, 30000, 1000);
	f->local = true;
	restore_all(f, PAGER_NOW, change_in_threads);
	expect_all_right(f);
	assert_int_equal(f->control->bad, 0);
}

/* The same from a server, whose frames come in the pager's own memory. */
static void test_changes_while_it_is_fetched(void **state)
{
	struct fixture *f = *state;

	make_checkpoint(f, 1, 10000, 0);
	restore_all(f, PAGER_NOW, change_in_threads);
	expect_all_right(f);
	assert_int_equal(f->control->bad, 0);
}

/* ---- discards where copies are just being made ---- */

#define AHEAD 40u

/* The first page from `page` on that has not come and was not discarded, or f->pages. */
static uint64_t first_missing(const struct part *p, uint64_t page)
{
	unsigned char in;

	for (; page < p->pages; page++)
		if (p->place[page] == IN_IMAGE &&
		    (mincore(page_at(0, page), PAGE_BYTES, &in) < 0 || !(in & 1)))
			break;
	return page;
}

/* The pages from there on are on their way. They are not looked at, or what is copied too late
 * would not be seen. */
static bool discard_at_the_front(struct part *p)
{
	uint64_t front = 0;

	while ((front = first_missing(p, front)) < p->pages) {
		uint64_t page = front + (uint64_t)rand_r(&p->seed) % AHEAD;

		if (page >= p->pages || p->place[page] == ZERO)
			continue;
		p->place[page] = ZERO;
		if (madvise(page_at(0, page), PAGE_BYTES, MADV_DONTNEED) < 0)
			return false;
	}
	return true;
}

static int discard_where_copies_are(struct fixture *f)
{
	struct part p = {f, 0, f->pages, calloc(f->pages, sizeof(enum place)), 1};

	if (!p.place || !discard_at_the_front(&p))
		return 9;
	wait_step(f, 1);
	return is_all_right(&p) ? 0 : 1;
}

static void test_discards_where_copies_are(void **state)
{
	struct fixture *f = *state;

	make_checkpoint(f, 1, 30000, 0);
	f->local = true;
	restore_all(f, PAGER_NOW, discard_where_copies_are);
	expect_event(f, PAGER_EVENT_TOUCHED, NULL);
	expect_event(f, PAGER_EVENT_DRAINED, NULL);
	f->control->step = 1;
	assert_int_equal(task_status(f, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PAGER_TEST(test_local_store),
		PAGER_TEST(test_local_touch_set),
		PAGER_TEST(test_local_recording),
		PAGER_TEST(test_local_full),
		PAGER_TEST(test_local_damage),
		PAGER_TEST(test_changes_while_copies_run),
		PAGER_TEST(test_changes_while_it_is_fetched),
		PAGER_TEST(test_discards_where_copies_are),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a program does to its address space while its memory is still coming, verified by content.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pager_fixture.h"

#define PAGES 1000u

static struct fixture *shared_fixture;

/* The task changes its memory while nothing has come; then all comes; then it looks. */
static void run_changes(struct fixture *f, int (*body)(struct fixture *f))
{
	make_checkpoint(f, 1, PAGES, 0);
	f->control->pages_open = 0;
	restore_all(f, PAGER_NOW, body);
	expect_event(f, PAGER_EVENT_TOUCHED, NULL);
	wait_step(f, 1);
	assert_int_equal(f->control->step, 1);
	f->control->pages_open = -1;
	expect_event(f, PAGER_EVENT_DRAINED, NULL);
	f->control->step = 2;
	assert_int_equal(task_status(f, 0), 0);
	assert_int_equal(pager_stats(f->pager)->pages_in, PAGES);
}

static void changed(struct fixture *f)
{
	f->control->step = 1;
	wait_step(f, 2);
}

/* ---- madvise ---- */

static int discard(struct fixture *f)
{
	if (madvise(page_at(0, 100), 50 * PAGE_BYTES, MADV_DONTNEED) < 0)
		return 9;
	for (uint64_t i = 100; i < 120; i++)
		if (!is_zero(page_at(0, i)))
			return 1;
	page_at(0, 120)[7] = 42;
	changed(f);
	if (page_at(0, 120)[7] != 42)
		return 2;
	page_at(0, 120)[7] = 0;
	for (uint64_t i = 100; i < 150; i++)
		if (!is_zero(page_at(0, i)))
			return 3;
	return all_right(f, 0, 0, 100) && all_right(f, 0, 150, PAGES) ? 0 : 4;
}

static void test_discarded_memory_is_zero(void **state)
{
	run_changes(*state, discard);
}

/* Discarded after it came: it does not come again. */
static int discard_late(struct fixture *f)
{
	changed(f);
	if (!all_right(f, 0, 0, PAGES) ||
	    madvise(page_at(0, 10), 10 * PAGE_BYTES, MADV_DONTNEED) < 0)
		return 1;
	for (uint64_t i = 10; i < 20; i++)
		if (!is_zero(page_at(0, i)))
			return 2;
	return 0;
}

static void test_discard_after_the_end(void **state)
{
	run_changes(*state, discard_late);
}

/* What is freed lazily may stay as long as nobody needs the room: but it is that, or zero. */
static int discard_lazily(struct fixture *f)
{
	if (madvise(page_at(0, 100), 50 * PAGE_BYTES, MADV_FREE) < 0)
		return 9;
	page_at(0, 120)[7] = 42;
	changed(f);
	if (page_at(0, 120)[7] != 42)
		return 1;
	for (uint64_t i = 100; i < 150; i++)
		if (i != 120 && !is_zero(page_at(0, i)) && !right(f, 0, i))
			return 2;
	return all_right(f, 0, 0, 100) && all_right(f, 0, 150, PAGES) ? 0 : 3;
}

static void test_memory_freed_lazily(void **state)
{
	run_changes(*state, discard_lazily);
}

/* ---- with a thread that waits for the page ---- */

struct reader {
	pthread_t thread;
	atomic_int tid;
	const uint8_t *at;
	bool zero;
};

static void *read_page(void *arg)
{
	struct reader *r = arg;

	r->tid = gettid();
	r->zero = is_zero(r->at);
	return NULL;
}

static bool waits_for_memory(const struct reader *r)
{
	char path[64], where[64] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/wchan", r->tid);
	f = r->tid ? fopen(path, "re") : NULL;
	if (f && fscanf(f, "%63s", where) != 1)
		where[0] = '\0';
	if (f)
		fclose(f);
	return strcmp(where, "handle_userfault") == 0;
}

static bool start_reader(struct reader *r, const uint8_t *at)
{
	*r = (struct reader){.at = at};
	if (pthread_create(&r->thread, NULL, read_page, r))
		return false;
	while (!waits_for_memory(r))
		usleep(200);
	return true;
}

static int take_away_under_readers(struct fixture *f)
{
	struct reader r[3];

	for (size_t i = 0; i < 3; i++)
		if (!start_reader(&r[i], page_at(0, 100 * (i + 1))))
			return 9;
	if (madvise(page_at(0, 100), PAGE_BYTES, MADV_DONTNEED) < 0 ||
	    mmap(page_at(0, 200), PAGE_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
		 -1, 0) != page_at(0, 200))
		return 9;
	/* its content moves away, the mapping stays */
	if (mremap(page_at(0, 300), PAGE_BYTES, PAGE_BYTES,
		   MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP,
		   (void *)ADDRESS(1)) == MAP_FAILED)
		return 9;
	for (size_t i = 0; i < 3; i++)
		pthread_join(r[i].thread, NULL);
	changed(f);
	if (!r[0].zero || !r[1].zero || !r[2].zero)
		return 1;
	return right_at(f, (void *)ADDRESS(1), 0, 300) && all_right(f, 0, 0, 100) ? 0 : 2;
}

static void test_memory_taken_away_under_a_reader(void **state)
{
	run_changes(*state, take_away_under_readers);
}

#define READERS 64u

static void *read_part(void *arg)
{
	uint64_t first = (uint64_t)(uintptr_t)arg * (PAGES / READERS);

	return all_right(shared_fixture, 0, first, first + PAGES / READERS) ? NULL : arg;
}

/* All of them wait at once, each for a page of its own. */
static int read_in_many_threads(struct fixture *f)
{
	pthread_t t[READERS];
	void *wrong;
	int r = 0;

	shared_fixture = f;
	for (size_t i = 0; i < READERS; i++)
		if (pthread_create(&t[i], NULL, read_part, (void *)(uintptr_t)i))
			return 9;
	f->control->step = 1;
	for (size_t i = 0; i < READERS; i++) {
		pthread_join(t[i], &wrong);
		r |= wrong != NULL;
	}
	wait_step(f, 2);
	return r;
}

static void test_many_threads_that_wait(void **state)
{
	run_changes(*state, read_in_many_threads);
}

/* ---- munmap ---- */

static int unmap_and_map(struct fixture *f)
{
	uint8_t *at = page_at(0, 200);

	if (munmap(at, 100 * PAGE_BYTES) < 0 ||
	    mmap(at, 50 * PAGE_BYTES, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != at)
		return 9;
	/* a new mapping on top of an old one */
	if (mmap(page_at(0, 400), 10 * PAGE_BYTES, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != page_at(0, 400))
		return 9;
	at[5] = 1;
	changed(f);
	if (at[5] != 1 || !is_zero(at + PAGE_BYTES) || !is_zero(page_at(0, 405)))
		return 1;
	return all_right(f, 0, 0, 200) && all_right(f, 0, 300, 400) && all_right(f, 0, 410, PAGES)
		       ? 0
		       : 2;
}

static void test_unmapped_memory(void **state)
{
	run_changes(*state, unmap_and_map);
}

/* ---- mremap ---- */

static int move(struct fixture *f)
{
	uint8_t *free_place = (uint8_t *)ADDRESS(1), *to, *again;

	to = mremap(page_at(0, 100), 100 * PAGE_BYTES, 200 * PAGE_BYTES,
		    MREMAP_MAYMOVE | MREMAP_FIXED, free_place);
	if (to != free_place)
		return 9;
	again = mremap(to + 50 * PAGE_BYTES, 50 * PAGE_BYTES, 50 * PAGE_BYTES,
		       MREMAP_MAYMOVE | MREMAP_FIXED, free_place + 1000 * PAGE_BYTES);
	if (again == MAP_FAILED)
		return 9;
	/* shrunk in place, and moved onto mapped memory */
	if (mremap(page_at(0, 300), 100 * PAGE_BYTES, 60 * PAGE_BYTES, 0) == MAP_FAILED ||
	    mremap(page_at(0, 500), 10 * PAGE_BYTES, 10 * PAGE_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED,
		   page_at(0, 600)) == MAP_FAILED)
		return 9;
	changed(f);
	for (uint64_t i = 0; i < 50; i++)
		if (!right_at(f, to + i * PAGE_BYTES, 0, 100 + i) ||
		    !right_at(f, again + i * PAGE_BYTES, 0, 150 + i))
			return 1;
	for (uint64_t i = 100; i < 200; i++)
		if (!is_zero(to + i * PAGE_BYTES))
			return 2;
	for (uint64_t i = 0; i < 10; i++)
		if (!right_at(f, page_at(0, 600 + i), 0, 500 + i))
			return 3;
	return all_right(f, 0, 0, 100) && all_right(f, 0, 200, 360) && all_right(f, 0, 400, 500) &&
			       all_right(f, 0, 510, 600) && all_right(f, 0, 610, PAGES)
		       ? 0
		       : 4;
}

static void test_moved_memory(void **state)
{
	run_changes(*state, move);
}

static int move_often(struct fixture *f)
{
	uint8_t *at = page_at(0, 100),
		*places[3] = {(uint8_t *)ADDRESS(1), (uint8_t *)ADDRESS(2), at};

	for (int i = 0; i < 300; i++) {
		uint8_t *to = places[i % 3];

		if (mremap(at, 100 * PAGE_BYTES, 100 * PAGE_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED,
			   to) != to)
			return 9;
		at = to;
		if (i == 150)
			f->control->step = 1; /* from here on it comes meanwhile */
	}
	for (uint64_t i = 0; i < 100; i++)
		if (!right_at(f, at + i * PAGE_BYTES, 0, 100 + i))
			return 1;
	wait_step(f, 2);
	return all_right(f, 0, 0, 100) && all_right(f, 0, 200, PAGES) ? 0 : 2;
}

static void test_memory_moved_to_and_fro(void **state)
{
	run_changes(*state, move_often);
}

/* All memory is right, or the job is given up where that cannot be told. */
static void expect_right_or_given_up(struct fixture *f)
{
	struct pager_event e;
	int status;

	do
		assert_true(event_within(f, WAIT_MS, &e));
	while (e.type == PAGER_EVENT_TOUCHED || e.type == PAGER_EVENT_NOTICE);
	status = task_status(f, 0);
	if (e.type == PAGER_EVENT_FAILED && strstr(e.err.text, "cannot be told"))
		assert_true(status == 0 || status == 128 + SIGKILL); /* it may just have ended */
	else if (status || e.type != PAGER_EVENT_DRAINED)
		fail_msg("status %d, a wrong page: %d; event %d: %s", status, f->control->bad - 1,
			 e.type, e.err.text);
}

/* Threads whose blocks are moved by the kernel's choice, each into what another has left. */
#define BLOCK 20u

static void *move_block(void *arg)
{
	uint64_t first = (uint64_t)(uintptr_t)arg * 2 * BLOCK;
	size_t len = BLOCK * PAGE_BYTES;
	uint8_t *at = page_at(0, first);

	for (int i = 0; i < 200; i++) {
		uint8_t *hole = mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		uint8_t *to = mremap(at, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, hole);

		if (to == MAP_FAILED)
			return shared_fixture;
		at = to;
		if (i % 16 == 3)
			for (uint64_t k = (uint64_t)i % 4; k < BLOCK; k += 4)
				if (!right_at(shared_fixture, at + k * PAGE_BYTES, 0, first + k))
					return shared_fixture;
	}
	for (uint64_t k = 0; k < BLOCK; k++)
		if (!right_at(shared_fixture, at + k * PAGE_BYTES, 0, first + k))
			return shared_fixture;
	return NULL;
}

static int move_in_threads(struct fixture *f)
{
	pthread_t t[8];
	void *wrong;
	int r = 0;

	shared_fixture = f;
	for (size_t i = 0; i < 8; i++)
		if (pthread_create(&t[i], NULL, move_block, (void *)(uintptr_t)i))
			return 9;
	for (size_t i = 0; i < 8; i++) {
		pthread_join(t[i], &wrong);
		r |= wrong != NULL;
	}
	return r;
}

static void test_threads_that_move_memory(void **state)
{
	struct fixture *f = *state;

	make_checkpoint(f, 1, 4000, 0);
	restore_all(f, PAGER_NOW, move_in_threads);
	expect_right_or_given_up(f);
}

/* The kernel does not tell by how much a mapping grows. */
static void *change_all_the_time(void *arg)
{
	while (!*(atomic_bool *)arg) {
		madvise(page_at(0, 900), PAGE_BYTES, MADV_DONTNEED);
		usleep(20);
	}
	return NULL;
}

/* Block i is moved to a place, and then a smaller one that grows over it. Its end is zero then. */
static bool grow_over_moved(struct fixture *f, uint64_t i)
{
	uint8_t *place = (uint8_t *)ADDRESS(1);
	bool right = true;

	if (mremap(page_at(0, 10 * i), 5 * PAGE_BYTES, 5 * PAGE_BYTES,
		   MREMAP_MAYMOVE | MREMAP_FIXED, place) != place ||
	    mremap(page_at(0, 10 * i + 5), PAGE_BYTES, 5 * PAGE_BYTES,
		   MREMAP_MAYMOVE | MREMAP_FIXED, place) != place)
		return false;
	for (uint64_t k = 1; k < 5; k++)
		right &= is_zero(place + k * PAGE_BYTES);
	right &= right_at(f, place, 0, 10 * i + 5);
	munmap(place, 5 * PAGE_BYTES);
	return right;
}

static int grow_beside_threads(struct fixture *f)
{
	atomic_bool end = false;
	pthread_t t[2];
	int r = 0;

	for (size_t i = 0; i < 2; i++)
		if (pthread_create(&t[i], NULL, change_all_the_time, &end))
			return 9;
	for (uint64_t i = 0; i < 80 && r == 0; i++)
		r = !grow_over_moved(f, i);
	end = true;
	for (size_t i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	return r;
}

static void test_memory_grown_over_moved_memory(void **state)
{
	struct fixture *f = *state;

	make_checkpoint(f, 1, PAGES, 0);
	restore_all(f, PAGER_NOW, grow_beside_threads);
	expect_right_or_given_up(f);
}

/* ---- fork ---- */

static int child_result(pid_t child)
{
	int status;

	if (child < 0 || waitpid(child, &status, 0) != child)
		return 9;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 8;
}

static int fork_twice(struct fixture *f)
{
	pid_t child, grandchild;

	if (madvise(page_at(0, 0), 10 * PAGE_BYTES, MADV_DONTNEED) < 0)
		return 9;
	child = fork();
	if (child == 0) {
		page_at(0, 10)[3] = 77; /* the child's own */
		grandchild = fork();
		if (grandchild == 0) {
			f->control->step = 1;
			if (page_at(0, 10)[3] != 77)
				_exit(1);
			for (uint64_t i = 0; i < 10; i++)
				if (!is_zero(page_at(0, i)))
					_exit(2);
			_exit(all_right(f, 0, 11, PAGES) ? 0 : 3);
		}
		if (!all_right(f, 0, 11, PAGES))
			_exit(4);
		_exit(child_result(grandchild));
	}
	/* changed in the parent only */
	if (madvise(page_at(0, 500), 100 * PAGE_BYTES, MADV_DONTNEED) < 0)
		return 9;
	if (!all_right(f, 0, 10, 500) || !is_zero(page_at(0, 550)) || !all_right(f, 0, 600, PAGES))
		return 5;
	return child_result(child);
}

static void test_fork_while_memory_is_missing(void **state)
{
	struct fixture *f = *state;

	make_checkpoint(f, 1, PAGES, 0);
	f->control->pages_open = 0;
	restore_all(f, PAGER_NOW, fork_twice);
	wait_step(f, 0);
	usleep(20000);
	f->control->pages_open = -1;
	expect_all_right(f);
}

static int fork_a_lot(struct fixture *f)
{
	pid_t children[30];
	int r = 0;

	for (size_t i = 0; i < 30; i++) {
		children[i] = fork();
		if (children[i] == 0)
			_exit(all_right(f, 0, i * 30, i * 30 + 90) ? 0 : 1);
		if (!right(f, 0, i * 33))
			r = 2;
	}
	for (size_t i = 0; i < 30; i++)
		r |= child_result(children[i]);
	return r;
}

static void test_many_forks(void **state)
{
	struct fixture *f = *state;

	make_checkpoint(f, 1, PAGES, 300);
	restore_all(f, PAGER_NOW, fork_a_lot);
	expect_all_right(f);
}

/* ---- everything at once ---- */

/* Each thread has its own part of the memory and does at random what a program can do to it. */
#define PART 100u

static int random_step(uint64_t first, uint8_t *state, unsigned *seed)
{
	uint64_t i = (uint64_t)rand_r(seed) % PART;
	uint8_t *at = page_at(0, first + i);
	pid_t child;

	switch (rand_r(seed) % 8) {
	case 0: /* discard */
		state[i] = 1;
		return madvise(at, PAGE_BYTES, MADV_DONTNEED);
	case 1: /* map anew */
		state[i] = 1;
		return mmap(at, PAGE_BYTES, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == at
			       ? 0
			       : -1;
	case 2: /* a child that sees the same */
		if (rand_r(seed) % 4)
			return 0;
		child = fork();
		if (child == 0)
			_exit(state[i] ? !is_zero(at) : !right(shared_fixture, 0, first + i));
		return child_result(child) ? -1 : 0;
	default:
		if (state[i])
			return is_zero(at) ? 0 : -1;
		return right(shared_fixture, 0, first + i) ? 0 : -1;
	}
}

static void *random_steps(void *arg)
{
	uint64_t first = (uint64_t)(uintptr_t)arg * PART;
	unsigned seed = (unsigned)first + 1;
	uint8_t state[PART] = {0};

	for (int i = 0; i < 1500; i++)
		if (random_step(first, state, &seed) < 0)
			return shared_fixture;
	return NULL;
}

static int random_threads(struct fixture *f)
{
	pthread_t t[8];
	void *wrong;
	int r = 0;

	shared_fixture = f;
	for (size_t i = 0; i < 8; i++)
		if (pthread_create(&t[i], NULL, random_steps, (void *)(uintptr_t)i))
			return 9;
	for (size_t i = 0; i < 8; i++) {
		pthread_join(t[i], &wrong);
		r |= wrong != NULL;
	}
	return r || !all_right(f, 0, 8 * PART, f->pages);
}

static void test_everything_at_once(void **state)
{
	struct fixture *f = *state;

	make_checkpoint(f, 1, PAGES, 200);
	restore_all(f, PAGER_NOW, random_threads);
	expect_all_right(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PAGER_TEST(test_discarded_memory_is_zero),
		PAGER_TEST(test_discard_after_the_end),
		PAGER_TEST(test_memory_freed_lazily),
		PAGER_TEST(test_memory_taken_away_under_a_reader),
		PAGER_TEST(test_many_threads_that_wait),
		PAGER_TEST(test_unmapped_memory),
		PAGER_TEST(test_moved_memory),
		PAGER_TEST(test_memory_moved_to_and_fro),
		PAGER_TEST(test_threads_that_move_memory),
		PAGER_TEST(test_memory_grown_over_moved_memory),
		PAGER_TEST(test_fork_while_memory_is_missing),
		PAGER_TEST(test_many_forks),
		PAGER_TEST(test_everything_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the pager fetches next, and what it waits for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "plan.h"
#include "touch_order.h"

#define FRAMES 1000u
#define STORED 100000u /* bytes of each frame */
#define MEGABYTE (UINT64_C(1) << 20)

struct fixture {
	struct frame_index *x;
	struct plan *plan;
	bool unwanted[FRAMES];
	unsigned fetched[FRAMES];
};

static bool wanted(void *arg, size_t frame)
{
	struct fixture *f = arg;

	return !f->unwanted[frame];
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct frem_error err;

	assert_non_null(f);
	assert_int_equal(frame_index_new(FRAMES * FRAME_PAGES, &f->x, &err), 0);
	for (size_t i = 0; i < FRAMES; i++)
		f->x->entries[i].stored = STORED;
	frame_index_seal(f->x);
	assert_int_equal(plan_new(f->x, wanted, f, &f->plan, &err), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	plan_free(f->plan);
	frame_index_free(f->x);
	free(f);
	return 0;
}

static void fetch_all(struct fixture *f, uint64_t chunk)
{
	size_t first, end;

	while (plan_next(f->plan, chunk, &first, &end)) {
		assert_true(first < end && end <= FRAMES);
		assert_true(f->x->offsets[end] - f->x->offsets[first] <= chunk || end == first + 1);
		for (size_t i = first; i < end; i++)
			f->fetched[i]++;
	}
}

static void test_by_address_once(void **state)
{
	struct fixture *f = *state;
	size_t first, end;

	assert_true(plan_next(f->plan, MEGABYTE, &first, &end));
	assert_int_equal(first, 0);
	assert_int_equal(end, MEGABYTE / STORED);
	f->fetched[0]++;
	for (size_t i = 1; i < end; i++)
		f->fetched[i]++;
	fetch_all(f, MEGABYTE);
	for (size_t i = 0; i < FRAMES; i++)
		assert_int_equal(f->fetched[i], 1);
}

static void fault(struct fixture *f, size_t frame)
{
	plan_fault(f->plan, frame);
	plan_taken(f->plan, frame);
}

static void next(struct fixture *f, size_t first, size_t end)
{
	size_t got_first, got_end;

	assert_true(plan_next(f->plan, MEGABYTE, &got_first, &got_end));
	assert_int_equal(got_first, first);
	assert_int_equal(got_end, end);
}

/* How many frames come near the place before anything else does. */
static size_t frames_near(struct fixture *f, size_t low, size_t high)
{
	size_t first, end, n = 0;

	while (plan_next(f->plan, MEGABYTE, &first, &end) && first >= low && end <= high)
		n += end - first;
	return n;
}

static void test_grows_while_it_pays(void **state)
{
	struct fixture *f = *state;
	size_t before, after;

	fault(f, 300);
	before = frames_near(f, 200, 1000);
	fault(f, 304); /* it goes on upwards */
	assert_true(plan_pays(f->plan));
	after = frames_near(f, 304, 1000);
	assert_true(after >= PLAN_NEAR_LEAST / STORED);
	for (size_t at = 304; at < 600; at += 4)
		fault(f, at);
	assert_true(frames_near(f, 500, 1000) > 8 * before); /* far ahead, and nothing below */
	assert_false(plan_pays(f->plan));
}

static void test_goes_downwards(void **state)
{
	struct fixture *f = *state;

	for (size_t at = 700; at > 600; at -= 4)
		fault(f, at);
	assert_true(plan_pays(f->plan));
	assert_true(frames_near(f, 300, 710) > 50);
}

/* A program that goes through two arrays at once. */
static void test_two_places(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < 8; i++) {
		fault(f, 200 + 2 * i);
		fault(f, 800 + 2 * i);
	}
	assert_true(frames_near(f, 780, 1000) > 20); /* where it was last */
	fault(f, 218);
	assert_true(frames_near(f, 180, 600) > 20);
}

/* More places than there are windows: the oldest are given up. */
static void test_at_random(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < 500; i++)
		fault(f, i * 617 % FRAMES);
	fetch_all(f, MEGABYTE);
	for (size_t i = 0; i < 500; i++)
		f->fetched[i * 617 % FRAMES]++;
	for (size_t i = 0; i < FRAMES; i++)
		assert_int_equal(f->fetched[i], 1);
}

static void test_near_a_fault_first(void **state)
{
	struct fixture *f = *state;
	size_t first, end;

	fault(f, 500);
	next(f, 501, 501 + PLAN_NEAR_LEAST / STORED); /* behind it */
	next(f, 500 - PLAN_NEAR_LEAST / STORED, 500); /* before it */
	assert_false(plan_pays(f->plan));
	for (int i = 0; i < 4; i++) { /* what its reach leaves of a frame; then by address */
		assert_true(plan_next(f->plan, MEGABYTE, &first, &end));
		if (first == 0)
			break;
		assert_true(end == first + 1 && first > 490 && first < 510);
	}
	assert_int_equal(first, 0);
	fetch_all(f, 4 * MEGABYTE); /* and in the end all the rest */
	assert_int_equal(f->fetched[FRAMES - 1], 1);
	assert_int_equal(f->fetched[500], 0);
	assert_false(plan_next(f->plan, MEGABYTE, &first, &end));
	plan_again(f->plan, 7);
	assert_true(plan_next(f->plan, MEGABYTE, &first, &end));
	assert_true(first == 7 && end == 8);
}

static void test_unwanted_frames_are_skipped(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 100; i < 900; i++)
		f->unwanted[i] = true;
	fetch_all(f, MEGABYTE);
	for (size_t i = 0; i < FRAMES; i++)
		assert_int_equal(f->fetched[i], i < 100 || i >= 900);
}

static void test_small_gaps_are_fetched_along(void **state)
{
	struct fixture *f = *state;
	size_t first, end;

	for (size_t i = 0; i < FRAMES; i++)
		f->x->entries[i].stored = 1000;
	frame_index_seal(f->x);
	f->unwanted[10] = f->unwanted[11] = true;
	for (size_t i = 20; i < 20 + PLAN_GAP / 1000 + 1; i++)
		f->unwanted[i] = true;
	assert_true(plan_next(f->plan, MEGABYTE, &first, &end));
	assert_true(first == 0 && end == 20);
}

static void test_frames_without_bytes(void **state)
{
	struct fixture *f = *state;

	memset(f->x->entries, 0, FRAMES * sizeof(*f->x->entries));
	frame_index_seal(f->x);
	fetch_all(f, MEGABYTE);
	for (size_t i = 0; i < FRAMES; i++)
		assert_int_equal(f->fetched[i], 1);
}

static void test_wait_or_fetch(void **state)
{
	struct fetcher_stats slow = {.rtt_ms = 200, .rate = 7e6, .found = true},
			     near = {.rtt_ms = 0.1, .rate = 1e9, .found = true},
			     unknown = {.budget = 2 * MEGABYTE};

	(void)state;
	/* a fetch of one's own takes over 240 ms, 1.7 MB of bulk */
	assert_true(plan_worth_waiting(3 * MEGABYTE / 2, 100000, &slow));
	assert_false(plan_worth_waiting(3 * MEGABYTE, 100000, &slow));
	slow.urgent.in_flight = 3 * MEGABYTE; /* behind others that wait */
	assert_true(plan_worth_waiting(3 * MEGABYTE, 100000, &slow));
	/* on a local link little is waited for */
	assert_true(plan_worth_waiting(100000, 100000, &near));
	assert_false(plan_worth_waiting(100 * MEGABYTE, 100000, &near));
	/* before anything is known: what fills the link */
	assert_true(plan_worth_waiting(MEGABYTE, 100000, &unknown));
	assert_false(plan_worth_waiting(100 * MEGABYTE, 100000, &unknown));
}

static void test_touch_order(void **state)
{
	struct touch_run runs[] = {
		{.first = 700, .pages = 10}, {.first = 5, .pages = 1}, {.first = 100, .pages = 30}};
	struct touch_set set = {.runs = runs, .n_runs = 3, .pages = 41}, none = {0};
	struct touch_order *o;
	struct frem_error err;
	uint64_t place;

	(void)state;
	assert_int_equal(touch_order_new(&set, &o, &err), 0);
	for (uint64_t i = 0; i < set.pages; i++) {
		assert_true(touch_order_place(o, touch_order_number(o, i), &place));
		assert_int_equal(place, i);
	}
	assert_int_equal(touch_order_number(o, 10), 5);
	assert_int_equal(touch_order_number(o, 40), 129);
	assert_false(touch_order_place(o, 4, &place));
	assert_false(touch_order_place(o, 6, &place));
	assert_false(touch_order_place(o, 130, &place));
	assert_false(touch_order_place(o, 710, &place));
	touch_order_free(o);
	assert_int_equal(touch_order_new(&none, &o, &err), 0);
	assert_false(touch_order_place(o, 0, &place));
	touch_order_free(o);
}

/* Runs of 1 to 5 pages at every 7th page, in an order far from that of their numbers. */
static void test_touch_order_of_many_runs(void **state)
{
	enum { RUNS = 1000 };
	static struct touch_run runs[RUNS];
	struct touch_set set = {.runs = runs, .n_runs = RUNS};
	uint64_t place, expected = 0;
	struct touch_order *o;
	struct frem_error err;

	(void)state;
	for (uint64_t i = 0; i < RUNS; i++) {
		uint64_t which = i * 389 % RUNS;

		runs[i] = (struct touch_run){.first = 7 * which, .pages = (uint32_t)which % 5 + 1};
		set.pages += runs[i].pages;
	}
	assert_int_equal(touch_order_new(&set, &o, &err), 0);
	for (size_t i = 0; i < RUNS; i++) {
		for (uint64_t k = 0; k < 7; k++) {
			uint64_t number = runs[i].first + k;

			assert_int_equal(touch_order_place(o, number, &place), k < runs[i].pages);
			if (k >= runs[i].pages)
				continue;
			assert_int_equal(place, expected);
			assert_int_equal(touch_order_number(o, expected++), number);
		}
	}
	touch_order_free(o);
}

#define PLAN_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		PLAN_TEST(test_by_address_once),
		PLAN_TEST(test_near_a_fault_first),
		PLAN_TEST(test_grows_while_it_pays),
		PLAN_TEST(test_goes_downwards),
		PLAN_TEST(test_two_places),
		PLAN_TEST(test_at_random),
		PLAN_TEST(test_unwanted_frames_are_skipped),
		PLAN_TEST(test_small_gaps_are_fetched_along),
		PLAN_TEST(test_frames_without_bytes),
		cmocka_unit_test(test_wait_or_fetch),
		cmocka_unit_test(test_touch_order),
		cmocka_unit_test(test_touch_order_of_many_runs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

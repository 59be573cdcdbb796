/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the pager fetches next, and what it waits for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "plan.h"
#include "rate.h"
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

static void test_near_a_fault_first(void **state)
{
	struct fixture *f = *state;
	size_t first, end;

	plan_taken(f->plan, 500);
	plan_fault(f->plan, 500);
	assert_true(plan_next(f->plan, 4 * MEGABYTE, &first, &end));
	assert_int_equal(first, 501); /* behind it, little */
	assert_int_equal(end, 501 + PLAN_CHUNK_MIN / STORED);
	assert_true(plan_next(f->plan, 4 * MEGABYTE, &first, &end));
	assert_int_equal(end, 500); /* before it, more */
	assert_int_equal(first, 500 - 2 * PLAN_CHUNK_MIN / STORED);
	fetch_all(f, 4 * MEGABYTE); /* and in the end all the rest */
	assert_int_equal(f->fetched[0], 1);
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

static void test_chunk_fills_the_link(void **state)
{
	(void)state;
	assert_int_equal(plan_chunk(0, 0), PLAN_CHUNK_LOW);
	assert_int_equal(plan_chunk(7e6, 200), 1400000);
	assert_int_equal(plan_chunk(1e9, 200), PLAN_CHUNK_HIGH);
}

static void test_wait_or_fetch(void **state)
{
	(void)state;
	/* 200 ms, 7 MB/s: a fetch of one's own takes over 400 ms, 2.8 MB of a stream */
	assert_true(plan_wait_for_stream(2 * MEGABYTE, 1, 7e6, 100000, 200));
	assert_false(plan_wait_for_stream(8 * MEGABYTE, 1, 7e6, 100000, 200));
	assert_false(plan_wait_for_stream(2 * MEGABYTE, 4, 7e6, 100000, 200));
	/* on a local link little is waited for */
	assert_true(plan_wait_for_stream(100000, 1, 1e9, 100000, 0.1));
	assert_false(plan_wait_for_stream(100 * MEGABYTE, 1, 1e9, 100000, 0.1));
	/* at the very start there is nothing to overtake */
	assert_true(plan_wait_for_stream(100 * MEGABYTE, 1, 0, 100000, 200));
}

static void test_rate(void **state)
{
	uint64_t now = NSEC_PER_SEC;
	struct rate r = {0};

	(void)state;
	assert_true(rate_now(&r) <= 0);
	for (int i = 0; i < 1000; i++, now += NSEC_PER_MSEC)
		rate_add(&r, 7000, now);
	assert_true(rate_now(&r) > 6.9e6 && rate_now(&r) < 7.1e6);
	rate_pause(&r); /* ten seconds without a fetch under way */
	now += 10 * NSEC_PER_SEC;
	for (int i = 0; i < 3000; i++, now += NSEC_PER_MSEC)
		rate_add(&r, 70000, now);
	assert_true(rate_now(&r) > 65e6 && rate_now(&r) < 71e6);
	assert_true(rate_mean(&r) > 50e6 && rate_mean(&r) < 60e6);
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

#define PLAN_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		PLAN_TEST(test_by_address_once),
		PLAN_TEST(test_near_a_fault_first),
		PLAN_TEST(test_unwanted_frames_are_skipped),
		PLAN_TEST(test_small_gaps_are_fetched_along),
		PLAN_TEST(test_frames_without_bytes),
		cmocka_unit_test(test_chunk_fills_the_link),
		cmocka_unit_test(test_wait_or_fetch),
		cmocka_unit_test(test_rate),
		cmocka_unit_test(test_touch_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

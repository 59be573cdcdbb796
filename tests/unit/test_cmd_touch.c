/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A touch set as pictures: when it was touched, and where it lies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "touch_curve.h"
#include "touch_map.h"

static struct touch_point points[TOUCH_CURVE_MAX];

static size_t curve_of(struct touch_run *runs, size_t n, uint32_t window_ms)
{
	const struct touch_set t = {.info = {.window_ms = window_ms}, .runs = runs, .n_runs = n};
	size_t n_points = 0;

	assert_int_equal(touch_curve(&t, points, &n_points, NULL), 0);
	return n_points;
}

static void expect_point(size_t i, uint32_t ms, uint64_t pages)
{
	assert_int_equal(points[i].ms, ms);
	assert_int_equal(points[i].pages, pages);
}

static void few_points_are_all_there(void **state)
{
	/* those that restarts did not use come last, whenever they were touched */
	struct touch_run runs[] = {{5, 3, 2, 0}, {90, 1, 2, 0}, {20, 6, 70, 0}, {1, 4, 30, 2}};

	(void)state;
	assert_int_equal(curve_of(runs, 4, 100), 4);
	expect_point(0, 2, 4);
	expect_point(1, 30, 8);
	expect_point(2, 70, 14);
	expect_point(3, 100, 14);
	assert_int_equal(curve_of(runs, 4, 70), 3);
	expect_point(2, 70, 14);
}

static void the_empty_set_has_an_end(void **state)
{
	(void)state;
	assert_int_equal(curve_of(NULL, 0, 500), 1);
	expect_point(0, 500, 0);
}

/* 10000 times: most of the pages at once, the others one by one. */
static void many_points_are_thinned(void **state)
{
	static struct touch_run runs[10000];
	const uint32_t n = 10000, window = 60000;
	size_t n_points;

	(void)state;
	for (uint32_t i = 0; i < n; i++)
		runs[i] = (struct touch_run){i * 1000, i < 100 ? 500 : 1, i < 100 ? i : i * 6, 0};
	n_points = curve_of(runs, n, window);
	assert_true(n_points > 40 && n_points <= TOUCH_CURVE_MAX);
	expect_point(0, 0, 500);
	expect_point(n_points - 1, window, 100 * 500 + 9900);
	for (size_t i = 1; i < n_points; i++) {
		uint32_t ms = points[i].ms - points[i - 1].ms;
		uint64_t pages = points[i].pages - points[i - 1].pages;

		assert_true(ms > 0);
		/* between two there is one step of time or of pages, and a gap of the data */
		assert_true(ms <= window / 29 + 600 || pages <= 59900 / 29 + 500);
	}
}

static void expect_picture(size_t n, bool utf8, const char *blocks, const char *times)
{
	char b[TOUCH_PICTURE_SIZE], t[TOUCH_PICTURE_SIZE];

	touch_curve_picture(points, n, utf8, b, t);
	assert_string_equal(b, blocks);
	assert_string_equal(t, times);
}

static void pictures(void **state)
{
	(void)state;
	points[0] = (struct touch_point){2, 1};
	points[1] = (struct touch_point){10, 4};
	points[2] = (struct touch_point){40, 8};
	points[3] = (struct touch_point){100, 8};
	expect_picture(4, false, "  ........======#####", "1 ms      10 ms     100 ms");
	expect_picture(4, true, "  ▁▁▁▁▁▁▁▁▄▄▄▄▄▄█████", "1 ms      10 ms     100 ms");
	/* what is touched shows, however little it is */
	points[0] = (struct touch_point){1, 1};
	points[1] = (struct touch_point){2, 999999};
	points[2] = (struct touch_point){3, 1000000};
	expect_picture(3, false, "..###", "1 ms");
}

static void wide_pictures_begin_later(void **state)
{
	char b[TOUCH_PICTURE_SIZE], t[TOUCH_PICTURE_SIZE];

	(void)state;
	points[0] = (struct touch_point){5, 10};
	points[1] = (struct touch_point){UINT32_MAX, 10};
	touch_curve_picture(points, 2, true, b, t);
	assert_true(strlen(b) <= 3 * TOUCH_CURVE_MAX && strlen(b) > 3 * (TOUCH_CURVE_MAX - 10));
	assert_int_equal(strncmp(t, "10 s      100 s     1000 s", 26), 0);
	touch_curve_picture(points, 0, true, b, t);
	assert_string_equal(b, "");
	assert_string_equal(t, "");
}

static void expect_row(struct touch_run *runs, size_t n, uint64_t first, uint64_t pages,
		       unsigned columns, const char *expected)
{
	const struct touch_set t = {.runs = runs, .n_runs = n};
	char row[TOUCH_MAP_ROW_SIZE];

	touch_map_row(&t, first, pages, columns, false, row);
	assert_string_equal(row, expected);
}

static void the_map_shows_where_it_lies(void **state)
{
	struct touch_run runs[] = {
		{116, 4, 0, 0}, {100, 1, 0, 0}, {90, 10, 0, 0}, {124, 500, 0, 0}};
	struct touch_run odd[] = {{0, 7, 0, 0}};
	const struct touch_set t = {.runs = runs, .n_runs = 4};
	char row[TOUCH_MAP_ROW_SIZE];

	(void)state;
	expect_row(runs, 4, 100, 32, 4, ". =#");
	expect_row(runs, 4, 100, 32, 2, ".*");
	expect_row(runs, 4, 90, 10, 80, "##########");
	expect_row(runs, 4, 0, 90, 10, "          ");
	expect_row(runs, 4, 624, 0, 10, "");
	expect_row(runs, 0, 0, 3, 10, "   ");
	expect_row(odd, 1, 0, 10, 3, "##:");
	touch_map_row(&t, 100, 32, 4, true, row);
	assert_string_equal(row, "▁ ▄█");
	touch_map_row(&t, 0, 1 << 30, 100000, true, row);
	assert_int_equal(strlen(row), TOUCH_MAP_COLUMNS_MAX + 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(few_points_are_all_there),
		cmocka_unit_test(the_empty_set_has_an_end),
		cmocka_unit_test(many_points_are_thinned),
		cmocka_unit_test(pictures),
		cmocka_unit_test(wide_pictures_begin_later),
		cmocka_unit_test(the_map_shows_where_it_lies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The pager's address-space map, against a model that keeps one number an address. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "format/frame.h"
#include "space.h"

#define BASE UINT64_C(0x7f0000000000)
#define FIRST 1000u /* lazy page number of the task's first page */
#define PAGES 3000u
#define PLACES 8192u
#define NONE UINT64_MAX

static struct space *make(const struct image_extent *x, size_t n, uint64_t pages)
{
	static struct image_extent copy[PAGES];
	struct image_task t = {
		.first = FIRST, .lazy_pages = pages, .extents = copy, .n_extents = n};
	struct frem_error err;
	struct space *s;

	memcpy(copy, x, n * sizeof(*x));
	assert_int_equal(space_new(&t, &s, &err), 0);
	return s;
}

static uint64_t at(uint64_t place)
{
	return BASE + place * PAGE_BYTES;
}

static struct space *one_extent(void)
{
	const struct image_extent x = {.address = at(100), .pages = 50, .first = FIRST};

	return make(&x, 1, 50);
}

static void assert_at(const struct space *s, uint64_t place, uint64_t number)
{
	uint64_t got, pages;

	assert_true(space_find(s, at(place) + 17, &got));
	assert_int_equal(got, number);
	assert_true(space_locate(s, number, &got, &pages));
	assert_int_equal(got, at(place));
	assert_true(pages >= 1);
}

static void assert_nothing_at(const struct space *s, uint64_t place)
{
	uint64_t got;

	assert_false(space_find(s, at(place), &got));
}

static void test_lookup(void **state)
{
	const struct image_extent x[] = {
		{.address = at(10), .pages = 2, .first = FIRST},
		{.address = at(20), .pages = 3, .first = FIRST + 2},
	};
	struct space *s = make(x, 2, 5);
	uint64_t address, pages, first;

	(void)state;
	assert_nothing_at(s, 9);
	assert_at(s, 10, FIRST);
	assert_at(s, 11, FIRST + 1);
	assert_nothing_at(s, 12);
	assert_at(s, 22, FIRST + 4);
	assert_nothing_at(s, 23);
	assert_true(space_locate(s, FIRST + 2, &address, &pages));
	assert_int_equal(pages, 3);
	assert_false(space_locate(s, FIRST + 5, &address, &pages));
	assert_false(space_locate(s, FIRST - 1, &address, &pages));
	space_range(s, &first, &pages);
	assert_int_equal(first, FIRST);
	assert_int_equal(pages, 5);
	space_free(s);
}

static void test_drop_in_the_middle(void **state)
{
	struct space *s = one_extent();
	struct frem_error err;

	(void)state;
	assert_int_equal(space_drop(s, at(110), at(120), &err), 0);
	assert_at(s, 109, FIRST + 9);
	assert_nothing_at(s, 110);
	assert_nothing_at(s, 119);
	assert_at(s, 120, FIRST + 20);
	assert_int_equal(space_left(s), 40);
	assert_false(space_wants(s, FIRST + 15));
	assert_true(space_wants(s, FIRST + 20));
	assert_false(space_wants_any(s, FIRST + 10, 10));
	assert_true(space_wants_any(s, FIRST + 10, 11));
	assert_int_equal(space_drop(s, at(0), at(1000), &err), 0);
	assert_int_equal(space_left(s), 0);
	space_free(s);
}

static void test_move(void **state)
{
	struct space *s = one_extent();
	struct frem_error err;

	(void)state;
	space_settle(s, FIRST + 12, 1);
	assert_int_equal(space_move(s, at(110), at(500), 10 * PAGE_BYTES, &err), 0);
	assert_nothing_at(s, 110);
	assert_at(s, 500, FIRST + 10);
	assert_at(s, 509, FIRST + 19);
	assert_nothing_at(s, 510);
	assert_int_equal(space_left(s), 49);
	/* onto what the map still holds there: that is gone */
	assert_int_equal(space_move(s, at(500), at(120), 10 * PAGE_BYTES, &err), 0);
	assert_at(s, 120, FIRST + 10);
	assert_at(s, 130, FIRST + 30);
	assert_false(space_wants(s, FIRST + 20));
	assert_true(space_wants(s, FIRST + 10));
	assert_int_equal(space_left(s), 39);
	space_free(s);
}

static void test_clone_goes_its_own_way(void **state)
{
	struct space *s = one_extent(), *c;
	struct frem_error err;

	(void)state;
	space_settle(s, FIRST, 5);
	assert_int_equal(space_clone(s, &c, &err), 0);
	assert_int_equal(space_left(c), 45);
	space_settle(s, FIRST + 5, 5);
	assert_true(space_wants(c, FIRST + 5));
	assert_int_equal(space_drop(c, at(100), at(150), &err), 0);
	assert_at(s, 120, FIRST + 20);
	assert_int_equal(space_left(s), 40);
	space_end(s);
	assert_int_equal(space_left(s), 0);
	assert_nothing_at(s, 120);
	space_free(s);
	space_free(c);
}

static void count(void *arg, uint64_t first, uint64_t pages)
{
	uint8_t *seen = arg;

	for (uint64_t i = 0; i < pages; i++)
		seen[first - FIRST + i]++;
}

static void test_each_page_is_settled_once(void **state)
{
	struct space *s = one_extent();
	uint8_t seen[50] = {0};
	struct frem_error err;

	(void)state;
	space_on_settled(s, count, seen);
	space_settle(s, FIRST + 3, 4);
	space_settle(s, FIRST, 10);
	assert_int_equal(space_drop(s, at(105), at(130), &err), 0);
	space_end(s);
	space_end(s);
	for (size_t i = 0; i < sizeof(seen); i++)
		assert_int_equal(seen[i], 1);
	space_free(s);
}

/* ---- against a model ---- */

struct model {
	uint64_t places, pages;	 /* that are used */
	uint64_t number[PLACES]; /* at each place, or NONE */
	bool settled[PAGES];
};

static void model_drop(struct model *m, uint64_t start, uint64_t end)
{
	for (uint64_t i = start; i < end; i++) {
		if (m->number[i] != NONE)
			m->settled[m->number[i] - FIRST] = true;
		m->number[i] = NONE;
	}
}

static void model_move(struct model *m, uint64_t from, uint64_t to, uint64_t n)
{
	static uint64_t moved[PLACES];

	memcpy(moved, &m->number[from], n * sizeof(*moved));
	for (uint64_t i = 0; i < n; i++)
		m->number[from + i] = NONE;
	model_drop(m, to, to + n);
	memcpy(&m->number[to], moved, n * sizeof(*moved));
}

static void compare(const struct space *s, const struct model *m)
{
	uint64_t left = 0, got, pages;

	for (uint64_t i = 0; i < m->places; i++) {
		assert_int_equal(space_find(s, at(i), &got), m->number[i] != NONE);
		if (m->number[i] == NONE)
			continue;
		assert_int_equal(got, m->number[i]);
		assert_true(space_locate(s, got, &got, &pages));
		assert_int_equal(got, at(i));
		for (uint64_t k = 0; k < pages; k++)
			assert_int_equal(m->number[i + k], m->number[i] + k);
	}
	for (uint64_t i = 0; i < m->pages; i++) {
		assert_int_equal(space_wants(s, FIRST + i), !m->settled[i]);
		left += !m->settled[i];
	}
	assert_int_equal(space_left(s), left);
}

static void random_change(struct space *s, struct model *m)
{
	uint64_t a = (uint64_t)rand() % (m->places - 64);
	uint64_t b = (uint64_t)rand() % (m->places - 64);
	uint64_t n = 1 + (uint64_t)rand() % 63;
	struct frem_error err;

	switch (rand() % 6) {
	case 0:
		assert_int_equal(space_drop(s, at(a), at(a + n / 8 + 1), &err), 0);
		model_drop(m, a, a + n / 8 + 1);
		break;
	case 1:
	case 2:
	case 3:
		if (a < b + n && b < a + n)
			break;
		assert_int_equal(space_move(s, at(a), at(b), n * PAGE_BYTES, &err), 0);
		model_move(m, a, b, n);
		break;
	default:
		a %= m->pages;
		n = n > m->pages - a ? m->pages - a : n / 4 + 1;
		space_settle(s, FIRST + a, n);
		for (uint64_t i = 0; i < n; i++)
			m->settled[a + i] = true;
	}
}

/* A space of these extents, and a model of it. */
static struct space *make_both(const struct image_extent *x, size_t n, uint64_t places,
			       struct model *m)
{
	*m = (struct model){.places = places};
	for (size_t i = 0; i < places; i++)
		m->number[i] = NONE;
	for (size_t i = 0; i < n; i++)
		for (uint64_t k = 0; k < x[i].pages; k++)
			m->number[(x[i].address - BASE) / PAGE_BYTES + k] = FIRST + m->pages++;
	return make(x, n, m->pages);
}

static void test_random_changes(void **state)
{
	static const struct image_extent x[] = {
		{.address = BASE, .pages = 100, .first = FIRST},
		{.address = BASE + 150 * PAGE_BYTES, .pages = 150, .first = FIRST + 100},
		{.address = BASE + 300 * PAGE_BYTES, .pages = 50, .first = FIRST + 250},
	};

	(void)state;
	for (unsigned seed = 1; seed <= 40; seed++) {
		struct model m;
		struct space *s = make_both(x, 3, 1024, &m);

		srand(seed);
		for (int i = 0; i < 120; i++) {
			random_change(s, &m);
			compare(s, &m);
		}
		space_free(s);
	}
}

/* A page each, with holes between them: more than the map keeps in one place. */
static void test_many_extents(void **state)
{
	static struct image_extent x[PAGES];
	struct model m;
	struct space *s, *copy;
	struct frem_error err;

	(void)state;
	for (uint64_t i = 0; i < PAGES; i++)
		x[i] = (struct image_extent){.address = at(2 * i), .pages = 1, .first = FIRST + i};
	s = make_both(x, PAGES, PLACES, &m);
	srand(1);
	for (int i = 0; i < 3000; i++) {
		random_change(s, &m);
		if (i % 100 == 0)
			compare(s, &m);
	}
	assert_int_equal(space_clone(s, &copy, &err), 0);
	compare(copy, &m);
	assert_int_equal(space_drop(s, at(10), at(PLACES - 10), &err), 0);
	compare(copy, &m);
	model_drop(&m, 10, PLACES - 10);
	compare(s, &m);
	space_free(s);
	space_free(copy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lookup),
		cmocka_unit_test(test_drop_in_the_middle),
		cmocka_unit_test(test_move),
		cmocka_unit_test(test_clone_goes_its_own_way),
		cmocka_unit_test(test_each_page_is_settled_once),
		cmocka_unit_test(test_random_changes),
		cmocka_unit_test(test_many_extents),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

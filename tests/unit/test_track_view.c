/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which image pages an address space holds, compared with the plainest model of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "view.h"

#define UNIT TOUCHED_UNIT_PAGES
#define SPACE_PAGES (8 * UNIT)
#define TASK 3u
#define NOT_HERE UINT64_MAX

/* By page of the address space: the image page there, and since when. */
struct model {
	uint64_t image[SPACE_PAGES];
	uint64_t since[SPACE_PAGES];
};

static uint64_t state_of_random;

static uint64_t random_below(uint64_t n)
{
	state_of_random ^= state_of_random << 13;
	state_of_random ^= state_of_random >> 7;
	state_of_random ^= state_of_random << 17;
	return state_of_random % n;
}

static struct view *new_view(void)
{
	struct view *v = NULL;

	assert_int_equal(view_new(TASK, &v, NULL), 0);
	return v;
}

static void model_init(struct model *m)
{
	for (uint64_t i = 0; i < SPACE_PAGES; i++)
		m->image[i] = i;
	memset(m->since, 0, sizeof(m->since));
}

static void model_remove(struct model *m, uint64_t start, uint64_t end)
{
	for (; start < end; start++)
		m->image[start] = NOT_HERE;
}

static void model_move(struct model *m, uint64_t start, uint64_t end, uint64_t to, uint64_t when)
{
	struct model before = *m;

	model_remove(m, start, end);
	for (uint64_t i = start; i < end; i++) {
		m->image[to + i - start] = before.image[i];
		m->since[to + i - start] = when;
	}
}

static void assert_same(const struct view *v, const struct model *m)
{
	for (uint64_t i = 0; i < SPACE_PAGES; i++) {
		struct view_stretch s = {};
		bool found = view_find(v, i, i + 1, &s);

		assert_int_equal(found, m->image[i] != NOT_HERE);
		if (!found)
			continue;
		assert_true(s.start <= i && i < s.end);
		assert_int_equal(s.image + (i - s.start), m->image[i]);
		assert_int_equal(s.task, TASK);
	}
}

/* ---- sights ---- */

struct seen {
	uint8_t touched[SPACE_PAGES]; /* how many times */
	uint8_t resident[SPACE_PAGES];
	unsigned parts;
};

static int note_sight(void *arg, const struct touched_sight *sight, struct frem_error *err)
{
	struct seen *seen = arg;

	(void)err;
	seen->parts++;
	assert_int_equal(sight->task, TASK);
	for (unsigned i = 0; i < UNIT; i++) {
		uint64_t page = sight->unit * UNIT + i;
		bool touched = sight->touched[i / 64] >> i % 64 & 1;

		if (touched) {
			assert_true(page < SPACE_PAGES);
			seen->touched[page]++;
		}
		if (sight->resident && sight->resident[i / 64] >> i % 64 & 1)
			seen->resident[page]++;
	}
	return 0;
}

static void see_all(const struct view *v, const struct model *m, uint64_t before)
{
	static struct seen seen, want;
	uint64_t touched[TOUCHED_WORDS], resident[TOUCHED_WORDS];

	memset(&seen, 0, sizeof(seen));
	memset(&want, 0, sizeof(want));
	for (uint64_t unit = 0; unit < SPACE_PAGES / UNIT; unit++) {
		struct touched_sight sight = {
			.unit = unit, .touched = touched, .resident = resident};

		for (unsigned i = 0; i < TOUCHED_WORDS; i++) {
			resident[i] = random_below(UINT64_MAX);
			touched[i] = resident[i] & random_below(UINT64_MAX);
		}
		for (unsigned i = 0; i < UNIT; i++) {
			uint64_t page = unit * UNIT + i;

			if (m->image[page] == NOT_HERE ||
			    (m->since[page] && m->since[page] >= before))
				continue;
			if (touched[i / 64] >> i % 64 & 1)
				want.touched[m->image[page]]++;
			if (resident[i / 64] >> i % 64 & 1)
				want.resident[m->image[page]]++;
		}
		assert_int_equal(view_see(v, &sight, before, note_sight, &seen, NULL), 0);
	}
	assert_memory_equal(seen.touched, want.touched, sizeof(want.touched));
	assert_memory_equal(seen.resident, want.resident, sizeof(want.resident));
}

static void test_untouched_view(void **state)
{
	struct seen seen = {};
	uint64_t all[TOUCHED_WORDS];
	struct touched_sight sight = {.unit = 5, .huge = true, .touched = all};
	struct view *v = new_view();

	(void)state;
	memset(all, 0xff, sizeof(all));
	assert_int_equal(view_see(v, &sight, 0, note_sight, &seen, NULL), 0);
	assert_int_equal(seen.parts, 1); /* in one piece */
	for (unsigned i = 0; i < SPACE_PAGES; i++)
		assert_int_equal(seen.touched[i], i / UNIT == 5);
	view_free(v);
}

static int refuse(void *arg, const struct touched_sight *sight, struct frem_error *err)
{
	(void)arg;
	(void)sight;
	(void)err;
	return -7;
}

static void test_empty_view(void **state)
{
	uint64_t touched[TOUCHED_WORDS] = {1};
	struct touched_sight sight = {.touched = touched};
	struct view_stretch s;
	struct view *v = new_view();

	(void)state;
	assert_int_equal(view_see(v, &sight, 1, refuse, NULL, NULL), -7);
	assert_int_equal(view_remove(v, 0, UINT64_C(1) << 52), 0);
	assert_false(view_find(v, 0, UINT64_MAX, &s));
	assert_int_equal(view_see(v, &sight, 1, refuse, NULL, NULL), 0);
	view_free(v);
}

/* ---- random changes ---- */

static void change(struct view *v, struct model *m, uint64_t when, uint64_t most)
{
	uint64_t start = random_below(SPACE_PAGES - 1), to;
	uint64_t n = 1 + random_below(most < SPACE_PAGES - start ? most : SPACE_PAGES - start);

	if (random_below(3)) {
		model_remove(m, start, start + n);
		assert_int_equal(view_remove(v, start, start + n), 0);
		return;
	}
	to = random_below(SPACE_PAGES - n + 1);
	if (to < start + n && start < to + n)
		return; /* the kernel refuses this */
	model_move(m, start, start + n, to, when);
	assert_int_equal(view_move(v, start, start + n, to, when), 0);
}

static void test_random_changes(void **state)
{
	static struct model m;

	(void)state;
	for (unsigned seed = 1; seed <= 60; seed++) {
		struct view *v = new_view(), *copy = NULL;

		state_of_random = seed * UINT64_C(0x9e3779b97f4a7c15);
		model_init(&m);
		for (unsigned i = 1; i <= 100; i++)
			change(v, &m, i, seed % 2 ? 30 : 2 * UNIT);
		assert_same(v, &m);
		see_all(v, &m, 50);
		assert_int_equal(view_copy(v, &copy, NULL), 0);
		view_free(v);
		assert_same(copy, &m);
		change(copy, &m, 200, UNIT);
		see_all(copy, &m, UINT64_MAX);
		view_free(copy);
	}
}

/* Every second page, in an order that hits all chunks; then what is left is moved to and fro. */
static void test_many_stretches(void **state)
{
	static struct model m;
	struct view *v = new_view();

	(void)state;
	state_of_random = 99;
	model_init(&m);
	for (uint64_t i = 0; i < SPACE_PAGES; i += 2) {
		uint64_t page = i * 1237 % SPACE_PAGES;

		page -= page % 2;
		model_remove(&m, page, page + 1);
		assert_int_equal(view_remove(v, page, page + 1), 0);
	}
	assert_same(v, &m);
	model_move(&m, 0, 3 * UNIT, 4 * UNIT + 7, 5);
	assert_int_equal(view_move(v, 0, 3 * UNIT, 4 * UNIT + 7, 5), 0);
	model_move(&m, 4 * UNIT + 7, 7 * UNIT + 7, 11, 6);
	assert_int_equal(view_move(v, 4 * UNIT + 7, 7 * UNIT + 7, 11, 6), 0);
	assert_same(v, &m);
	see_all(v, &m, 7);
	model_remove(&m, 0, SPACE_PAGES);
	assert_int_equal(view_remove(v, 0, SPACE_PAGES), 0);
	assert_same(v, &m);
	view_free(v);
}

/* There is a limit; what is beyond it stays as it was. */
static void test_limit(void **state)
{
	struct view *v = new_view();
	struct view_stretch s;
	uint64_t i = 0;

	(void)state;
	while (!view_remove(v, 2 * i, 2 * i + 1))
		assert_true(++i < 2 * VIEW_STRETCHES_MAX);
	assert_true(i >= VIEW_STRETCHES_MAX - 1);
	assert_true(view_find(v, 2 * i, 2 * i + 1, &s));
	assert_int_equal(s.image + (2 * i - s.start), 2 * i);
	assert_int_equal(s.end, UINT64_C(1) << 52);
	view_free(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_untouched_view), cmocka_unit_test(test_empty_view),
		cmocka_unit_test(test_random_changes), cmocka_unit_test(test_many_stretches),
		cmocka_unit_test(test_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

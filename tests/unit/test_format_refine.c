/* SPDX-License-Identifier: GPL-2.0-or-later */
/* touch_set_refine(): by example, and against a model that counts page by page. */
#include "format_damage.h"

#include <stdio.h>

#include "base/clock.h"
#include "format/touch.h"
#include "sample.h"

static struct frem_error err;

static const struct touch_info recorded = {
	.backend = "restart", .ended = "asked", .window_ms = 500, .scans = 0, .restarts = 77};

/* "first+pages@ms" for each run, with "!" for each miss. */
static void expect_runs(const struct touch_set *t, const char *want)
{
	char got[1024] = "";
	uint64_t pages = 0;

	for (size_t i = 0; i < t->n_runs; i++) {
		const struct touch_run *r = &t->runs[i];
		size_t n = strlen(got);

		snprintf(got + n, sizeof(got) - n, "%s%u+%u@%u%.*s", n ? " " : "",
			 (unsigned)r->first, r->pages, r->ms, (int)r->misses, "!!!!!!!!");
		pages += r->pages;
	}
	assert_string_equal(got, want);
	assert_int_equal(t->pages, pages);
	assert_null(t->index);
}

static struct touch_set *refine(const struct touch_set *old, const struct touch_seen *seen,
				size_t n, uint32_t recorded_ms)
{
	struct touch_set *t = NULL;

	assert_int_equal(touch_set_refine(old, &recorded, seen, n, recorded_ms, &t, &err), 0);
	return t;
}

static void the_first_recording_makes_the_set(void **state)
{
	static const struct touch_seen seen[] = {{7, 0}, {8, 0}, {3, 0}, {9, 2}, {10, 2}, {4, 9}};
	struct touch_set *t = refine(NULL, seen, 6, 500);

	(void)state;
	expect_runs(t, "7+2@0 3+1@0 9+2@2 4+1@9");
	assert_string_equal(t->info.backend, "restart");
	assert_int_equal(t->info.window_ms, 500);
	assert_int_equal(t->info.restarts, 1);
	touch_set_free(t);
}

/* Used pages come first, by when they were used now; a page not used for long moves to the end. */
static void recordings_refine_the_set(void **state)
{
	static struct touch_run runs[] = {{100, 10, 5, 0}, {50, 1, 8, 1}, {0, 4, 400, 0}};
	static const struct touch_seen seen[] = {{104, 1}, {103, 1}, {200, 6}};
	const struct touch_set old = {
		.info = {.backend = "accessed-bits", .ended = "saturated", .window_ms = 900},
		.runs = runs,
		.n_runs = 3,
		.pages = 15};
	struct touch_set *t = refine(&old, seen, 3, 400), *u, *v;

	(void)state;
	/* what is only due at 400 ms was not expected within 400 ms */
	expect_runs(t, "104+1@1 103+1@1 100+3@5! 105+5@5! 200+1@6 0+4@400 50+1@8!!");
	assert_string_equal(t->info.backend, "accessed-bits");
	assert_int_equal(t->info.window_ms, 900);
	assert_int_equal(t->info.restarts, 1);
	u = refine(t, NULL, 0, 6);
	expect_runs(u, "104+1@1! 103+1@1! 200+1@6 0+4@400 100+3@5!! 105+5@5!! 50+1@8!!");
	assert_int_equal(u->info.restarts, 2);
	/* used again after all */
	v = refine(u, (const struct touch_seen[]){{106, 0}, {50, 3}}, 2, 4);
	expect_runs(v, "106+1@0 50+1@3 200+1@6 0+4@400 104+1@1!! 103+1@1!! 100+3@5!! 105+1@5!! "
		       "107+3@5!!");
	touch_set_free(t);
	touch_set_free(u);
	touch_set_free(v);
}

static void neighbours_are_joined(void **state)
{
	static struct touch_run runs[] = {{8, 4, 3, 1}, {12, 4, 3, 0}, {0, 8, 3, 1}};
	static const struct touch_seen seen[] = {{16, 2}, {17, 2}, {18, 2}};
	const struct touch_set old = {.runs = runs, .n_runs = 3, .pages = 16};
	struct touch_set *t = refine(&old, seen, 3, 0);

	(void)state;
	expect_runs(t, "16+3@2 8+4@3! 12+4@3 0+8@3!");
	touch_set_free(t);
}

static void what_makes_no_sense_is_refused(void **state)
{
	static const struct touch_seen twice[] = {{5, 0}, {6, 0}, {5, 1}};
	static const struct touch_seen beyond[] = {{FRAME_PAGES_LIMIT, 0}};
	static struct touch_run runs[] = {{FRAME_PAGES_LIMIT - 1, 2, 0, 0}};
	const struct touch_set old = {.runs = runs, .n_runs = 1, .pages = 2};
	struct touch_set *t = NULL;

	(void)state;
	assert_true(touch_set_refine(NULL, &recorded, twice, 3, 1, &t, &err) < 0);
	assert_string_equal(err.text, "refining the touch set: page 5 was seen twice");
	assert_true(touch_set_refine(NULL, &recorded, beyond, 1, 1, &t, &err) < 0);
	assert_true(touch_set_refine(&old, &recorded, NULL, 0, 1, &t, &err) < 0);
	assert_string_equal(err.text, "refining the touch set: a page is out of range");
	assert_null(t);
}

static void nothing_seen_and_nothing_known(void **state)
{
	struct touch_set *t = refine(NULL, NULL, 0, 100);

	(void)state;
	expect_runs(t, "");
	touch_set_free(t);
}

/* ---- the model: one record a page, sorted by insertion ---- */

#define MODEL_PAGES 300u

struct model_page {
	uint64_t page;
	uint32_t ms, misses;
};

struct model {
	struct model_page pages[MODEL_PAGES];
	size_t n;
};

static bool model_less(const struct model_page *a, const struct model_page *b)
{
	bool a_behind = a->misses >= TOUCH_MISSES_BEHIND,
	     b_behind = b->misses >= TOUCH_MISSES_BEHIND;

	return a_behind != b_behind ? b_behind : a->ms < b->ms;
}

static void model_insert(struct model *m, struct model_page p)
{
	size_t at = m->n++;

	for (; at > 0 && model_less(&p, &m->pages[at - 1]); at--)
		m->pages[at] = m->pages[at - 1];
	m->pages[at] = p;
}

static void model_refine(struct model *m, const struct touch_seen *seen, size_t n,
			 uint32_t recorded_ms)
{
	struct model old = *m;

	m->n = 0;
	for (size_t i = 0; i < n; i++)
		model_insert(m, (struct model_page){seen[i].page, seen[i].ms, 0});
	for (size_t i = 0; i < old.n; i++) {
		struct model_page p = old.pages[i];
		bool was_seen = false;

		for (size_t k = 0; k < n; k++)
			was_seen |= seen[k].page == p.page;
		p.misses += p.ms < recorded_ms;
		if (!was_seen)
			model_insert(m, p);
	}
}

static void expect_model(const struct touch_set *t, const struct model *m)
{
	size_t at = 0;

	assert_int_equal(t->pages, m->n);
	for (size_t i = 0; i < t->n_runs; i++) {
		for (uint32_t p = 0; p < t->runs[i].pages; p++, at++) {
			assert_true(at < m->n);
			assert_int_equal(t->runs[i].first + p, m->pages[at].page);
			assert_int_equal(t->runs[i].ms, m->pages[at].ms);
			assert_int_equal(t->runs[i].misses, m->pages[at].misses);
		}
	}
	assert_int_equal(at, m->n);
}

static uint64_t random_state = 88172645463325252;

static uint32_t below(uint32_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)(random_state >> 20) % n;
}

/* Some stretches of neighbours, each page at most once; the times rise, or jump about. */
static size_t random_seen(struct touch_seen *seen, bool in_order)
{
	bool taken[MODEL_PAGES] = {false};
	uint32_t ms = 0;
	size_t n = 0;

	for (uint32_t stretches = below(12); stretches; stretches--) {
		uint32_t page = below(MODEL_PAGES), end = page + below(40);

		for (; page < end && page < MODEL_PAGES; page++) {
			if (taken[page])
				continue;
			taken[page] = true;
			ms = in_order ? ms + (below(4) == 0) : below(20);
			seen[n++] = (struct touch_seen){page, ms};
		}
	}
	return n;
}

static void random_recordings_match_the_model(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 500; round++) {
		struct touch_set *t = NULL;
		struct model m = {0};

		for (unsigned restart = 1; restart <= 6; restart++) {
			struct touch_seen seen[MODEL_PAGES];
			size_t n = random_seen(seen, round % 2);
			uint32_t recorded_ms = below(60);
			struct touch_set *next = refine(t, seen, n, recorded_ms);

			model_refine(&m, seen, n, recorded_ms);
			expect_model(next, &m);
			assert_int_equal(next->info.restarts, restart);
			touch_set_free(t);
			t = next;
		}
		touch_set_free(t);
	}
}

/* Every other of ten million pages is seen anew, in no order: the worst there is. */
static void ten_million_pages_take_seconds(void **state)
{
	const uint32_t pages = 10000000, seen_pages = pages / 2;
	struct touch_seen *seen = calloc(seen_pages, sizeof(*seen));
	struct touch_run whole = {0, pages, 7, 1};
	const struct touch_set old = {.runs = &whole, .n_runs = 1, .pages = pages};
	struct touch_set *t;
	uint64_t start;
	double ms;

	(void)state;
	assert_non_null(seen);
	for (uint32_t i = 0; i < seen_pages; i++)
		seen[i] = (struct touch_seen){i * UINT64_C(7919) % seen_pages * 2, i / 1000};
	start = clock_ns();
	t = refine(&old, seen, seen_pages, 8);
	ms = clock_ms_since(start);
	assert_int_equal(t->pages, pages);
	assert_int_equal(t->n_runs, pages);
	assert_int_equal(t->runs[0].first, 0);
	assert_int_equal(t->runs[pages - 1].first, pages - 1);
	assert_true(ms < 20000); /* quadratic would be hours; valgrind and sanitizers are let be */
	print_message("refined ten million pages in %.0f ms\n", ms);
	touch_set_free(t);
	free(seen);
}

/* Frame 0 has half of its pages, frame 1 one page less, frame 2 none, frame 3 is the short last
 * one. */
static void frames_half_touched_are_completed(void **state)
{
	static const struct touch_run runs[] = {
		{33, 15, 3, 0}, {16, 8, 0, 0}, {2, 7, 1, 0}, {31, 1, 1, 0}, {97, 2, 2, 0}};
	struct touch_set t = {.n_runs = 5, .pages = 33, .runs = malloc(sizeof(runs))};
	struct touch_set *again;
	uint64_t touched = 0;

	(void)state;
	assert_non_null(t.runs);
	memcpy(t.runs, runs, sizeof(runs));
	assert_int_equal(touch_set_fill(&t, 100, &err), 0);
	expect_runs(&t, "33+15@3 16+8@0 2+7@1 31+1@1 97+2@2 0+2@4294967295 9+7@4294967295 "
			"24+7@4294967295 96+1@4294967295 99+1@4294967295");
	assert_int_equal(touch_set_touched(&t, &touched), 5);
	assert_int_equal(touched, 33);
	/* what was never touched leaves with the next recording, and nothing is missed of it */
	again = refine(&t, (struct touch_seen[]){{9, 7}}, 1, 500);
	expect_runs(again, "16+8@0! 2+7@1! 31+1@1! 97+2@2! 33+15@3! 9+1@7");
	touch_set_free(again);
	free(t.runs);
}

static void nothing_to_complete(void **state)
{
	struct touch_set t = {0};
	uint64_t touched = 1;

	(void)state;
	assert_int_equal(touch_set_fill(&t, 0, &err), 0);
	assert_int_equal(touch_set_fill(&t, 1000, &err), 0);
	assert_int_equal(t.n_runs, 0);
	assert_int_equal(touch_set_touched(&t, &touched), 0);
	assert_int_equal(touched, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_half_touched_are_completed),
		cmocka_unit_test(nothing_to_complete),
		cmocka_unit_test(the_first_recording_makes_the_set),
		cmocka_unit_test(recordings_refine_the_set),
		cmocka_unit_test(neighbours_are_joined),
		cmocka_unit_test(what_makes_no_sense_is_refused),
		cmocka_unit_test(nothing_seen_and_nothing_known),
		cmocka_unit_test(random_recordings_match_the_model),
		cmocka_unit_test(ten_million_pages_take_seconds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

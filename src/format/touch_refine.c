/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a recorded restart adds to a touch set.
 *
 * The pages seen become runs of their own, and are cut out of the old runs by a bitmap; then all
 * runs are put in order, and neighbours joined. Everything is linear in the pages seen and the old
 * runs but for the sort, which finds its input nearly in order.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "format/touch.h"

#define WORD 64

/* The new runs, in a place where all that there can be have room. */
struct refined {
	struct touch_run *runs;
	size_t n;
	uint64_t *seen; /* a bit for each lazy page */
};

/* Where the last of all pages ends, or 0 where one is out of range. */
static uint64_t end_of_pages(const struct touch_set *old, const struct touch_seen *seen, size_t n)
{
	uint64_t end = 1;

	for (size_t i = 0; i < n; i++) {
		if (seen[i].page >= FRAME_PAGES_LIMIT)
			return 0;
		if (seen[i].page >= end)
			end = seen[i].page + 1;
	}
	for (size_t i = 0; old && i < old->n_runs; i++) {
		const struct touch_run *r = &old->runs[i];

		if (r->first >= FRAME_PAGES_LIMIT || r->pages > FRAME_PAGES_LIMIT - r->first)
			return 0;
		if (r->first + r->pages > end)
			end = r->first + r->pages;
	}
	return end;
}

static int refined_init(struct refined *r, const struct touch_set *old,
			const struct touch_seen *seen, size_t n, struct frem_error *err)
{
	uint64_t end = end_of_pages(old, seen, n);
	size_t n_old = old ? old->n_runs : 0, most;

	if (!end)
		return frem_fail(err, FREM_FAILED, 0, "a page is out of range");
	/* each page seen is one run, and leaves one more of the old run that it was in */
	if (__builtin_mul_overflow(n, 2, &most) || __builtin_add_overflow(most, n_old, &most))
		return frem_oom(err);
	r->runs = reallocarray(NULL, most ? most : 1, sizeof(*r->runs));
	r->seen = calloc((size_t)(end / WORD + 1), sizeof(*r->seen));
	return r->runs && r->seen ? 0 : frem_oom(err);
}

/* Adds pages behind the others; a neighbour of the last run that is like it is joined to it. */
static void append(struct refined *r, uint64_t first, uint64_t pages, uint32_t ms, uint32_t misses)
{
	struct touch_run *last = r->n ? &r->runs[r->n - 1] : NULL;

	if (last && last->first + last->pages == first && last->ms == ms &&
	    last->misses == misses && last->pages <= UINT32_MAX - pages)
		last->pages += (uint32_t)pages;
	else
		r->runs[r->n++] = (struct touch_run){first, (uint32_t)pages, ms, misses};
}

static int take_seen(struct refined *r, const struct touch_seen *seen, size_t n,
		     struct frem_error *err)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t bit = UINT64_C(1) << seen[i].page % WORD;

		if (r->seen[seen[i].page / WORD] & bit)
			return frem_fail(err, FREM_FAILED, 0, "page %" PRIu64 " was seen twice",
					 seen[i].page);
		r->seen[seen[i].page / WORD] |= bit;
		append(r, seen[i].page, 1, seen[i].ms, 0);
	}
	return 0;
}

/* The first page from `page` on that was seen, or was not; `end` where there is none before it. */
static uint64_t next_page(const uint64_t *bits, uint64_t page, uint64_t end, bool seen)
{
	while (page < end) {
		uint64_t word = bits[page / WORD] ^ (seen ? 0 : ~UINT64_C(0));

		word &= ~UINT64_C(0) << page % WORD;
		page -= page % WORD;
		if (word) {
			page += (unsigned)__builtin_ctzll(word);
			break;
		}
		page += WORD;
	}
	return page < end ? page : end;
}

/* What of the old runs was not seen. */
static void take_old(struct refined *r, const struct touch_set *old, uint32_t recorded_ms)
{
	for (size_t i = 0; i < old->n_runs; i++) {
		const struct touch_run *run = &old->runs[i];
		uint64_t at = run->first, end = at + run->pages;
		uint32_t misses = run->misses;

		if (run->ms == TOUCH_NEVER)
			continue;
		if (run->ms < recorded_ms && misses < UINT32_MAX)
			misses++;
		while ((at = next_page(r->seen, at, end, false)) < end) {
			uint64_t from = at;

			at = next_page(r->seen, at, end, true);
			append(r, from, at - from, run->ms, misses);
		}
	}
}

/* ---- order ---- */

static bool comes_before(const struct touch_run *a, const struct touch_run *b)
{
	bool a_behind = a->misses >= TOUCH_MISSES_BEHIND,
	     b_behind = b->misses >= TOUCH_MISSES_BEHIND;

	return a_behind == b_behind ? a->ms < b->ms : b_behind;
}

/*
 * Sorts by merging, so that runs of the same time stay in the order in which they are: those seen
 * now, by when, before those of old. room: for n / 2 runs.
 */
static void sort_runs(struct touch_run *runs, size_t n, struct touch_run *room)
{
	size_t half = n / 2, left = 0, right = half, out = 0;

	if (n < 2)
		return;
	sort_runs(runs, half, room);
	sort_runs(runs + half, n - half, room);
	if (!comes_before(&runs[half], &runs[half - 1]))
		return;
	memcpy(room, runs, half * sizeof(*runs));
	while (left < half && right < n)
		runs[out++] =
			comes_before(&runs[right], &room[left]) ? runs[right++] : room[left++];
	memcpy(runs + out, room + left, (half - left) * sizeof(*runs));
}

static int put_in_order(struct refined *r, struct frem_error *err)
{
	_cleanup_free_ struct touch_run *room = reallocarray(NULL, r->n / 2 + 1, sizeof(*r->runs));
	size_t n = r->n;

	if (!room)
		return frem_oom(err);
	sort_runs(r->runs, n, room);
	r->n = 0;
	for (size_t i = 0; i < n; i++)
		append(r, r->runs[i].first, r->runs[i].pages, r->runs[i].ms, r->runs[i].misses);
	return 0;
}

/* ---- the set ---- */

static int make_set(struct refined *r, const struct touch_set *old, const struct touch_info *info,
		    struct touch_set **ret, struct frem_error *err)
{
	struct touch_set *t = calloc(1, sizeof(*t));
	struct touch_run *fit;

	if (!t)
		return frem_oom(err);
	t->info = old ? old->info : *info;
	t->info.restarts = old ? old->info.restarts : 0;
	if (t->info.restarts < UINT32_MAX)
		t->info.restarts++;
	for (size_t i = 0; i < r->n; i++)
		t->pages += r->runs[i].pages;
	fit = reallocarray(r->runs, r->n ? r->n : 1, sizeof(*fit));
	t->runs = fit ? fit : r->runs;
	r->runs = NULL;
	t->n_runs = r->n;
	*ret = t;
	return 0;
}

int touch_set_refine(const struct touch_set *old, const struct touch_info *info,
		     const struct touch_seen *seen, size_t n, uint32_t recorded_ms,
		     struct touch_set **ret, struct frem_error *err)
{
	struct refined r = {0};
	int rc = refined_init(&r, old, seen, n, err);

	if (rc == 0)
		rc = take_seen(&r, seen, n, err);
	if (rc == 0) {
		if (old)
			take_old(&r, old, recorded_ms);
		rc = put_in_order(&r, err);
	}
	if (rc == 0)
		rc = make_set(&r, old, info, ret, err);
	free(r.runs);
	free(r.seen);
	return rc < 0 ? frem_context(err, rc, "refining the touch set") : 0;
}

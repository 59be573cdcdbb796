/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which pages complete the frames of `pages` that a touch set nearly has whole. */
#include <stdlib.h>
#include <string.h>

#include "format/touch.h"

/* A bit for each page of a frame of `pages`. */
typedef uint32_t frame_mask;
_Static_assert(sizeof(frame_mask) * 8 == FRAME_PAGES, "one bit for each page of a frame");

static uint64_t frames_of(uint64_t pages)
{
	return (pages + FRAME_PAGES - 1) / FRAME_PAGES;
}

static void mark_runs(const struct touch_set *t, frame_mask *masks)
{
	for (size_t i = 0; i < t->n_runs; i++)
		for (uint64_t k = t->runs[i].first; k < t->runs[i].first + t->runs[i].pages; k++)
			masks[k / FRAME_PAGES] |= UINT32_C(1) << k % FRAME_PAGES;
}

/* The pages of frame i that are not in the set, if it is to be completed. */
static frame_mask missing_of(const frame_mask *masks, uint64_t i, uint64_t lazy_pages)
{
	uint64_t left = lazy_pages - i * FRAME_PAGES;
	frame_mask all = left < FRAME_PAGES ? (UINT32_C(1) << left) - 1 : UINT32_MAX;
	frame_mask missing = all & ~masks[i];
	int n = __builtin_popcount(missing);

	return n <= __builtin_popcount(masks[i]) ? missing : 0;
}

static int append(struct touch_set *t, size_t *room, uint64_t page)
{
	struct touch_run *last = t->n_runs ? &t->runs[t->n_runs - 1] : NULL;

	if (last && last->ms == TOUCH_NEVER && last->first + last->pages == page &&
	    last->pages < UINT32_MAX) {
		last->pages++;
	} else {
		if (t->n_runs == *room) {
			size_t more = *room + *room / 2 + 64;
			struct touch_run *runs = reallocarray(t->runs, more, sizeof(*runs));

			if (!runs)
				return -1;
			t->runs = runs;
			*room = more;
		}
		t->runs[t->n_runs++] =
			(struct touch_run){.first = page, .pages = 1, .ms = TOUCH_NEVER};
	}
	t->pages++;
	return 0;
}

int touch_set_fill(struct touch_set *t, uint64_t lazy_pages, struct frem_error *err)
{
	uint64_t frames = frames_of(lazy_pages);
	_cleanup_free_ frame_mask *masks = calloc(frames + 1, sizeof(*masks));
	size_t room = t->n_runs;

	if (!masks)
		return frem_oom(err);
	mark_runs(t, masks);
	for (uint64_t i = 0; i < frames; i++)
		for (frame_mask m = missing_of(masks, i, lazy_pages); m; m &= m - 1)
			if (append(t, &room, i * FRAME_PAGES + (unsigned)__builtin_ctz(m)) < 0)
				return frem_oom(err);
	return 0;
}

size_t touch_set_touched(const struct touch_set *t, uint64_t *ret_pages)
{
	size_t n = t->n_runs;

	*ret_pages = t->pages;
	while (n > 0 && t->runs[n - 1].ms == TOUCH_NEVER)
		*ret_pages -= t->runs[--n].pages;
	return n;
}

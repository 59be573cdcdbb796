/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "touch_runs.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/bytes.h"

#define RUN_MIN 4u /* bytes of a run: four varints */

/* Marks pages [first, first + n) in the bitmap; false if one was marked before. */
static bool mark(uint64_t *seen, uint64_t first, uint64_t n)
{
	while (n > 0) {
		unsigned bit = first % 64;
		uint64_t in_word = 64 - bit < n ? 64 - bit : n;
		uint64_t mask = (in_word == 64 ? ~UINT64_C(0) : (UINT64_C(1) << in_word) - 1)
				<< bit;

		if (seen[first / 64] & mask)
			return false;
		seen[first / 64] |= mask;
		first += in_word;
		n -= in_word;
	}
	return true;
}

int touch_runs_check(const struct wire *w, const struct touch_run *runs, size_t n, uint64_t pages,
		     uint64_t lazy_pages)
{
	_cleanup_free_ uint64_t *seen = NULL;
	uint64_t sum = 0;

	if (lazy_pages > FRAME_PAGES_LIMIT)
		return wire_damaged(w, w->pos, "%" PRIu64 " lazy pages are too many", lazy_pages);
	/* zeroed by the kernel where touched: memory is used for what the runs name */
	seen = calloc((size_t)(lazy_pages / 64 + 1), sizeof(*seen));
	if (!seen)
		return frem_oom(w->err);
	for (size_t i = 0; i < n; i++) {
		if (runs[i].pages == 0)
			return wire_damaged(w, w->pos, "run %zu has no pages", i);
		if (runs[i].first >= lazy_pages || runs[i].pages > lazy_pages - runs[i].first)
			return wire_damaged(w, w->pos,
					    "run %zu is beyond the %" PRIu64 " lazy pages", i,
					    lazy_pages);
		if (!mark(seen, runs[i].first, runs[i].pages))
			return wire_damaged(w, w->pos, "run %zu names a page twice", i);
		sum += runs[i].pages; /* at most lazy_pages, as none is named twice */
	}
	if (sum != pages)
		return wire_damaged(w, w->pos, "%" PRIu64 " pages announced, runs of %" PRIu64,
				    pages, sum);
	return 0;
}

int touch_runs_encode(const struct touch_run *runs, size_t n, struct buffer *out,
		      struct frem_error *err)
{
	uint8_t head[16] = {0};
	uint64_t end = 0, ms = 0;
	size_t start = out->len;

	if (buffer_append(out, head, sizeof(head)) < 0)
		return frem_oom(err);
	for (size_t i = 0; i < n; i++) {
		if (varint_append(out, zigzag(runs[i].first - end)) < 0 ||
		    varint_append(out, runs[i].pages) < 0 ||
		    varint_append(out, zigzag(runs[i].ms - ms)) < 0 ||
		    varint_append(out, runs[i].misses) < 0)
			return frem_oom(err);
		end = runs[i].first + runs[i].pages;
		ms = runs[i].ms;
	}
	put_le64(out->data + start, n);
	put_le64(out->data + start + 8, out->len - start - sizeof(head));
	return 0;
}

static int decode_run(struct wire *w, uint64_t *end, uint64_t *ms, struct touch_run *ret)
{
	uint64_t first = 0, pages = 0, when = 0, misses = 0;
	size_t start = w->pos;
	int r;

	r = wire_varint(w, "a run's first page", &first);
	if (r == 0)
		r = wire_varint(w, "a run's number of pages", &pages);
	if (r == 0)
		r = wire_varint(w, "a run's time", &when);
	if (r == 0)
		r = wire_varint(w, "a run's misses", &misses);
	if (r < 0)
		return r;
	first = *end + unzigzag(first);
	when = *ms + unzigzag(when);
	if (first >= FRAME_PAGES_LIMIT || pages > UINT32_MAX || when > UINT32_MAX ||
	    misses > UINT32_MAX)
		return wire_damaged(w, start, "run is out of range");
	*ret = (struct touch_run){first, (uint32_t)pages, (uint32_t)when, (uint32_t)misses};
	*end = first + pages;
	*ms = when;
	return 0;
}

/* Reads the numbers before the runs; *ret is a cursor over just the runs. */
static int decode_sizes(struct wire *w, uint64_t *ret_n, struct wire *ret)
{
	uint64_t n = 0, bytes = 0;
	size_t start = w->pos;
	int r;

	r = wire_u64(w, "the number of runs", &n);
	if (r == 0)
		r = wire_u64(w, "the runs' size", &bytes);
	if (r < 0)
		return r;
	if (bytes > w->n - w->pos)
		return wire_damaged(w, start + 8, "runs of %" PRIu64 " bytes are too large", bytes);
	/* allocate only for runs that are there */
	if (n > bytes / RUN_MIN)
		return wire_damaged(w, start, "%" PRIu64 " runs in %" PRIu64 " bytes", n, bytes);
	*ret = *w;
	ret->n = w->pos + (size_t)bytes;
	*ret_n = n;
	w->pos = ret->n;
	return 0;
}

int touch_runs_decode(struct wire *w, uint64_t lazy_pages, struct touch_run **ret_runs,
		      size_t *ret_n, uint64_t *ret_pages)
{
	_cleanup_free_ struct touch_run *runs = NULL;
	uint64_t n = 0, end = 0, ms = 0, pages = 0;
	struct wire only = {0};
	int r;

	r = decode_sizes(w, &n, &only);
	if (r < 0)
		return r;
	runs = calloc(n ? (size_t)n : 1, sizeof(*runs));
	if (!runs)
		return frem_oom(w->err);
	for (size_t i = 0; i < n; i++) {
		r = decode_run(&only, &end, &ms, &runs[i]);
		if (r < 0)
			return r;
		pages += runs[i].pages;
	}
	r = wire_end(&only);
	if (r == 0)
		r = touch_runs_check(&only, runs, (size_t)n, pages, lazy_pages);
	if (r < 0)
		return r;
	*ret_runs = TAKE_PTR(runs);
	*ret_n = (size_t)n;
	*ret_pages = pages;
	return 0;
}

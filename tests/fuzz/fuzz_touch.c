/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The touch object, three times, as in fuzz_head.c. What is taken names no page twice, and encodes
 * to what decodes to the same.
 */
#include "format/touch.h"
#include "fuzz.h"
#include "sample.h"
#include "wire.h"

#define LAZY 100000u

static void check_set(const struct touch_set *t)
{
	static uint8_t seen[LAZY];
	uint64_t pages = 0;

	memset(seen, 0, sizeof(seen));
	for (size_t i = 0; i < t->n_runs; i++) {
		FUZZ_ASSERT(t->runs[i].pages > 0);
		for (uint64_t p = t->runs[i].first; p < t->runs[i].first + t->runs[i].pages; p++) {
			FUZZ_ASSERT(p < LAZY && !seen[p]);
			seen[p] = 1;
			pages++;
		}
	}
	FUZZ_ASSERT(pages == t->pages && pages == t->index->pages);
}

static void read_touch(const void *data, size_t n)
{
	_cleanup_touch_set_ struct touch_set *t = NULL, *again = NULL;
	_cleanup_buffer_ struct buffer out = {0};
	struct frem_error err = {0};
	uint64_t size;

	if (touch_measure(data, n, &size, &err) < 0 || touch_decode(data, n, LAZY, &t, &err) < 0) {
		fuzz_refused(&err, "touch: ");
		return;
	}
	FUZZ_ASSERT(size == n && t->frames_offset == n);
	check_set(t);
	FUZZ_ASSERT(touch_encode(t, &out, &err) == 0);
	FUZZ_ASSERT(touch_decode(out.data, out.len, LAZY, &again, &err) == 0);
	FUZZ_ASSERT(again->n_runs == t->n_runs);
	for (size_t i = 0; i < t->n_runs; i++) {
		const struct touch_run *a = &again->runs[i], *b = &t->runs[i];

		FUZZ_ASSERT(a->first == b->first && a->pages == b->pages);
		FUZZ_ASSERT(a->ms == b->ms && a->misses == b->misses);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	_cleanup_buffer_ struct buffer wrapped = {0}, resigned = {0};

	read_touch(data, n);
	if (n > SAMPLE_PLAIN_MAX)
		return 0;
	sample_wrap_plain(&object_touch, data, n, &wrapped);
	read_touch(wrapped.data, wrapped.len);
	if (n >= OBJECT_HEADER_SIZE && buffer_append(&resigned, data, n) == 0) {
		sample_resign(&resigned);
		read_touch(resigned.data, resigned.len);
	}
	return 0;
}

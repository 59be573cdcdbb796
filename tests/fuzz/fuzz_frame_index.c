/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The frame index: what is taken is consistent, and encodes to the same bytes. */
#include "format/frame.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	_cleanup_frame_index_ struct frame_index *x = NULL;
	_cleanup_buffer_ struct buffer again = {0};
	struct frem_error err = {0};
	uint64_t offset = 0;

	if (frame_index_decode(data, n, &x, &err) < 0) {
		fuzz_refused(&err, "frame index: ");
		return 0;
	}
	for (size_t i = 0; i < x->frames; i++) {
		FUZZ_ASSERT(frame_pages(x, i) >= 1 && frame_pages(x, i) <= FRAME_PAGES);
		FUZZ_ASSERT(x->entries[i].stored <= FRAME_STORED_MAX);
		FUZZ_ASSERT(x->offsets[i] == offset);
		offset += x->entries[i].stored;
	}
	FUZZ_ASSERT(x->offsets[x->frames] == offset);
	FUZZ_ASSERT(frame_index_encode(x, &again, &err) == 0);
	FUZZ_ASSERT(again.len == n && memcmp(again.data, data, n) == 0);
	return 0;
}

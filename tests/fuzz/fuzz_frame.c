/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Payloads of frames with a digest that matches. The first byte is the number of pages, the next
 * four are the mask of zero pages.
 */
#include "base/bytes.h"
#include "base/digest.h"
#include "format/frame.h"
#include "fuzz.h"

#define GUARD 64u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static uint8_t raw[FRAME_RAW_MAX + GUARD];
	static struct frame_codec *codec;
	struct frame_entry e = {0};
	struct frem_error err = {0};
	unsigned pages;

	if (!codec)
		FUZZ_ASSERT(frame_codec_new(1, &codec, NULL) == 0);
	if (n < 5 || n - 5 > FRAME_STORED_MAX)
		return 0;
	pages = data[0] % FRAME_PAGES + 1;
	e.zero_mask = get_le32(data + 1);
	e.stored = (uint32_t)(n - 5);
	if (e.stored)
		digest_of(data + 5, e.stored, e.digest, sizeof(e.digest));
	memset(raw + (size_t)pages * PAGE_BYTES, 0xa5, GUARD);
	if (frame_decode(codec, &e, pages, data + 5, e.stored, raw, &err) < 0)
		fuzz_refused(&err, "frame: ");
	for (unsigned i = 0; i < GUARD; i++)
		FUZZ_ASSERT(raw[(size_t)pages * PAGE_BYTES + i] == 0xa5);
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "format_damage.h"

#include <errno.h>

#include "base/digest.h"
#include "format/frame.h"

static struct frame_codec *codec;
static uint8_t raw[FRAME_RAW_MAX], back[FRAME_RAW_MAX];
static struct frem_error err;

static int setup(void **state)
{
	(void)state;
	return frame_codec_new(1, &codec, &err);
}

static int teardown(void **state)
{
	(void)state;
	frame_codec_free(codec);
	return 0;
}

enum fill { ZERO, SAME, NOISE };

static void fill(unsigned page, enum fill how)
{
	uint8_t *p = raw + (size_t)page * PAGE_BYTES;
	uint32_t x = page * 2654435761u + 12345;

	for (size_t i = 0; i < PAGE_BYTES; i++) {
		x = x * 1664525u + 1013904223u;
		p[i] = how == ZERO ? 0 : how == SAME ? 'a' : (uint8_t)(x >> 24);
	}
}

static void round_trip(unsigned pages, struct buffer *out, struct frame_entry *e)
{
	assert_int_equal(frame_encode(codec, raw, pages, out, e, &err), 0);
	memset(back, 0xee, sizeof(back));
	assert_int_equal(frame_decode(codec, e, pages, out->data, out->len, back, &err), 0);
	assert_memory_equal(raw, back, (size_t)pages * PAGE_BYTES);
}

static void every_number_of_pages(void **state)
{
	(void)state;
	for (unsigned pages = 1; pages <= FRAME_PAGES; pages++) {
		_cleanup_buffer_ struct buffer out = {0};
		struct frame_entry e;

		for (unsigned i = 0; i < pages; i++)
			fill(i, (i + pages) % 3);
		round_trip(pages, &out, &e);
		assert_int_equal(e.stored, out.len);
		for (unsigned i = 0; i < FRAME_PAGES; i++)
			assert_int_equal(e.zero_mask >> i & 1,
					 i < pages && (i + pages) % 3 == ZERO);
	}
}

static void zero_pages_take_no_bytes(void **state)
{
	static const uint8_t none[DIGEST_FRAME_SIZE];
	_cleanup_buffer_ struct buffer out = {0};
	struct frame_entry e;

	(void)state;
	memset(raw, 0, sizeof(raw));
	round_trip(FRAME_PAGES, &out, &e);
	assert_int_equal(out.len, 0);
	assert_int_equal(e.zero_mask, 0xffffffff);
	assert_memory_equal(e.digest, none, sizeof(none));
	/* one byte, wherever it is, makes a page worth storing */
	for (size_t at = 0; at < PAGE_BYTES; at += 455) {
		raw[PAGE_BYTES + at] = 1;
		out.len = 0;
		round_trip(2, &out, &e);
		assert_int_equal(e.zero_mask, 1);
		raw[PAGE_BYTES + at] = 0;
	}
}

static void a_page_of_one_byte_is_not_zero(void **state)
{
	_cleanup_buffer_ struct buffer out = {0};
	struct frame_entry e;

	(void)state;
	fill(0, SAME);
	round_trip(1, &out, &e);
	assert_int_equal(e.zero_mask, 0);
	assert_true(out.len < 100);
}

static void noise_is_stored_as_it_is(void **state)
{
	_cleanup_buffer_ struct buffer out = {0};
	struct frame_entry e;

	(void)state;
	for (unsigned i = 0; i < FRAME_PAGES; i++)
		fill(i, i == 3 ? ZERO : NOISE);
	round_trip(FRAME_PAGES, &out, &e);
	assert_int_equal(out.len, 31 * PAGE_BYTES);
	assert_memory_equal(out.data + 3 * PAGE_BYTES, raw + 4 * PAGE_BYTES, PAGE_BYTES);
}

static void payloads_are_appended(void **state)
{
	_cleanup_buffer_ struct buffer out = {0};
	struct frame_entry a, b;

	(void)state;
	fill(0, NOISE);
	fill(1, SAME);
	assert_int_equal(frame_encode(codec, raw, 1, &out, &a, &err), 0);
	assert_int_equal(frame_encode(codec, raw + PAGE_BYTES, 1, &out, &b, &err), 0);
	assert_int_equal(out.len, a.stored + b.stored);
	assert_int_equal(frame_decode(codec, &b, 1, out.data + a.stored, b.stored, back, &err), 0);
	assert_memory_equal(back, raw + PAGE_BYTES, PAGE_BYTES);
	assert_int_equal(frame_encode(codec, raw, 0, &out, &a, &err), -EINVAL);
	assert_int_equal(frame_encode(codec, raw, FRAME_PAGES + 1, &out, &a, &err), -EINVAL);
}

/* ---- damage ---- */

static struct frame_entry entry;
static unsigned entry_pages;

static int decode_payload(const void *data, size_t n, struct frem_error *e)
{
	struct frame_index x = {.pages = entry_pages, .frames = 1, .entries = &entry};
	uint64_t offsets[2] = {0, entry.stored};

	x.offsets = offsets;
	return frame_decode_nth(codec, &x, 0, "pages", 4096, data, n, back, e);
}

static void damaged_payloads_are_found(void **state)
{
	(void)state;
	for (int noise = 0; noise <= 1; noise++) {
		_cleanup_buffer_ struct buffer out = {0};

		entry_pages = noise ? 1 : FRAME_PAGES;
		for (unsigned i = 0; i < entry_pages; i++)
			fill(i, noise ? NOISE : i % 2 ? SAME : ZERO);
		if (!noise)
			memset(raw + 3 * PAGE_BYTES, 't', 9);
		assert_int_equal(frame_encode(codec, raw, entry_pages, &out, &entry, &err), 0);
		every_damage_is_found(decode_payload, &out, "pages: frame 0 at offset 4096: ");
	}
}

static void expect_entry_refused(struct frame_entry e, const struct buffer *out, const char *why)
{
	struct frem_error got = {0};

	assert_true(frame_decode(codec, &e, 2, out->data, out->len, back, &got) < 0);
	assert_int_equal(got.code, FREM_DAMAGED);
	assert_string_equal(got.text, why);
}

/* Payloads whose digest is right, but that are no frame of two pages. */
static void hostile_payloads_are_refused(void **state)
{
	_cleanup_buffer_ struct buffer out = {0};
	struct frame_entry e, bad;

	(void)state;
	fill(0, SAME);
	fill(1, SAME);
	round_trip(2, &out, &e);
	bad = e;
	bad.zero_mask = 1;
	expect_entry_refused(bad, &out, "frame: payload does not hold as many bytes as its pages");
	bad.zero_mask = 3;
	expect_entry_refused(bad, &out, "frame: payload has the wrong size");
	/* a second zstd frame behind the first */
	assert_int_equal(buffer_append(&out, NULL, out.len), 0);
	memcpy(out.data + e.stored, out.data, e.stored);
	bad = e;
	bad.stored = (uint32_t)out.len;
	digest_of(out.data, out.len, bad.digest, sizeof(bad.digest));
	expect_entry_refused(bad, &out, "frame: payload is not one zstd frame");
	/* no zstd frame at all */
	memset(out.data, 0x55, out.len);
	digest_of(out.data, out.len, bad.digest, sizeof(bad.digest));
	expect_entry_refused(bad, &out, "frame: payload does not hold as many bytes as its pages");
	/* nothing, for two pages */
	out.len = bad.stored = 0;
	memset(bad.digest, 0, sizeof(bad.digest));
	expect_entry_refused(bad, &out, "frame: payload has the wrong size");
}

/* A frame that announces two pages and holds more must not be decompressed beyond them. */
static void a_bomb_stays_in_its_pages(void **state)
{
	/* by hand: content size of 8192, then blocks of 8192 times 'a' */
	static const uint8_t head[] = {0x28, 0xb5, 0x2f, 0xfd, 0x60, 0x00, 0x1f};
	static const uint8_t more[] = {0x02, 0x00, 0x01, 'a'}, last[] = {0x03, 0x00, 0x01, 'a'};

	(void)state;
	for (int blocks = 1; blocks <= 3; blocks++) {
		_cleanup_buffer_ struct buffer out = {0};
		struct frame_entry e = {0};
		int r;

		buffer_append(&out, head, sizeof(head));
		for (int i = 1; i < blocks; i++)
			buffer_append(&out, more, sizeof(more));
		buffer_append(&out, last, sizeof(last));
		e.stored = (uint32_t)out.len;
		digest_of(out.data, out.len, e.digest, sizeof(e.digest));
		memset(back, 0, sizeof(back));
		r = frame_decode(codec, &e, 2, out.data, out.len, back, &err);
		assert_int_equal(back[2 * PAGE_BYTES], 0);
		assert_int_equal(r<0, blocks> 1);
		if (blocks == 1)
			assert_int_equal(back[2 * PAGE_BYTES - 1], 'a');
		else
			assert_string_equal(err.text, "frame: payload is not decompressible");
	}
}

/* ---- index ---- */

/* Payloads of all kinds, some of them damaged. */
static void payloads_are_used_where_they_are(void **state)
{
	const uint32_t damaged = 1 << 5 | 1 << 7 | 1 << 11 | 1 << 12;

	(void)state;
	for (unsigned i = 0; i < FRAME_PAGES; i++) {
		_cleanup_buffer_ struct buffer out = {0};
		const uint8_t *at = NULL;
		struct frame_entry e;
		int r;

		for (unsigned k = 0; k <= i; k++)
			fill(k, (i % 4 < 3 ? i : k) % 3);
		round_trip(i + 1, &out, &e);
		if (i == 5)
			out.data[out.len / 2] ^= 1;
		if (i == 11)
			e.digest[3] ^= 1;
		if (i == 12)
			e.digest[0] ^= 1; /* of nothing */
		r = frame_open(codec, &e, i + 1, out.data, out.len - (i == 7), back, &at, &err);
		if (damaged >> i & 1) {
			assert_true(r < 0 && err.code == FREM_DAMAGED && !at);
			continue;
		}
		assert_int_equal(r, 0);
		assert_memory_equal(raw, at, (i + 1) * PAGE_BYTES);
		assert_int_equal(at == out.data, out.len == (i + 1) * PAGE_BYTES);
	}
}

static void index_round_trips(void **state)
{
	static const uint64_t sizes[] = {0, 1, 31, 32, 33, 64, 1000};

	(void)state;
	for (size_t s = 0; s < sizeof(sizes) / sizeof(*sizes); s++) {
		_cleanup_frame_index_ struct frame_index *x = NULL, *y = NULL;
		_cleanup_buffer_ struct buffer out = {0};
		uint64_t offset = 0;

		assert_int_equal(frame_index_new(sizes[s], &x, &err), 0);
		assert_int_equal(x->frames, (sizes[s] + 31) / 32);
		for (size_t i = 0; i < x->frames; i++) {
			x->entries[i].stored = (uint32_t)(i * 100 % 4096 + 1);
			memset(x->entries[i].digest, (int)i, DIGEST_FRAME_SIZE);
		}
		frame_index_seal(x);
		assert_int_equal(frame_index_encode(x, &out, &err), 0);
		assert_int_equal(frame_index_decode(out.data, out.len, &y, &err), 0);
		assert_int_equal(y->pages, sizes[s]);
		assert_int_equal(y->frames, x->frames);
		assert_memory_equal(y->entries, x->entries, x->frames * sizeof(*x->entries));
		for (size_t i = 0; i < y->frames; i++) {
			assert_int_equal(y->offsets[i], offset);
			offset += y->entries[i].stored;
		}
		assert_int_equal(y->offsets[y->frames], offset);
	}
}

static void index_refuses_what_it_could_not_read(void **state)
{
	_cleanup_frame_index_ struct frame_index *x = NULL;
	_cleanup_buffer_ struct buffer out = {0};

	(void)state;
	assert_true(frame_index_new(FRAME_PAGES_LIMIT + 1, &x, &err) < 0);
	assert_null(x);
	assert_int_equal(frame_index_new(33, &x, &err), 0);
	/* entry 0 was never filled */
	assert_true(frame_index_encode(x, &out, &err) < 0);
	assert_int_equal(err.code, FREM_FAILED);
	assert_string_equal(err.text, "frame index: payload is missing at offset 24");
	assert_int_equal(out.len, 0);
}

static int decode_index(const void *data, size_t n, struct frem_error *e)
{
	_cleanup_frame_index_ struct frame_index *x = NULL;

	return frame_index_decode(data, n, &x, e);
}

static void cut_indexes_are_found(void **state)
{
	_cleanup_frame_index_ struct frame_index *x = NULL;
	_cleanup_buffer_ struct buffer out = {0};

	(void)state;
	assert_int_equal(frame_index_new(100, &x, &err), 0);
	for (size_t i = 0; i < x->frames; i++)
		x->entries[i].stored = 77;
	assert_int_equal(frame_index_encode(x, &out, &err), 0);
	for (size_t n = 0; n < out.len; n++)
		expect_damaged(decode_index, out.data, n, "frame index: ");
	assert_int_equal(buffer_append(&out, NULL, 24), 0);
	expect_damaged(decode_index, out.data, out.len, "frame index: ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_number_of_pages),
		cmocka_unit_test(zero_pages_take_no_bytes),
		cmocka_unit_test(a_page_of_one_byte_is_not_zero),
		cmocka_unit_test(noise_is_stored_as_it_is),
		cmocka_unit_test(payloads_are_appended),
		cmocka_unit_test(damaged_payloads_are_found),
		cmocka_unit_test(hostile_payloads_are_refused),
		cmocka_unit_test(a_bomb_stays_in_its_pages),
		cmocka_unit_test(payloads_are_used_where_they_are),
		cmocka_unit_test(index_round_trips),
		cmocka_unit_test(index_refuses_what_it_could_not_read),
		cmocka_unit_test(cut_indexes_are_found),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}

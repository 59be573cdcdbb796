/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "format/frame.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>
#include <zstd_errors.h>

struct frame_codec {
	ZSTD_CCtx *c;
	ZSTD_DCtx *d;
	uint8_t packed[FRAME_RAW_MAX]; /* the pages that are not zero, where some are */
};

static int zstd_failed(const char *doing, size_t code, struct frem_error *err)
{
	if (ZSTD_getErrorCode(code) == ZSTD_error_memory_allocation)
		return frem_oom(err);
	return frem_fail(err, FREM_FAILED, 0, "%s: %s", doing, ZSTD_getErrorName(code));
}

int frame_codec_new(int level, struct frame_codec **ret, struct frem_error *err)
{
	_cleanup_frame_codec_ struct frame_codec *c = NULL;
	size_t z;

	c = calloc(1, sizeof(*c));
	if (!c)
		return frem_oom(err);
	c->c = ZSTD_createCCtx();
	c->d = ZSTD_createDCtx();
	if (!c->c || !c->d)
		return frem_oom(err);
	z = ZSTD_CCtx_setParameter(c->c, ZSTD_c_compressionLevel, level);
	if (!ZSTD_isError(z))
		z = ZSTD_CCtx_setParameter(c->c, ZSTD_c_checksumFlag, 0);
	if (ZSTD_isError(z))
		return frem_context(err, zstd_failed("setting up compression", z, err), "frame");
	*ret = TAKE_PTR(c);
	return 0;
}

void frame_codec_free(struct frame_codec *c)
{
	if (!c)
		return;
	ZSTD_freeCCtx(c->c);
	ZSTD_freeDCtx(c->d);
	free(c);
}

/* A page equals itself moved by one byte only if all its bytes are the same. */
static bool is_zero_page(const uint8_t *page)
{
	return page[0] == 0 && memcmp(page, page + 1, PAGE_BYTES - 1) == 0;
}

static uint32_t find_zero_pages(const uint8_t *raw, unsigned pages)
{
	uint32_t mask = 0;

	for (unsigned i = 0; i < pages; i++)
		if (is_zero_page(raw + (size_t)i * PAGE_BYTES))
			mask |= UINT32_C(1) << i;
	return mask;
}

/* The pages that are not zero, contiguous. */
static const uint8_t *pack(struct frame_codec *c, const uint8_t *raw, unsigned pages, uint32_t mask)
{
	uint8_t *to = c->packed;

	if (mask == 0)
		return raw;
	for (unsigned i = 0; i < pages; i++) {
		if (mask >> i & 1)
			continue;
		memcpy(to, raw + (size_t)i * PAGE_BYTES, PAGE_BYTES);
		to += PAGE_BYTES;
	}
	return c->packed;
}

/* Moves the packed pages at raw apart, the last one first, and fills in the zero ones. */
static void unpack(uint8_t *raw, unsigned pages, uint32_t mask, size_t packed)
{
	for (unsigned i = pages; i-- > 0;) {
		uint8_t *to = raw + (size_t)i * PAGE_BYTES;

		if (mask >> i & 1) {
			memset(to, 0, PAGE_BYTES);
			continue;
		}
		packed -= PAGE_BYTES;
		if (to != raw + packed)
			memcpy(to, raw + packed, PAGE_BYTES);
	}
}

int frame_encode(struct frame_codec *c, const void *raw, unsigned pages, struct buffer *out,
		 struct frame_entry *ret, struct frem_error *err)
{
	struct frame_entry e = {0};
	const uint8_t *packed;
	size_t n, z;

	if (pages < 1 || pages > FRAME_PAGES)
		return frem_fail(err, FREM_FAILED, EINVAL, "frame: %u pages", pages);
	e.zero_mask = find_zero_pages(raw, pages);
	n = frame_payload_raw(&e, pages);
	if (n == 0) {
		*ret = e;
		return 0;
	}
	if (buffer_reserve(out, ZSTD_compressBound(n)) < 0)
		return frem_oom(err);
	packed = pack(c, raw, pages, e.zero_mask);
	z = ZSTD_compress2(c->c, out->data + out->len, out->cap - out->len, packed, n);
	if (ZSTD_isError(z))
		return frem_context(err, zstd_failed("compressing", z, err), "frame");
	if (z >= n) {
		memcpy(out->data + out->len, packed, n);
		z = n;
	}
	e.stored = (uint32_t)z;
	digest_of(out->data + out->len, z, e.digest, sizeof(e.digest));
	out->len += z;
	*ret = e;
	return 0;
}

static int damaged(struct frem_error *err, const char *what)
{
	return frem_fail(err, FREM_DAMAGED, 0, "%s", what);
}

/* One zstd frame of exactly n bytes that gives exactly `want`; needs no window of its own. */
static int decompress(struct frame_codec *c, const void *stored, size_t n, uint8_t *raw,
		      size_t want, struct frem_error *err)
{
	size_t z;

	if (ZSTD_getFrameContentSize(stored, n) != want)
		return damaged(err, "payload does not hold as many bytes as its pages");
	if (ZSTD_findFrameCompressedSize(stored, n) != n)
		return damaged(err, "payload is not one zstd frame");
	z = ZSTD_decompressDCtx(c->d, raw, want, stored, n);
	if (ZSTD_isError(z) && ZSTD_getErrorCode(z) == ZSTD_error_memory_allocation)
		return frem_oom(err);
	if (z != want)
		return damaged(err, "payload is not decompressible");
	return 0;
}

/* Whether the n bytes are those of the entry. */
static int check(const struct frame_entry *entry, uint32_t want, const void *stored, size_t n,
		 struct frem_error *err)
{
	uint8_t digest[DIGEST_FRAME_SIZE] = {0}; /* of nothing */

	if (n != entry->stored || n > want || (n == 0) != (want == 0))
		return damaged(err, "payload has the wrong size");
	if (n > 0)
		digest_of(stored, n, digest, sizeof(digest));
	if (!digest_equal(digest, entry->digest, sizeof(digest)))
		return damaged(err, "digest of the payload does not match");
	return 0;
}

int frame_open(struct frame_codec *c, const struct frame_entry *entry, unsigned pages,
	       const void *stored, size_t n, void *raw, const uint8_t **ret, struct frem_error *err)
{
	uint32_t want;
	int r;

	if (pages < 1 || pages > FRAME_PAGES)
		return frem_fail(err, FREM_FAILED, EINVAL, "%u pages", pages);
	want = frame_payload_raw(entry, pages);
	r = check(entry, want, stored, n, err);
	if (r == 0 && n == pages * PAGE_BYTES) {
		*ret = stored;
		return 0;
	}
	if (r == 0 && n == want && n > 0)
		memcpy(raw, stored, n);
	else if (r == 0 && n > 0)
		r = decompress(c, stored, n, raw, want, err);
	if (r < 0)
		return r;
	unpack(raw, pages, entry->zero_mask, want);
	*ret = raw;
	return 0;
}

static int decode(struct frame_codec *c, const struct frame_entry *entry, unsigned pages,
		  const void *stored, size_t n, void *raw, struct frem_error *err)
{
	const uint8_t *at = NULL;
	int r = frame_open(c, entry, pages, stored, n, raw, &at, err);

	if (r == 0 && at != raw)
		memcpy(raw, at, (size_t)pages * PAGE_BYTES);
	return r;
}

int frame_decode(struct frame_codec *c, const struct frame_entry *entry, unsigned pages,
		 const void *stored, size_t n, void *raw, struct frem_error *err)
{
	int r = decode(c, entry, pages, stored, n, raw, err);

	return r < 0 ? frem_context(err, r, "frame") : 0;
}

int frame_decode_nth(struct frame_codec *c, const struct frame_index *x, size_t i,
		     const char *object, uint64_t base, const void *stored, size_t n, void *raw,
		     struct frem_error *err)
{
	int r = decode(c, &x->entries[i], frame_pages(x, i), stored, n, raw, err);

	if (r < 0)
		frem_context(err, r, "%s: frame %zu at offset %" PRIu64, object, i,
			     base + x->offsets[i]);
	return r;
}

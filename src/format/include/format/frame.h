/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Frames: runs of up to 32 pages, compressed, the unit of fetch and of verification.
 *
 * Pages that are all zero are left out of the payload and marked in the index entry, so that a
 * frame of nothing but zero pages takes no bytes at all. The payload of the other pages,
 * concatenated, is one zstd frame or, where that would not be shorter, the pages themselves: a
 * payload as long as its pages is never decompressed. The index entry carries the BLAKE3
 * digest of the stored payload bytes. Everything here is pure: no I/O. A codec is used by one
 * thread at a time.
 * Byte-level description: docs/format.md.
 */
#ifndef FREM_FORMAT_FRAME_H
#define FREM_FORMAT_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/digest.h"
#include "base/error.h"

#define PAGE_BYTES 4096u /* the page size of every image; others are refused */
#define FRAME_PAGES 32u
#define FRAME_RAW_MAX (FRAME_PAGES * PAGE_BYTES)
#define FRAME_STORED_MAX FRAME_RAW_MAX	      /* a payload is never longer than its pages */
#define FRAME_PAGES_LIMIT (UINT64_C(1) << 36) /* pages an object may hold: 256 TiB */

struct frame_entry {
	uint32_t stored;    /* bytes of payload, 0 to those of its pages */
	uint32_t zero_mask; /* bit i: page i of the frame is all zero and not in the payload */
	uint8_t digest[DIGEST_FRAME_SIZE]; /* all zero where there is no payload */
};

/* The index of an object made of frames: all frames have 32 pages but the last, which has 1 to 32.
 */
struct frame_index {
	uint64_t pages;		     /* pages in all frames together */
	size_t frames;		     /* ceil(pages / FRAME_PAGES) */
	struct frame_entry *entries; /* frames of them */
	uint64_t *offsets;	     /* frames + 1: where each payload starts, and the total size */
};

struct frame_codec;

/* level: zstd's compression level. Makes room for all that follows: no other call allocates but for
 * growing `out`. */
int frame_codec_new(int level, struct frame_codec **ret, struct frem_error *err);
void frame_codec_free(struct frame_codec *c);

/* Encodes `pages` (1..32) pages at raw; appends the payload to out and fills *ret. out is unchanged
 * on failure. */
int frame_encode(struct frame_codec *c, const void *raw, unsigned pages, struct buffer *out,
		 struct frame_entry *ret, struct frem_error *err);
/*
 * Verifies the digest of the n payload bytes and decodes them into raw (pages * PAGE_BYTES). Any
 * mismatch is FREM_DAMAGED and leaves raw undefined: it must not be used.
 */
int frame_decode(struct frame_codec *c, const struct frame_entry *entry, unsigned pages,
		 const void *stored, size_t n, void *raw, struct frem_error *err);

/*
 * The same without moving what need not be: *ret is `stored` where that holds the pages as they
 * are, else raw. `stored` must be memory that nobody else can change: it is looked at twice.
 */
int frame_open(struct frame_codec *c, const struct frame_entry *entry, unsigned pages,
	       const void *stored, size_t n, void *raw, const uint8_t **ret,
	       struct frem_error *err);

/*
 * frame_decode() of frame number i of the object called `object` ("pages"), whose frames start at
 * offset `base` in it. Error: FREM_DAMAGED "OBJECT: frame I at offset N: ...".
 */
int frame_decode_nth(struct frame_codec *c, const struct frame_index *x, size_t i,
		     const char *object, uint64_t base, const void *stored, size_t n, void *raw,
		     struct frem_error *err);

/* Bytes of the pages that an entry of a frame of `pages` pages does not elide. */
static inline uint32_t frame_payload_raw(const struct frame_entry *entry, unsigned pages)
{
	uint32_t all = (uint32_t)((UINT64_C(1) << pages) - 1);

	return (uint32_t)__builtin_popcount(all & ~entry->zero_mask) * PAGE_BYTES;
}

/* Number of pages of frame number i. */
static inline unsigned frame_pages(const struct frame_index *x, size_t i)
{
	uint64_t left = x->pages - (uint64_t)i * FRAME_PAGES;

	return left < FRAME_PAGES ? (unsigned)left : FRAME_PAGES;
}

/* Allocates an index for `pages` pages, at most FRAME_PAGES_LIMIT, with zeroed entries. */
int frame_index_new(uint64_t pages, struct frame_index **ret, struct frem_error *err);
void frame_index_free(struct frame_index *x);
/* Recomputes the offsets from the entries' sizes. */
void frame_index_seal(struct frame_index *x);
/* Appends the index; an entry that could not be read back is refused. */
int frame_index_encode(const struct frame_index *x, struct buffer *out, struct frem_error *err);
/* Decodes exactly n bytes; every size is bounded. Error: FREM_DAMAGED, with the offset. */
int frame_index_decode(const void *data, size_t n, struct frame_index **ret,
		       struct frem_error *err);

FREM_CLEANUP(struct frame_codec *, cleanup_frame_codec, frame_codec_free)
FREM_CLEANUP(struct frame_index *, cleanup_frame_index, frame_index_free)
#define _cleanup_frame_codec_ _cleanup_(cleanup_frame_codec)
#define _cleanup_frame_index_ _cleanup_(cleanup_frame_index)

#endif

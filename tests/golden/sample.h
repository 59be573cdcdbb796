/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One small checkpoint, always the same, for the golden files and the tests of src/format/. The
 * functions abort() where they fail: they only ever fail in a broken build.
 */
#ifndef FREM_TESTS_SAMPLE_H
#define FREM_TESTS_SAMPLE_H

#include "base/buffer.h"
#include "format/frame.h"
#include "format/head.h"
#include "format/manifest.h"
#include "format/touch.h"
#include "wire.h"

#define SAMPLE_NAME "redis-7.0 größe"
#define SAMPLE_SEQ 12u
#define SAMPLE_LAZY 66u	  /* lazy pages */
#define SAMPLE_EAGER 3u	  /* eager pages */
#define SAMPLE_TOUCHED 9u /* touch pages */

/* The content of lazy page `number`: some are random, the others text or zero. */
void sample_page(uint64_t number, uint8_t out[PAGE_BYTES]);
/* The pages object and its sealed index. */
struct frame_index *sample_pages(struct buffer *ret);

/* One record of the sample head, in order; ends with a type of 0. */
struct sample_record {
	char type;	  /* 'f'ile, 's'parse, 'r'un, 'i'ndex */
	const char *name; /* not of an index */
	uint64_t value;	  /* size of a sparse file, offset of a run, pages of an index */
	uint64_t length;  /* of a file or run */
	uint64_t page;	  /* a file or run holds the first bytes of this sample page on */
};
extern const struct sample_record sample_records[];
void sample_head(struct buffer *ret);

/* The runs are owned by the program; free the rest with sample_touch_done(). */
void sample_touch(const struct buffer *manifest, struct touch_set *ret, struct buffer *ret_frames);
void sample_touch_done(struct touch_set *t);

/* Of the objects above; the tasks are owned by the program. */
void sample_manifest(const struct buffer *head, const struct buffer *pages, struct manifest *ret);

/* ---- objects that no writer of ours would write ---- */

/* An object with the given body and digests that match. */
void sample_wrap(const struct object_kind *kind, const void *body, size_t n, struct buffer *ret);
#define SAMPLE_PLAIN_MAX (UINT64_C(128) << 10)
/* The same, at most SAMPLE_PLAIN_MAX bytes, without compression: fast enough for a fuzzer. */
void sample_wrap_plain(const struct object_kind *kind, const void *body, size_t n,
		       struct buffer *ret);
/* Makes the sizes and digests in the header of an object match what follows. */
void sample_resign(struct buffer *object);
/* Makes the digest of a manifest match its other members, and its text canonical. */
int sample_resign_manifest(const void *text, size_t n, struct buffer *ret);
/* The body of an object, decompressed. */
void sample_unwrap(const struct buffer *object, struct buffer *ret);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the binary objects have in common: bounded reading with messages that name the object and
 * the offset, the 128-byte object header, and the zstd body behind it. docs/format.md is the spec.
 */
#ifndef FREM_FORMAT_WIRE_H
#define FREM_FORMAT_WIRE_H

#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/digest.h"
#include "base/error.h"

/* ---- a cursor over bytes from outside ---- */

struct wire {
	const uint8_t *data;
	size_t n;
	size_t pos;
	uint64_t base;	    /* offset of data in what `of` names */
	const char *object; /* "head" */
	const char *of;	    /* "", or " of the body" */
	struct frem_error *err;
};

/* Fails with "OBJECT: ... at offset N"; pos counts from w->data. Always returns a failure. */
int wire_damaged(const struct wire *w, size_t pos, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The next n bytes, or NULL with the error filled; `what` names them in the message. */
const uint8_t *wire_take(struct wire *w, size_t n, const char *what);
int wire_u32(struct wire *w, const char *what, uint32_t *ret);
int wire_u64(struct wire *w, const char *what, uint64_t *ret);
/* LEB128 in its shortest form. */
int wire_varint(struct wire *w, const char *what, uint64_t *ret);
/* Nothing may be left. */
int wire_end(const struct wire *w);

#define VARINT_MAX 10 /* bytes of a 64-bit varint */

/* Appends v; returns 0 or -ENOMEM. */
int varint_append(struct buffer *b, uint64_t v);

/* Small differences of either sign as small numbers; wraps, and so holds any difference. */
static inline uint64_t zigzag(uint64_t difference)
{
	return difference << 1 ^ (0 - (difference >> 63));
}

static inline uint64_t unzigzag(uint64_t v)
{
	return v >> 1 ^ (0 - (v & 1));
}

/* ---- the object header ---- */

#define OBJECT_HEADER_SIZE 128u
#define OBJECT_HEADER_STORED 16 /* place of the body's size */
#define OBJECT_HEADER_RAW 24	/* place of its size once decompressed */
#define OBJECT_HEADER_BOUND 64	/* place of the digest that binds the object */
#define OBJECT_RAW_MAX (UINT64_C(1) << 48)

/* What kind an object is of, and in which version of its layout. */
struct object_kind {
	const char *name;  /* "head", for messages */
	const char *magic; /* 8 bytes */
	uint32_t version;
};

extern const struct object_kind object_head, object_touch;

struct object_header {
	uint64_t stored;	     /* bytes of the body as stored */
	uint64_t raw;		     /* bytes it decompresses to */
	uint8_t digest[DIGEST_SIZE]; /* of the stored body */
	uint8_t bound[DIGEST_SIZE];  /* digest of what the object belongs to, or zeros */
};

void object_header_encode(const struct object_kind *kind, const struct object_header *h,
			  uint8_t out[OBJECT_HEADER_SIZE]);
/* Fails where data does not start with a sound header of this object. */
int object_header_decode(const struct object_kind *kind, const void *data, size_t n,
			 struct object_header *ret, struct frem_error *err);

/* ---- the body ---- */

struct body_writer;

/* Writes header and body of an object; level: zstd's. */
int body_writer_new(int level, struct body_writer **ret, struct frem_error *err);
void body_writer_free(struct body_writer *w);
int body_write(struct body_writer *w, const void *data, size_t n, struct frem_error *err);
/* Ends the body, fills in the header (bound may be NULL) and hands the object over. */
int body_finish(struct body_writer *w, const struct object_kind *kind, const uint8_t *bound,
		struct buffer *ret, struct frem_error *err);

struct body_reader;

/*
 * Reads the body of an object, n bytes behind a header decoded before, and checks its digest first.
 * `stored` must outlive the reader. Needs a bounded window (see docs/format.md) and no more.
 */
int body_reader_new(const char *object, const struct object_header *h, const void *stored, size_t n,
		    struct body_reader **ret, struct frem_error *err);
void body_reader_free(struct body_reader *r);
/* Bytes read so far: the offset of the next one in the body. */
uint64_t body_offset(const struct body_reader *r);
/* Exactly n bytes, to data. */
int body_read(struct body_reader *r, void *data, size_t n);
/* Exactly n bytes, appended to b, which only grows as they really arrive. */
int body_read_buffer(struct body_reader *r, uint64_t n, struct buffer *b);
/* Reads n bytes and drops them. */
int body_skip(struct body_reader *r, uint64_t n);
/* Nothing may be left, neither of the body nor behind it. */
int body_end(struct body_reader *r);

FREM_CLEANUP(struct body_writer *, cleanup_body_writer, body_writer_free)
FREM_CLEANUP(struct body_reader *, cleanup_body_reader, body_reader_free)
#define _cleanup_body_writer_ _cleanup_(cleanup_body_writer)
#define _cleanup_body_reader_ _cleanup_(cleanup_body_reader)

/* ---- the frame index, wherever it stands ---- */

struct frame_index;

/* Decodes all of w, whose messages say where. */
int frame_index_parse(struct wire *w, struct frame_index **ret);

#endif

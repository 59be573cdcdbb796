/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The body of an object: one zstd frame, written and read as a stream. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "wire.h"

#define WINDOW_LOG 20		      /* what a writer uses at most */
#define READ_WINDOW_LOG 21	      /* what a reader grants */
#define READ_STEP (UINT64_C(1) << 20) /* a buffer grows by this much beyond what has arrived */

struct body_writer {
	ZSTD_CCtx *z;
	struct buffer out; /* header, then the body as far as it is written */
	uint64_t raw;
};

struct body_reader {
	ZSTD_DCtx *z;
	ZSTD_inBuffer in;
	struct wire at; /* for messages: base is the offset */
	uint64_t raw;	/* what the header announced */
	int ended;	/* the zstd frame's end was seen */
};

static int zstd_failed(const char *doing, size_t code, struct frem_error *err)
{
	if (ZSTD_getErrorCode(code) == ZSTD_error_memory_allocation)
		return frem_oom(err);
	return frem_fail(err, FREM_FAILED, 0, "%s: %s", doing, ZSTD_getErrorName(code));
}

int body_writer_new(int level, struct body_writer **ret, struct frem_error *err)
{
	_cleanup_body_writer_ struct body_writer *w = calloc(1, sizeof(*w));
	size_t z;

	if (!w || buffer_append(&w->out, NULL, OBJECT_HEADER_SIZE) < 0)
		return frem_oom(err);
	w->z = ZSTD_createCCtx();
	if (!w->z)
		return frem_oom(err);
	z = ZSTD_CCtx_setParameter(w->z, ZSTD_c_compressionLevel, level);
	if (!ZSTD_isError(z))
		z = ZSTD_CCtx_setParameter(w->z, ZSTD_c_windowLog, WINDOW_LOG);
	if (ZSTD_isError(z))
		return zstd_failed("setting up compression", z, err);
	*ret = TAKE_PTR(w);
	return 0;
}

void body_writer_free(struct body_writer *w)
{
	if (!w)
		return;
	ZSTD_freeCCtx(w->z);
	buffer_done(&w->out);
	free(w);
}

static int compress(struct body_writer *w, const void *data, size_t n, ZSTD_EndDirective how,
		    struct frem_error *err)
{
	ZSTD_inBuffer in = {data, n, 0};
	size_t left;

	do {
		ZSTD_outBuffer out = {0};

		if (buffer_reserve(&w->out, ZSTD_CStreamOutSize()) < 0)
			return frem_oom(err);
		out.dst = w->out.data + w->out.len;
		out.size = w->out.cap - w->out.len;
		left = ZSTD_compressStream2(w->z, &out, &in, how);
		if (ZSTD_isError(left))
			return zstd_failed("compressing", left, err);
		w->out.len += out.pos;
	} while (how == ZSTD_e_end ? left != 0 : in.pos < in.size);
	return 0;
}

int body_write(struct body_writer *w, const void *data, size_t n, struct frem_error *err)
{
	if (n > OBJECT_RAW_MAX - w->raw)
		return frem_fail(err, FREM_FAILED, 0, "object of more than %" PRIu64 " bytes",
				 OBJECT_RAW_MAX);
	if (n == 0)
		return 0;
	w->raw += n;
	return compress(w, data, n, ZSTD_e_continue, err);
}

int body_finish(struct body_writer *w, const struct object_kind *kind, const uint8_t *bound,
		struct buffer *ret, struct frem_error *err)
{
	struct object_header h = {0};
	int r;

	r = compress(w, NULL, 0, ZSTD_e_end, err);
	if (r < 0)
		return r;
	h.stored = w->out.len - OBJECT_HEADER_SIZE;
	h.raw = w->raw;
	digest_of(w->out.data + OBJECT_HEADER_SIZE, h.stored, h.digest, sizeof(h.digest));
	if (bound)
		memcpy(h.bound, bound, sizeof(h.bound));
	object_header_encode(kind, &h, w->out.data);
	*ret = w->out;
	w->out = (struct buffer){0};
	return 0;
}

int body_reader_new(const char *object, const struct object_header *h, const void *stored, size_t n,
		    struct body_reader **ret, struct frem_error *err)
{
	struct wire w = {.base = OBJECT_HEADER_SIZE, .object = object, .of = "", .err = err};
	_cleanup_body_reader_ struct body_reader *r = NULL;
	uint8_t digest[DIGEST_SIZE];

	if (n < h->stored)
		return wire_damaged(&w, n, "cut off within the body");
	if (n > h->stored)
		return wire_damaged(&w, h->stored, "trailing garbage");
	digest_of(stored, n, digest, sizeof(digest));
	if (!digest_equal(digest, h->digest, sizeof(digest)))
		return wire_damaged(&w, 0, "digest of the body does not match");
	r = calloc(1, sizeof(*r));
	if (!r)
		return frem_oom(err);
	r->z = ZSTD_createDCtx();
	if (!r->z ||
	    ZSTD_isError(ZSTD_DCtx_setParameter(r->z, ZSTD_d_windowLogMax, READ_WINDOW_LOG)))
		return frem_oom(err);
	r->in = (ZSTD_inBuffer){stored, n, 0};
	r->at = (struct wire){.object = object, .of = " of the body", .err = err};
	r->raw = h->raw;
	*ret = TAKE_PTR(r);
	return 0;
}

void body_reader_free(struct body_reader *r)
{
	if (!r)
		return;
	ZSTD_freeDCtx(r->z);
	free(r);
}

uint64_t body_offset(const struct body_reader *r)
{
	return r->at.base;
}

/* One step: gives what it can, 1 to n bytes, or none where that ends the frame. */
static int inflate(struct body_reader *r, void *data, size_t n, size_t *ret_got)
{
	ZSTD_outBuffer out = {data, n, 0};
	size_t before = r->in.pos, left;

	*ret_got = 0;
	if (r->ended)
		return 0;
	left = ZSTD_decompressStream(r->z, &out, &r->in);
	if (ZSTD_isError(left)) {
		if (ZSTD_getErrorCode(left) == ZSTD_error_memory_allocation)
			return frem_oom(r->at.err);
		return wire_damaged(&r->at, 0, "not decompressible (%s)", ZSTD_getErrorName(left));
	}
	r->ended = left == 0;
	r->at.base += out.pos;
	*ret_got = out.pos;
	if (out.pos == 0 && r->in.pos == before && !r->ended && r->in.pos == r->in.size)
		return wire_damaged(&r->at, 0, "zstd frame is cut off");
	return 0;
}

/* Nothing is read beyond what the header announced. */
static int check_left(const struct body_reader *r, uint64_t n)
{
	uint64_t left = r->raw - r->at.base;

	if (n <= left)
		return 0;
	return wire_damaged(&r->at, 0, "%" PRIu64 " bytes announced, %" PRIu64 " left", n, left);
}

int body_read(struct body_reader *r, void *data, size_t n)
{
	uint8_t *to = data;
	size_t got;
	int rc = check_left(r, n);

	if (rc < 0)
		return rc;
	while (n > 0) {
		rc = inflate(r, to, n, &got);
		if (rc < 0)
			return rc;
		if (got == 0 && r->ended)
			return wire_damaged(&r->at, 0, "body ends early");
		to += got;
		n -= got;
	}
	return 0;
}

int body_read_buffer(struct body_reader *r, uint64_t n, struct buffer *b)
{
	int rc = check_left(r, n);

	if (rc < 0)
		return rc;
	while (n > 0) {
		size_t step = n < READ_STEP ? (size_t)n : READ_STEP;

		if (buffer_reserve(b, step) < 0)
			return frem_oom(r->at.err);
		rc = body_read(r, b->data + b->len, step);
		if (rc < 0)
			return rc;
		b->len += step;
		n -= step;
	}
	return 0;
}

int body_skip(struct body_reader *r, uint64_t n)
{
	uint8_t scratch[16384];
	int rc = check_left(r, n);

	while (n > 0 && rc == 0) {
		size_t step = n < sizeof(scratch) ? (size_t)n : sizeof(scratch);

		rc = body_read(r, scratch, step);
		n -= step;
	}
	return rc;
}

int body_end(struct body_reader *r)
{
	uint8_t extra;
	size_t got;
	int rc;

	while (!r->ended) {
		rc = inflate(r, &extra, 1, &got);
		if (rc < 0)
			return rc;
		if (got > 0)
			return wire_damaged(&r->at, 0, "body is longer than announced");
	}
	if (r->at.base != r->raw)
		return wire_damaged(&r->at, 0, "body ends %" PRIu64 " bytes early",
				    r->raw - r->at.base);
	if (r->in.pos != r->in.size)
		return wire_damaged(&r->at, 0, "trailing garbage behind the zstd frame");
	return 0;
}

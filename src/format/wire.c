/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "wire.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"

/* Places in the object header. */
#define AT_VERSION 8
#define AT_FLAGS 12
#define AT_STORED OBJECT_HEADER_STORED
#define AT_RAW OBJECT_HEADER_RAW
#define AT_DIGEST 32
#define AT_BOUND OBJECT_HEADER_BOUND
#define AT_SELF 96

const struct object_kind object_head = {"head", "FREMHEAD", 2};
const struct object_kind object_touch = {"touch", "FREMTCH1", 3};

int wire_damaged(const struct wire *w, size_t pos, const char *fmt, ...)
{
	char what[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	frem_fail(w->err, FREM_DAMAGED, 0, "%s: %s at offset %" PRIu64 "%s", w->object, what,
		  w->base + pos, w->of);
	return -EIO;
}

const uint8_t *wire_take(struct wire *w, size_t n, const char *what)
{
	if (n > w->n - w->pos) {
		wire_damaged(w, w->n, "cut off within %s", what);
		return NULL;
	}
	w->pos += n;
	return w->data + w->pos - n;
}

int wire_u32(struct wire *w, const char *what, uint32_t *ret)
{
	const uint8_t *p = wire_take(w, 4, what);

	if (!p)
		return -EIO;
	*ret = get_le32(p);
	return 0;
}

int wire_u64(struct wire *w, const char *what, uint64_t *ret)
{
	const uint8_t *p = wire_take(w, 8, what);

	if (!p)
		return -EIO;
	*ret = get_le64(p);
	return 0;
}

int wire_varint(struct wire *w, const char *what, uint64_t *ret)
{
	size_t start = w->pos;
	uint64_t v = 0;

	for (unsigned shift = 0;; shift += 7) {
		uint8_t byte;

		if (w->pos == w->n)
			return wire_damaged(w, w->n, "cut off within %s", what);
		byte = w->data[w->pos++];
		/* the tenth byte holds one bit; a last byte of zero would be a longer form */
		if ((shift == 63 && byte > 1) || (byte == 0 && shift > 0))
			return wire_damaged(w, start, "%s is not a number", what);
		v |= (uint64_t)(byte & 0x7f) << shift;
		if (byte < 0x80)
			break;
	}
	*ret = v;
	return 0;
}

int wire_end(const struct wire *w)
{
	if (w->pos != w->n)
		return wire_damaged(w, w->pos, "trailing garbage");
	return 0;
}

int varint_append(struct buffer *b, uint64_t v)
{
	uint8_t bytes[VARINT_MAX];
	size_t n = 0;

	while (v >= 0x80) {
		bytes[n++] = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	bytes[n++] = (uint8_t)v;
	return buffer_append(b, bytes, n);
}

void object_header_encode(const struct object_kind *kind, const struct object_header *h,
			  uint8_t out[OBJECT_HEADER_SIZE])
{
	memcpy(out, kind->magic, AT_VERSION);
	put_le32(out + AT_VERSION, kind->version);
	put_le32(out + AT_FLAGS, 0);
	put_le64(out + AT_STORED, h->stored);
	put_le64(out + AT_RAW, h->raw);
	memcpy(out + AT_DIGEST, h->digest, DIGEST_SIZE);
	memcpy(out + AT_BOUND, h->bound, DIGEST_SIZE);
	digest_of(out, AT_SELF, out + AT_SELF, DIGEST_SIZE);
}

/* The layout up to here, and so this check, is the same in every version of the format but the
 * older ones, whose digests were others. */
static int header_check(const struct wire *w, const struct object_kind *kind)
{
	uint8_t digest[DIGEST_SIZE];
	uint32_t version;

	if (w->n < OBJECT_HEADER_SIZE)
		return wire_damaged(w, w->n, "cut off within the header");
	if (memcmp(w->data, kind->magic, AT_VERSION) != 0)
		return wire_damaged(w, 0, "not a %s object: wrong magic", w->object);
	version = get_le32(w->data + AT_VERSION);
	if (version < kind->version)
		return wire_damaged(w, AT_VERSION,
				    "format version %" PRIu32
				    " is of an older frem and no longer read",
				    version);
	digest_of(w->data, AT_SELF, digest, sizeof(digest));
	if (!digest_equal(digest, w->data + AT_SELF, sizeof(digest)))
		return wire_damaged(w, AT_SELF, "digest of the header does not match");
	if (version > kind->version)
		return wire_damaged(w, AT_VERSION,
				    "written by a newer frem (format version %" PRIu32 ")",
				    version);
	if (get_le32(w->data + AT_FLAGS) != 0)
		return wire_damaged(w, AT_FLAGS, "unknown flags 0x%" PRIx32,
				    get_le32(w->data + AT_FLAGS));
	return 0;
}

int object_header_decode(const struct object_kind *kind, const void *data, size_t n,
			 struct object_header *ret, struct frem_error *err)
{
	struct wire w = {.data = data, .n = n, .object = kind->name, .of = "", .err = err};
	struct object_header h;
	int r;

	r = header_check(&w, kind);
	if (r < 0)
		return r;
	h.stored = get_le64(w.data + AT_STORED);
	h.raw = get_le64(w.data + AT_RAW);
	if (h.stored > OBJECT_RAW_MAX)
		return wire_damaged(&w, AT_STORED, "body of %" PRIu64 " bytes is too large",
				    h.stored);
	if (h.raw > OBJECT_RAW_MAX)
		return wire_damaged(&w, AT_RAW, "body of %" PRIu64 " bytes is too large", h.raw);
	memcpy(h.digest, w.data + AT_DIGEST, DIGEST_SIZE);
	memcpy(h.bound, w.data + AT_BOUND, DIGEST_SIZE);
	*ret = h;
	return 0;
}

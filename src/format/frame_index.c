/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "format/frame.h"
#include "wire.h"

#define INDEX_VERSION 2u
#define INDEX_HEADER_SIZE 24u
#define ENTRY_SIZE 24u

/* Places in an entry. */
#define AT_STORED 0
#define AT_MASK 4
#define AT_DIGEST 8

static const uint8_t index_magic[8] = {'F', 'R', 'E', 'M', 'F', 'I', 'D', 'X'};

int frame_index_new(uint64_t pages, struct frame_index **ret, struct frem_error *err)
{
	_cleanup_frame_index_ struct frame_index *x = NULL;

	if (pages > FRAME_PAGES_LIMIT)
		return frem_fail(err, FREM_FAILED, EFBIG, "frame index: %" PRIu64 " pages", pages);
	x = calloc(1, sizeof(*x));
	if (!x)
		return frem_oom(err);
	x->pages = pages;
	x->frames = (size_t)((pages + FRAME_PAGES - 1) / FRAME_PAGES);
	x->entries = calloc(x->frames ? x->frames : 1, sizeof(*x->entries));
	x->offsets = calloc(x->frames + 1, sizeof(*x->offsets));
	if (!x->entries || !x->offsets)
		return frem_oom(err);
	*ret = TAKE_PTR(x);
	return 0;
}

void frame_index_free(struct frame_index *x)
{
	if (!x)
		return;
	free(x->entries);
	free(x->offsets);
	free(x);
}

void frame_index_seal(struct frame_index *x)
{
	uint64_t offset = 0;

	for (size_t i = 0; i < x->frames; i++) {
		x->offsets[i] = offset;
		offset += x->entries[i].stored;
	}
	x->offsets[x->frames] = offset;
}

/* Checks one entry; w and pos only say where it is. */
static int check_entry(const struct wire *w, size_t pos, const struct frame_entry *e,
		       unsigned pages)
{
	static const uint8_t no_digest[DIGEST_FRAME_SIZE];
	uint32_t raw = frame_payload_raw(e, pages);

	if (e->zero_mask & ~(uint32_t)((UINT64_C(1) << pages) - 1))
		return wire_damaged(w, pos + AT_MASK, "zero page beyond the %u of the frame",
				    pages);
	if (e->stored > raw)
		return wire_damaged(w, pos + AT_STORED, "payload of %" PRIu32 " bytes is too large",
				    e->stored);
	if (e->stored == 0 && raw != 0)
		return wire_damaged(w, pos + AT_STORED, "payload is missing");
	if (e->stored == 0 && !digest_equal(e->digest, no_digest, sizeof(no_digest)))
		return wire_damaged(w, pos + AT_DIGEST, "digest of no payload is not zero");
	return 0;
}

int frame_index_encode(const struct frame_index *x, struct buffer *out, struct frem_error *err)
{
	struct wire at = {.object = "frame index", .of = "", .err = err};
	uint8_t head[INDEX_HEADER_SIZE] = {0}, *to;
	size_t size;
	int r;

	for (size_t i = 0; i < x->frames; i++) {
		r = check_entry(&at, INDEX_HEADER_SIZE + i * ENTRY_SIZE, &x->entries[i],
				frame_pages(x, i));
		if (r < 0 && err)
			err->code = FREM_FAILED; /* nothing stored is damaged */
		if (r < 0)
			return r;
	}
	memcpy(head, index_magic, 8);
	put_le32(head + 8, INDEX_VERSION);
	put_le64(head + 16, x->pages);
	/* no overflow: FRAME_PAGES_LIMIT bounds the number of frames */
	size = INDEX_HEADER_SIZE + x->frames * ENTRY_SIZE;
	if (buffer_reserve(out, size) < 0)
		return frem_oom(err);
	memcpy(out->data + out->len, head, sizeof(head));
	to = out->data + out->len + INDEX_HEADER_SIZE;
	for (size_t i = 0; i < x->frames; i++, to += ENTRY_SIZE) {
		put_le32(to + AT_STORED, x->entries[i].stored);
		put_le32(to + AT_MASK, x->entries[i].zero_mask);
		memcpy(to + AT_DIGEST, x->entries[i].digest, DIGEST_FRAME_SIZE);
	}
	out->len += size;
	return 0;
}

/* Reads the header up to and including the number of pages. */
static int parse_header(struct wire *w, uint64_t *ret_pages)
{
	uint32_t version = 0, flags = 0;
	const uint8_t *magic;
	size_t start = w->pos;
	uint64_t pages = 0;
	int r;

	magic = wire_take(w, 8, "the magic");
	if (!magic)
		return -EIO;
	if (memcmp(magic, index_magic, 8) != 0)
		return wire_damaged(w, start, "wrong magic");
	r = wire_u32(w, "the version", &version);
	if (r < 0)
		return r;
	if (version > INDEX_VERSION)
		return wire_damaged(w, start + 8,
				    "written by a newer frem (format version %" PRIu32 ")",
				    version);
	if (version != INDEX_VERSION)
		return wire_damaged(w, start + 8, "unknown format version %" PRIu32, version);
	r = wire_u32(w, "the flags", &flags);
	if (r < 0)
		return r;
	if (flags != 0)
		return wire_damaged(w, start + 12, "unknown flags 0x%" PRIx32, flags);
	r = wire_u64(w, "the number of pages", &pages);
	if (r < 0)
		return r;
	if (pages > FRAME_PAGES_LIMIT)
		return wire_damaged(w, start + 16, "%" PRIu64 " pages are too many", pages);
	*ret_pages = pages;
	return 0;
}

int frame_index_parse(struct wire *w, struct frame_index **ret)
{
	_cleanup_frame_index_ struct frame_index *x = NULL;
	uint64_t pages = 0, frames;
	int r;

	r = parse_header(w, &pages);
	if (r < 0)
		return r;
	frames = (pages + FRAME_PAGES - 1) / FRAME_PAGES;
	/* allocate only for entries that are there */
	if ((w->n - w->pos) / ENTRY_SIZE < frames)
		return wire_damaged(w, w->n, "cut off within its %" PRIu64 " entries", frames);
	r = frame_index_new(pages, &x, w->err);
	if (!x)
		return r;
	for (size_t i = 0; i < x->frames; i++) {
		const uint8_t *p = w->data + w->pos;

		x->entries[i].stored = get_le32(p + AT_STORED);
		x->entries[i].zero_mask = get_le32(p + AT_MASK);
		memcpy(x->entries[i].digest, p + AT_DIGEST, DIGEST_FRAME_SIZE);
		r = check_entry(w, w->pos, &x->entries[i], frame_pages(x, i));
		if (r < 0)
			return r;
		w->pos += ENTRY_SIZE;
	}
	r = wire_end(w);
	if (r < 0)
		return r;
	frame_index_seal(x);
	*ret = TAKE_PTR(x);
	return 0;
}

int frame_index_decode(const void *data, size_t n, struct frame_index **ret, struct frem_error *err)
{
	struct wire w = {.data = data, .n = n, .object = "frame index", .of = "", .err = err};

	return frame_index_parse(&w, ret);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "format/touch.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "touch_meta.h"
#include "touch_runs.h"
#include "wire.h"

#define TOUCH_LEVEL 3 /* zstd's; the descriptor comes before the first touch page */

_Static_assert(TOUCH_HEADER_SIZE == OBJECT_HEADER_SIZE, "one header for all objects");

void touch_set_free(struct touch_set *t)
{
	if (!t)
		return;
	free(t->runs);
	frame_index_free(t->index);
	free(t);
}

/* What no reader would take is not written. */
static int check_set(const struct touch_set *t, struct frem_error *err)
{
	struct wire at = {.object = "touch", .of = " of the runs", .err = err};
	uint64_t end = 0;
	int r;

	if (!t->index || t->index->pages != t->pages)
		return frem_fail(err, FREM_FAILED, 0,
				 "touch: frames of other pages than those of the runs");
	for (size_t i = 0; i < t->n_runs; i++) {
		if (t->runs[i].first >= FRAME_PAGES_LIMIT)
			return frem_fail(err, FREM_FAILED, 0,
					 "touch: page %" PRIu64 " is too large", t->runs[i].first);
		if (t->runs[i].first + t->runs[i].pages > end)
			end = t->runs[i].first + t->runs[i].pages;
	}
	r = touch_runs_check(&at, t->runs, t->n_runs, t->pages, end);
	if (r < 0 && err && err->code == FREM_DAMAGED)
		err->code = FREM_FAILED; /* nothing stored is damaged */
	return r;
}

static int encode_descriptor(const struct touch_set *t, struct buffer *out, struct frem_error *err)
{
	int r = touch_meta_encode(&t->info, out, err);

	if (r == 0)
		r = touch_runs_encode(t->runs, t->n_runs, out, err);
	if (r == 0)
		r = frame_index_encode(t->index, out, err);
	if (r == 0 && out->len > TOUCH_DESCRIPTOR_MAX)
		r = frem_fail(err, FREM_FAILED, 0, "descriptor of %zu bytes is too large",
			      out->len);
	return r < 0 ? frem_context(err, r, "touch") : 0;
}

int touch_encode(const struct touch_set *t, struct buffer *out, struct frem_error *err)
{
	_cleanup_buffer_ struct buffer raw = {0}, object = {0};
	_cleanup_body_writer_ struct body_writer *w = NULL;
	int r;

	r = check_set(t, err);
	if (r == 0)
		r = encode_descriptor(t, &raw, err);
	if (r < 0)
		return r;
	r = body_writer_new(TOUCH_LEVEL, &w, err);
	if (r == 0)
		r = body_write(w, raw.data, raw.len, err);
	if (r == 0)
		r = body_finish(w, &object_touch, t->manifest, &object, err);
	if (r < 0)
		return frem_context(err, r, "touch");
	return buffer_append(out, object.data, object.len) < 0 ? frem_oom(err) : 0;
}

static int decode_header(const void *data, size_t n, struct object_header *ret,
			 struct frem_error *err)
{
	struct wire w = {.object = "touch", .of = "", .err = err};
	int r = object_header_decode(&object_touch, data, n, ret, err);

	if (r < 0)
		return r;
	if (ret->stored > TOUCH_DESCRIPTOR_MAX)
		return wire_damaged(&w, OBJECT_HEADER_STORED,
				    "descriptor of %" PRIu64 " bytes is too large", ret->stored);
	if (ret->raw > TOUCH_DESCRIPTOR_MAX)
		return wire_damaged(&w, OBJECT_HEADER_RAW,
				    "descriptor of %" PRIu64 " bytes is too large", ret->raw);
	return 0;
}

int touch_measure(const void *data, size_t n, uint64_t *ret_size, struct frem_error *err)
{
	struct object_header h;
	int r = decode_header(data, n, &h, err);

	if (r == 0)
		*ret_size = OBJECT_HEADER_SIZE + h.stored;
	return r;
}

/* No descriptor of at most lazy_pages pages is longer than this. */
static uint64_t descriptor_most(uint64_t lazy_pages)
{
	uint64_t pages = lazy_pages < FRAME_PAGES_LIMIT ? lazy_pages : FRAME_PAGES_LIMIT;

	/* a run of one page has at most 17 bytes, its frame's entry 24 */
	return TOUCH_META_MAX + 64 + (pages + 1) * 41;
}

/* The descriptor, decompressed. */
static int read_descriptor(const struct object_header *h, const uint8_t *stored, size_t n,
			   uint64_t lazy_pages, struct buffer *ret, struct frem_error *err)
{
	struct wire w = {.object = "touch", .of = "", .err = err};
	_cleanup_body_reader_ struct body_reader *body = NULL;
	int r;

	if (h->raw > descriptor_most(lazy_pages))
		return wire_damaged(&w, OBJECT_HEADER_RAW,
				    "descriptor of %" PRIu64 " bytes is too large for %" PRIu64
				    " lazy pages",
				    h->raw, lazy_pages);
	r = body_reader_new("touch", h, stored, n, &body, err);
	if (r == 0)
		r = body_read_buffer(body, h->raw, ret);
	if (r == 0)
		r = body_end(body);
	return r;
}

static int decode_descriptor(const struct buffer *raw, uint64_t lazy_pages, struct touch_set *t,
			     struct frem_error *err)
{
	struct wire w = {.data = raw->data,
			 .n = raw->len,
			 .object = "touch",
			 .of = " of the descriptor",
			 .err = err};
	struct wire index;
	int r;

	r = touch_meta_decode(&w, &t->info);
	if (r == 0)
		r = touch_runs_decode(&w, lazy_pages, &t->runs, &t->n_runs, &t->pages);
	if (r < 0)
		return r;
	index = (struct wire){.data = raw->data + w.pos,
			      .n = raw->len - w.pos,
			      .base = w.pos,
			      .object = "frame index",
			      .of = w.of,
			      .err = err};
	r = frame_index_parse(&index, &t->index);
	if (r < 0)
		return frem_context(err, r, "touch");
	if (t->index->pages != t->pages)
		return wire_damaged(&w, w.pos, "frames of %" PRIu64 " pages for runs of %" PRIu64,
				    t->index->pages, t->pages);
	return 0;
}

int touch_decode(const void *data, size_t n, uint64_t lazy_pages, struct touch_set **ret,
		 struct frem_error *err)
{
	_cleanup_touch_set_ struct touch_set *t = NULL;
	_cleanup_buffer_ struct buffer raw = {0};
	struct object_header h;
	int r;

	r = decode_header(data, n, &h, err);
	if (r == 0)
		r = read_descriptor(&h, (const uint8_t *)data + OBJECT_HEADER_SIZE,
				    n - OBJECT_HEADER_SIZE, lazy_pages, &raw, err);
	if (r < 0)
		return r;
	t = calloc(1, sizeof(*t));
	if (!t)
		return frem_oom(err);
	r = decode_descriptor(&raw, lazy_pages, t, err);
	if (r < 0)
		return r;
	memcpy(t->manifest, h.bound, sizeof(t->manifest));
	t->frames_offset = n;
	*ret = TAKE_PTR(t);
	return 0;
}

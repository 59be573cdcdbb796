/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "format/head.h"
#include "head_names.h"
#include "head_record.h"
#include "text.h"
#include "wire.h"

struct head_reader {
	struct body_reader *body;
	const struct head_sink *sink;
	struct head_names names;
	uint64_t records;
	bool has_index, ended;
	struct wire at; /* base is the offset of the current record */
	struct frem_error *err;
};

struct record {
	enum head_record type;
	char name[HEAD_NAME_MAX + 1];
	uint64_t value;
	uint64_t length;
};

/* Which of its fields a record uses. */
static const struct {
	bool name, value, length;
} uses[] = {
	[HEAD_FILE] = {true, false, true}, [HEAD_SPARSE] = {true, true, false},
	[HEAD_RUN] = {true, true, true},   [HEAD_INDEX] = {false, false, true},
	[HEAD_END] = {false, true, false},
};

static int read_record(struct head_reader *h, struct record *ret)
{
	uint8_t head[HEAD_RECORD_SIZE];
	unsigned type, name_len;
	int r;

	h->at.base = body_offset(h->body);
	r = body_read(h->body, head, sizeof(head));
	if (r < 0)
		return r;
	type = head[AT_TYPE];
	name_len = head[AT_NAME_LEN];
	if (type < HEAD_FILE || type > HEAD_END)
		return wire_damaged(&h->at, AT_TYPE, "unknown record type %u", type);
	*ret = (struct record){.type = (enum head_record)type,
			       .value = get_le64(head + AT_VALUE),
			       .length = get_le64(head + AT_LENGTH)};
	if ((!uses[type].name && name_len) || get_le16(head + AT_ZERO) ||
	    (!uses[type].value && ret->value) || (!uses[type].length && ret->length))
		return wire_damaged(&h->at, 0, "field not used by record type %u is set", type);
	r = body_read(h->body, ret->name, name_len);
	if (r == 0 && strlen(ret->name) != name_len)
		return wire_damaged(&h->at, HEAD_RECORD_SIZE, "NUL in a file's name");
	return r;
}

/* Applies the rules of the file's kind. */
static int check_name(struct head_reader *h, const struct record *rec)
{
	char quoted[TEXT_QUOTED_SIZE];
	const char *fault = NULL;
	int r;

	if (rec->type == HEAD_FILE)
		r = head_names_file(&h->names, rec->name, rec->length, &fault);
	else if (rec->type == HEAD_SPARSE)
		r = head_names_sparse(&h->names, rec->name, rec->value, &fault);
	else
		r = head_names_run(&h->names, rec->name, rec->value, rec->length, &fault);
	if (r == -ENOMEM)
		return frem_oom(h->err);
	if (r < 0)
		return wire_damaged(&h->at, 0, "image file %s %s",
				    text_quote(rec->name, strlen(rec->name), quoted), fault);
	return 0;
}

static int take_index(struct head_reader *h, const struct record *rec)
{
	_cleanup_frame_index_ struct frame_index *x = NULL;
	_cleanup_buffer_ struct buffer b = {0};
	struct wire w = {.object = "frame index", .of = " of the body", .err = h->err};
	int r;

	if (h->has_index)
		return wire_damaged(&h->at, 0, "second frame index");
	if (rec->length > HEAD_INDEX_MAX)
		return wire_damaged(&h->at, AT_LENGTH,
				    "frame index of %" PRIu64 " bytes is too large", rec->length);
	h->has_index = true;
	w.base = body_offset(h->body);
	r = body_read_buffer(h->body, rec->length, &b);
	if (r < 0)
		return r;
	w.data = b.data;
	w.n = b.len;
	r = frame_index_parse(&w, &x);
	if (r < 0)
		return frem_context(h->err, r, "%s", h->at.object);
	return h->sink->index ? h->sink->index(h->sink->arg, TAKE_PTR(x), h->err) : 0;
}

static int take_data(struct head_reader *h, const struct record *rec)
{
	const struct head_sink *s = h->sink;
	_cleanup_buffer_ struct buffer b = {0};
	int r;

	if (rec->type == HEAD_FILE ? !s->file : !s->run)
		return body_skip(h->body, rec->length);
	r = body_read_buffer(h->body, rec->length, &b);
	if (r < 0)
		return r;
	if (rec->type == HEAD_FILE)
		return s->file(s->arg, rec->name, b.len ? (const void *)b.data : "", b.len, h->err);
	return s->run(s->arg, rec->name, rec->value, b.data, b.len, h->err);
}

static int take_record(struct head_reader *h, const struct record *rec)
{
	const struct head_sink *s = h->sink;
	int r;

	switch (rec->type) {
	case HEAD_END:
		if (rec->value != h->records)
			return wire_damaged(&h->at, AT_VALUE,
					    "%" PRIu64 " records announced, %" PRIu64 " found",
					    rec->value, h->records);
		h->ended = true;
		return 0;
	case HEAD_INDEX:
		return take_index(h, rec);
	case HEAD_SPARSE:
		r = check_name(h, rec);
		if (r < 0 || !s->sparse)
			return r;
		return s->sparse(s->arg, rec->name, rec->value, h->err);
	case HEAD_FILE:
	case HEAD_RUN:
		r = check_name(h, rec);
		return r < 0 ? r : take_data(h, rec);
	}
	return wire_damaged(&h->at, AT_TYPE, "unknown record type");
}

static int read_records(struct head_reader *h)
{
	struct record rec;
	int r;

	while (!h->ended) {
		r = read_record(h, &rec);
		if (r == 0)
			r = take_record(h, &rec);
		if (r < 0)
			return r;
		h->records++;
	}
	if (!h->has_index)
		return wire_damaged(&h->at, 0, "no frame index");
	return body_end(h->body);
}

int head_read(const void *data, size_t n, const struct head_sink *sink, struct frem_error *err)
{
	struct head_reader h = {.sink = sink, .err = err};
	struct object_header header;
	static const uint8_t zeros[DIGEST_SIZE];
	int r;

	h.at = (struct wire){.object = "head", .of = "", .err = err};
	r = object_header_decode(&object_head, data, n, &header, err);
	if (r < 0)
		return r;
	if (!digest_equal(header.bound, zeros, sizeof(zeros)))
		return wire_damaged(&h.at, OBJECT_HEADER_BOUND,
				    "field that a head does not use is set");
	r = body_reader_new(h.at.object, &header, (const uint8_t *)data + OBJECT_HEADER_SIZE,
			    n - OBJECT_HEADER_SIZE, &h.body, err);
	if (r < 0)
		return r;
	h.at.of = " of the body";
	r = read_records(&h);
	head_names_done(&h.names);
	body_reader_free(h.body);
	return r;
}

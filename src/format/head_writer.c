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

struct head_writer {
	struct body_writer *body;
	struct head_names names;
	uint64_t records;
	bool has_index;
};

int head_writer_new(struct head_writer **ret, struct frem_error *err)
{
	_cleanup_head_writer_ struct head_writer *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return frem_oom(err);
	r = body_writer_new(HEAD_LEVEL, &w->body, err);
	if (r < 0)
		return frem_context(err, r, "head");
	*ret = TAKE_PTR(w);
	return 0;
}

void head_writer_free(struct head_writer *w)
{
	if (!w)
		return;
	body_writer_free(w->body);
	head_names_done(&w->names);
	free(w);
}

static int put_record(struct head_writer *w, enum head_record type, const char *name,
		      uint64_t value, const void *data, size_t n, struct frem_error *err)
{
	uint8_t head[HEAD_RECORD_SIZE] = {0};
	size_t name_len = strlen(name);
	int r;

	head[AT_TYPE] = (uint8_t)type;
	head[AT_NAME_LEN] = (uint8_t)name_len;
	put_le64(head + AT_VALUE, value);
	put_le64(head + AT_LENGTH, n);
	r = body_write(w->body, head, sizeof(head), err);
	if (r == 0)
		r = body_write(w->body, name, name_len, err);
	if (r == 0)
		r = body_write(w->body, data, n, err);
	if (r < 0)
		return frem_context(err, r, "head");
	w->records++;
	return 0;
}

/* Passes a verdict of head_names on. */
static int refuse(const char *name, int r, const char *fault, struct frem_error *err)
{
	char quoted[TEXT_QUOTED_SIZE];

	if (r == -ENOMEM)
		return frem_oom(err);
	return frem_fail(err, FREM_FAILED, 0, "head: image file %s %s",
			 text_quote(name, strlen(name), quoted), fault);
}

int head_add_file(struct head_writer *w, const char *name, const void *data, size_t n,
		  struct frem_error *err)
{
	const char *fault = NULL;
	int r = head_names_file(&w->names, name, n, &fault);

	if (r < 0)
		return refuse(name, r, fault, err);
	return put_record(w, HEAD_FILE, name, 0, data, n, err);
}

int head_add_sparse(struct head_writer *w, const char *name, uint64_t size, struct frem_error *err)
{
	const char *fault = NULL;
	int r = head_names_sparse(&w->names, name, size, &fault);

	if (r < 0)
		return refuse(name, r, fault, err);
	return put_record(w, HEAD_SPARSE, name, size, NULL, 0, err);
}

int head_add_run(struct head_writer *w, const char *name, uint64_t offset, const void *data,
		 size_t n, struct frem_error *err)
{
	const char *fault = NULL;
	int r = head_names_run(&w->names, name, offset, n, &fault);

	if (r < 0)
		return refuse(name, r, fault, err);
	return put_record(w, HEAD_RUN, name, offset, data, n, err);
}

int head_add_index(struct head_writer *w, const struct frame_index *x, struct frem_error *err)
{
	_cleanup_buffer_ struct buffer b = {0};
	int r;

	if (w->has_index)
		return frem_fail(err, FREM_FAILED, 0, "head: a second frame index");
	r = frame_index_encode(x, &b, err);
	if (r < 0)
		return frem_context(err, r, "head");
	if (b.len > HEAD_INDEX_MAX)
		return frem_fail(err, FREM_FAILED, 0, "head: frame index of %zu bytes is too large",
				 b.len);
	r = put_record(w, HEAD_INDEX, "", 0, b.data, b.len, err);
	if (r == 0)
		w->has_index = true;
	return r;
}

int head_finish(struct head_writer *w, struct buffer *ret, struct frem_error *err)
{
	int r;

	if (!w->has_index)
		return frem_fail(err, FREM_FAILED, 0, "head: no frame index");
	r = put_record(w, HEAD_END, "", w->records, NULL, 0, err);
	if (r < 0)
		return r;
	r = body_finish(w->body, &object_head, NULL, ret, err);
	return r < 0 ? frem_context(err, r, "head") : 0;
}

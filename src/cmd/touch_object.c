/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "touch_object.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "interrupt.h"

/* Header and descriptor from memory, then the frames from a file. */
struct touch_source {
	struct buffer front;
	int fd;
	uint64_t at, size;
};

static ssize_t read_touch(void *arg, void *data, size_t n, struct frem_error *err)
{
	struct touch_source *s = arg;
	int r = interrupt_check(err);

	if (r < 0)
		return r;
	if (n > s->size - s->at)
		n = (size_t)(s->size - s->at);
	if (s->at < s->front.len) {
		if (n > s->front.len - s->at)
			n = s->front.len - (size_t)s->at;
		memcpy(data, s->front.data + s->at, n);
	} else {
		r = file_pread_all(s->fd, data, n, s->at - s->front.len);
		if (r < 0)
			return frem_fail(err, FREM_FAILED, -r, "reading the encoded touch pages");
	}
	s->at += n;
	return (ssize_t)n;
}

static int spool_frames(struct page_encoder *encoder, int fd, struct frem_error *err)
{
	struct store_source source = page_encoder_source(encoder, NULL, NULL);
	_cleanup_free_ uint8_t *chunk = malloc(FRAME_STORED_MAX);

	if (!chunk)
		return frem_oom(err);
	for (;;) {
		ssize_t n = source.read(source.arg, chunk, FRAME_STORED_MAX, err);
		int r;

		if (n <= 0)
			return (int)n;
		r = file_write_all(fd, chunk, (size_t)n);
		if (r < 0)
			return frem_fail(err, FREM_FAILED, -r, "writing the encoded touch pages");
	}
}

static int copy_index(const struct frame_index *from, struct frame_index **ret,
		      struct frem_error *err)
{
	int r = frame_index_new(from->pages, ret, err);

	if (r < 0)
		return r;
	if (from->frames)
		memcpy((*ret)->entries, from->entries, from->frames * sizeof(*from->entries));
	frame_index_seal(*ret);
	return 0;
}

int touch_object_encode(struct touch_set *t, struct page_source from, int fd,
			struct frem_error *err)
{
	_cleanup_page_encoder_ struct page_encoder *encoder = NULL;
	_cleanup_free_ struct page_run *runs = calloc(t->n_runs + 1, sizeof(*runs));
	int r;

	if (!runs)
		return frem_oom(err);
	for (size_t i = 0; i < t->n_runs; i++)
		runs[i] = (struct page_run){t->runs[i].first, t->runs[i].pages};
	r = page_encoder_new(from, runs, t->n_runs, &encoder, err);
	if (r == 0)
		r = spool_frames(encoder, fd, err);
	if (r == 0)
		r = copy_index(page_encoder_index(encoder), &t->index, err);
	return r;
}

int touch_object_put(struct store *s, const struct checkpoint_name *id, const struct touch_set *t,
		     int fd, enum touch_object_mode mode, uint64_t *ret_size,
		     struct frem_error *err)
{
	struct touch_source from = {.fd = fd};
	struct store_source source = {.read = read_touch, .arg = &from};
	char key[NAME_KEY_SIZE];
	int r = touch_encode(t, &from.front, err);

	if (r == 0) {
		from.size = from.front.len + t->index->offsets[t->index->frames];
		source.size = from.size;
		name_key(id, OBJECT_TOUCH, key);
		r = store_put(s, key, &source, mode == TOUCH_OBJECT_NEW, err);
	}
	if (r == 0)
		*ret_size = from.size;
	buffer_done(&from.front);
	return r;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * parts: what the evaluation needs of a checkpoint (a directory NAME/N of a store) besides.
 *
 * parts raw CHECKPOINT DIR: the same checkpoint with its frames uncompressed, into an empty
 * directory (pages that are all zero stay left out). It tells what compression alone gains.
 *
 * parts trace CHECKPOINT: the touch set in its order, a line a frame: the time in ms at which the
 * frame's last page was touched, the pages so far, and the bytes stored so far.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "format/head.h"
#include "stored.h"

#define DECODE_LEVEL 1 /* of no matter: the codec only decodes */

struct parts {
	struct stored from;
	int to; /* a directory */
	struct manifest *manifest;
	struct buffer head;
	struct frame_codec *codec;
	uint8_t raw[FRAME_RAW_MAX];
};

static void parts_done(struct parts *p)
{
	stored_done(&p->from);
	cleanup_close(&p->to);
	manifest_free(p->manifest);
	buffer_done(&p->head);
	frame_codec_free(p->codec);
}

static int create(const struct parts *p, const char *name, int *ret, struct frem_error *err)
{
	*ret = openat(p->to, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	return *ret < 0 ? frem_fail(err, FREM_FAILED, errno, "creating '%s'", name) : 0;
}

static int write_object(const struct parts *p, const char *name, const struct buffer *b,
			struct frem_error *err)
{
	_cleanup_close_ int fd = -1;
	int r = create(p, name, &fd, err);

	if (r < 0)
		return r;
	r = file_write_all(fd, b->data, b->len);
	return r < 0 ? frem_fail(err, FREM_FAILED, -r, "writing '%s'", name) : 0;
}

/* ---- frames ---- */

struct frames {
	const char *object;
	int fd;
	uint64_t base;
	const struct frame_index *index;
};

/* What to do with the decoded pages of a frame, in p->raw. */
typedef int (*frame_fn)(struct parts *p, const struct frames *f, size_t i, void *arg,
			struct frem_error *err);

static int each_frame(struct parts *p, const struct frames *f, frame_fn fn, void *arg,
		      struct frem_error *err)
{
	static uint8_t stored[FRAME_STORED_MAX];
	int r = 0;

	for (size_t i = 0; r == 0 && i < f->index->frames; i++) {
		size_t n = f->index->entries[i].stored;

		r = file_pread_all(f->fd, stored, n, f->base + f->index->offsets[i]);
		if (r < 0)
			return frem_fail(err, FREM_FAILED, -r, "reading '%s'", f->object);
		r = frame_decode_nth(p->codec, f->index, i, f->object, f->base, stored, n, p->raw,
				     err);
		if (r == 0)
			r = fn(p, f, i, arg, err);
	}
	return r;
}

/* An object's frames as plain pages, being written. */
struct plain {
	int fd;
	struct frame_index *index;
	struct digest_stream digest;
	uint64_t size;
};

static int write_plain(struct parts *p, const struct frames *f, size_t i, void *arg,
		       struct frem_error *err)
{
	struct plain *to = arg;
	struct frame_entry *entry = &to->index->entries[i];
	uint32_t n = 0;
	int r;

	entry->zero_mask = f->index->entries[i].zero_mask;
	for (unsigned k = 0; k < frame_pages(f->index, i); k++) {
		if (entry->zero_mask & (UINT32_C(1) << k))
			continue;
		memmove(p->raw + n, p->raw + k * PAGE_BYTES, PAGE_BYTES);
		n += PAGE_BYTES;
	}
	entry->stored = n;
	if (n)
		digest_of(p->raw, n, entry->digest, sizeof(entry->digest));
	digest_update(&to->digest, p->raw, n);
	to->size += n;
	r = file_write_all(to->fd, p->raw, n);
	return r < 0 ? frem_fail(err, FREM_FAILED, -r, "writing '%s'", f->object) : 0;
}

static int make_plain(struct parts *p, const struct frames *f, struct plain *to,
		      struct frem_error *err)
{
	int r = frame_index_new(f->index->pages, &to->index, err);

	digest_start(&to->digest);
	if (r == 0)
		r = each_frame(p, f, write_plain, to, err);
	if (r == 0)
		frame_index_seal(to->index);
	return r;
}

/* ---- raw ---- */

static int add_index(void *arg, struct frame_index *x, struct frem_error *err)
{
	(void)arg;
	(void)err;
	frame_index_free(x); /* another one takes its place */
	return 0;
}

static int add_file(void *arg, const char *name, const void *data, size_t n, struct frem_error *err)
{
	return head_add_file(arg, name, data, n, err);
}

static int add_sparse(void *arg, const char *name, uint64_t size, struct frem_error *err)
{
	return head_add_sparse(arg, name, size, err);
}

static int add_run(void *arg, const char *name, uint64_t offset, const void *data, size_t n,
		   struct frem_error *err)
{
	return head_add_run(arg, name, offset, data, n, err);
}

static int take_index(void *arg, struct frame_index *x, struct frem_error *err)
{
	(void)err;
	*(struct frame_index **)arg = x;
	return 0;
}

static void describe(const void *data, size_t n, struct manifest_object *ret)
{
	ret->size = n;
	digest_of(data, n, ret->digest, DIGEST_SIZE);
}

/* The head with another index of `pages`. */
static int raw_head(struct parts *p, const struct frame_index *index, struct frem_error *err)
{
	_cleanup_head_writer_ struct head_writer *w = NULL;
	_cleanup_buffer_ struct buffer b = {0};
	struct head_sink sink = {
		.file = add_file, .sparse = add_sparse, .run = add_run, .index = add_index};
	int r = head_writer_new(&w, err);

	sink.arg = w;
	if (r == 0)
		r = head_read(p->head.data, p->head.len, &sink, err);
	if (r == 0)
		r = head_add_index(w, index, err);
	if (r == 0)
		r = head_finish(w, &b, err);
	if (r < 0)
		return r;
	describe(b.data, b.len, &p->manifest->head);
	return write_object(p, OBJECT_HEAD, &b, err);
}

static int read_index(struct parts *p, struct frame_index **ret, struct frem_error *err)
{
	struct head_sink sink = {.index = take_index, .arg = ret};

	return head_read(p->head.data, p->head.len, &sink, err);
}

static int raw_pages(struct parts *p, struct frem_error *err)
{
	_cleanup_frame_index_ struct frame_index *index = NULL;
	_cleanup_close_ int fd = -1;
	struct frames f = {.object = OBJECT_PAGES};
	struct plain to = {.fd = -1};
	int r = stored_object(&p->from, OBJECT_PAGES, &fd, err);

	if (r == 0)
		r = read_index(p, &index, err);
	if (r < 0)
		return r;
	f.fd = fd;
	f.index = index;
	if (r == 0)
		r = create(p, OBJECT_PAGES, &to.fd, err);
	if (r == 0)
		r = make_plain(p, &f, &to, err);
	if (r == 0) {
		p->manifest->pages.size = to.size;
		digest_finish(&to.digest, p->manifest->pages.digest);
		r = raw_head(p, to.index, err);
	}
	cleanup_close(&to.fd);
	frame_index_free(to.index);
	return r;
}

/* Its pages come behind the descriptor, whose size is only known when they have been encoded. */
static int append_pages(int from, int to, uint64_t size, struct frem_error *err)
{
	static uint8_t chunk[1 << 16];

	for (uint64_t at = 0; at < size;) {
		size_t n = size - at < sizeof(chunk) ? (size_t)(size - at) : sizeof(chunk);
		int r = file_pread_all(from, chunk, n, at);

		if (r == 0)
			r = file_write_all(to, chunk, n);
		if (r < 0)
			return frem_fail(err, FREM_FAILED, -r, "writing '%s'", OBJECT_TOUCH);
		at += n;
	}
	return 0;
}

static int write_raw_touch(struct parts *p, struct touch_set *t, struct plain *pages,
			   const struct buffer *manifest, struct frem_error *err)
{
	_cleanup_buffer_ struct buffer front = {0};
	_cleanup_close_ int fd = -1;
	int r;

	frame_index_free(t->index);
	t->index = TAKE_PTR(pages->index);
	manifest_digest(manifest->data, manifest->len, t->manifest);
	r = touch_encode(t, &front, err);
	if (r == 0)
		r = create(p, OBJECT_TOUCH, &fd, err);
	if (r < 0)
		return r;
	r = file_write_all(fd, front.data, front.len);
	if (r < 0)
		return frem_fail(err, FREM_FAILED, -r, "writing '%s'", OBJECT_TOUCH);
	return append_pages(pages->fd, fd, pages->size, err);
}

static int raw_touch(struct parts *p, const struct buffer *manifest, struct frem_error *err)
{
	_cleanup_close_ int fd = -1;
	_cleanup_touch_set_ struct touch_set *t = NULL;
	struct plain pages = {.fd = -1};
	struct frames f = {.object = OBJECT_TOUCH};
	int r = stored_object(&p->from, OBJECT_TOUCH, &fd, err);

	if (r == -ENOENT) /* there need not be one */
		return 0;
	if (r == 0)
		r = stored_touch(&p->from, fd, p->manifest->lazy_pages, &t, err);
	if (r < 0 || !t)
		return r;
	f.fd = fd;
	f.base = t->frames_offset;
	f.index = t->index;
	pages.fd = file_in_memory("touch");
	if (pages.fd < 0)
		return frem_fail(err, FREM_FAILED, -pages.fd, "making a file in memory");
	r = make_plain(p, &f, &pages, err);
	if (r == 0)
		r = write_raw_touch(p, t, &pages, manifest, err);
	cleanup_close(&pages.fd);
	frame_index_free(pages.index);
	return r;
}

static int raw(struct parts *p, struct frem_error *err)
{
	_cleanup_buffer_ struct buffer manifest = {0};
	int r = raw_pages(p, err);

	if (r == 0)
		r = manifest_encode(p->manifest, &manifest, err);
	if (r == 0)
		r = raw_touch(p, &manifest, err);
	return r == 0 ? write_object(p, OBJECT_MANIFEST, &manifest, err) : r;
}

/* ---- trace ---- */

static int trace(struct parts *p, struct frem_error *err)
{
	_cleanup_close_ int fd = -1;
	_cleanup_touch_set_ struct touch_set *t = NULL;
	uint64_t pages = 0, touched = 0;
	size_t frame = 0, runs;
	int r = stored_object(&p->from, OBJECT_TOUCH, &fd, err);

	if (r == 0)
		r = stored_touch(&p->from, fd, p->manifest->lazy_pages, &t, err);
	if (r < 0)
		return r;
	runs = touch_set_touched(t, &touched);
	for (size_t i = 0; i < runs; i++) {
		for (uint32_t k = 0; k < t->runs[i].pages; k++) {
			pages++;
			if (pages % FRAME_PAGES != 0 && pages != touched)
				continue;
			frame++;
			printf("%u %" PRIu64 " %" PRIu64 "\n", t->runs[i].ms, pages,
			       t->index->offsets[frame]);
		}
	}
	return 0;
}

static int open_parts(struct parts *p, const char *from, const char *to, struct frem_error *err)
{
	struct checkpoint_name id = {0};
	const struct buffer *manifest = &p->from.manifest;
	const char *name;
	json_t *json;
	int r = stored_open(&p->from, from, err);

	if (r < 0)
		return r;
	p->to = to ? open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (to && p->to < 0)
		return frem_fail(err, FREM_FAILED, errno, "opening '%s'", to);
	/* whatever it says it is, it is that */
	json = json_loadb((const char *)manifest->data, manifest->len, 0, NULL);
	name = json_string_value(json_object_get(json, "name"));
	snprintf(id.name, sizeof(id.name), "%s", name ? name : "");
	id.seq = (uint32_t)json_integer_value(json_object_get(json, "seq"));
	json_decref(json);
	r = manifest_decode(manifest->data, manifest->len, &id, &p->manifest, err);
	if (r == 0)
		r = stored_read(&p->from, OBJECT_HEAD, SIZE_MAX, &p->head, err);
	return r == 0 ? frame_codec_new(DECODE_LEVEL, &p->codec, err) : r;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int arguments;
		int (*run)(struct parts *p, struct frem_error *err);
	} whats[] = {{"raw", 2, raw}, {"trace", 1, trace}};
	static struct parts p = {.from.fd = -1, .to = -1};
	struct frem_error err = {0};
	int r;

	for (size_t i = 0; i < sizeof(whats) / sizeof(*whats); i++) {
		if (argc < 2 || strcmp(argv[1], whats[i].name) != 0 ||
		    argc != 2 + whats[i].arguments)
			continue;
		r = open_parts(&p, argv[2], argc > 3 ? argv[3] : NULL, &err);
		if (r == 0)
			r = whats[i].run(&p, &err);
		if (r < 0)
			fprintf(stderr, "parts: %s\n", err.text);
		parts_done(&p);
		return r < 0 ? (int)err.code : 0;
	}
	fputs("usage: parts raw CHECKPOINT DIR, or parts trace CHECKPOINT\n", stderr);
	return FREM_USAGE;
}

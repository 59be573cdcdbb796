/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sample.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "base/bytes.h"

static struct frem_error err;

static void must(int r)
{
	if (r < 0) {
		fprintf(stderr, "sample: %s\n", err.text);
		abort();
	}
}

void sample_page(uint64_t number, uint8_t out[PAGE_BYTES])
{
	uint64_t x = number * UINT64_C(0x9e3779b97f4a7c15) + 1;

	memset(out, 0, PAGE_BYTES);
	if (number == 0 || number == 7 || number >= 64) {
		for (size_t i = 0; i < PAGE_BYTES; i += 8) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			put_le64(out + i, x);
		}
	} else if (number % 7 < 5) {
		for (size_t i = 0; i + 16 <= PAGE_BYTES; i += 16)
			snprintf((char *)out + i, 16, "page %9u", (unsigned)number);
	}
}

/* Encodes n pages, numbered by `number`, as frames. */
static struct frame_index *encode_pages(const uint64_t *number, size_t n, struct buffer *ret)
{
	_cleanup_frame_codec_ struct frame_codec *codec = NULL;
	struct frame_index *x = NULL;
	static uint8_t raw[FRAME_RAW_MAX];

	must(frame_codec_new(1, &codec, &err));
	must(frame_index_new(n, &x, &err));
	for (size_t i = 0; i < x->frames; i++) {
		for (size_t p = 0; p < frame_pages(x, i); p++)
			sample_page(number[i * FRAME_PAGES + p], raw + p * PAGE_BYTES);
		must(frame_encode(codec, raw, frame_pages(x, i), ret, &x->entries[i], &err));
	}
	frame_index_seal(x);
	return x;
}

struct frame_index *sample_pages(struct buffer *ret)
{
	uint64_t number[SAMPLE_LAZY];

	for (uint64_t i = 0; i < SAMPLE_LAZY; i++)
		number[i] = i;
	return encode_pages(number, SAMPLE_LAZY, ret);
}

const struct sample_record sample_records[] = {
	{'f', "pstree.img", 0, 40, 1},
	{'f', "core-1.img", 0, 1000, 2},
	{'f', "empty.img", 0, 0, 0},
	{'s', "pages-1.img", 73 * PAGE_BYTES, 0, 0},
	{'r', "pages-1.img", 5 * PAGE_BYTES, PAGE_BYTES, 3},
	{'s', "pages-2.img", 0, 0, 0},
	{'r', "pages-1.img", 70 * PAGE_BYTES, 2 * PAGE_BYTES, 4},
	{'f', "größe.img", 0, 600, 7},
	{'i', NULL, SAMPLE_LAZY, 0, 0},
	{0},
};

void sample_head(struct buffer *ret)
{
	_cleanup_head_writer_ struct head_writer *w = NULL;
	_cleanup_frame_index_ struct frame_index *x = NULL;
	_cleanup_buffer_ struct buffer pages = {0};
	uint8_t data[2 * PAGE_BYTES];

	x = sample_pages(&pages);
	must(head_writer_new(&w, &err));
	for (const struct sample_record *s = sample_records; s->type; s++) {
		sample_page(s->page, data);
		sample_page(s->page + 1, data + PAGE_BYTES);
		if (s->type == 'f')
			must(head_add_file(w, s->name, data, s->length, &err));
		else if (s->type == 's')
			must(head_add_sparse(w, s->name, s->value, &err));
		else if (s->type == 'r')
			must(head_add_run(w, s->name, s->value, data, s->length, &err));
		else
			must(head_add_index(w, x, &err));
	}
	must(head_finish(w, ret, &err));
}

void sample_touch(const struct buffer *manifest, struct touch_set *ret, struct buffer *ret_frames)
{
	static struct touch_run runs[] = {
		{40, 3, 0, 0}, {7, 1, 0, 0}, {8, 2, 12, 0}, {65, 1, 350, 1}, {0, 2, 349, 300}};
	uint64_t number[SAMPLE_TOUCHED];
	size_t n = 0;

	for (size_t i = 0; i < sizeof(runs) / sizeof(*runs); i++)
		for (uint64_t p = 0; p < runs[i].pages; p++)
			number[n++] = runs[i].first + p;
	*ret = (struct touch_set){
		.info = {.backend = "accessed-bits",
			 .ended = "image-arrived",
			 .window_ms = 1500,
			 .scans = 17,
			 .restarts = 2,
			 .prepare_ms = 0.5,
			 .frozen_ms = 0.125,
			 .scan_ms = 1,
			 .insert_ms = 0.25,
			 .descriptor_ms = 0.75,
			 .overhead_ms = 2.625},
		.runs = runs,
		.n_runs = sizeof(runs) / sizeof(*runs),
		.pages = n,
		.index = encode_pages(number, n, ret_frames),
	};
	manifest_digest(manifest->data, manifest->len, ret->manifest);
}

void sample_touch_done(struct touch_set *t)
{
	frame_index_free(t->index);
}

static void of_object(const struct buffer *b, struct manifest_object *ret)
{
	ret->size = b->len;
	digest_of(b->data, b->len, ret->digest, sizeof(ret->digest));
}

void sample_manifest(const struct buffer *head, const struct buffer *pages, struct manifest *ret)
{
	static struct manifest_task tasks[] = {
		{1, 0, "redis-server", 4, 56}, {7, 1, "a \"b\\c", 1, 10}, {9, 1, "defunct", 1, 0}};

	*ret = (struct manifest){
		.id = {SAMPLE_NAME, SAMPLE_SEQ},
		.created = 1700000000,
		.frem_version = "0.1.0",
		.criu_version = "4.2.1",
		.kernel = "6.18.0 #1 SMP",
		.arch = "x86_64",
		.tcp = MANIFEST_TCP_ESTABLISHED,
		.image_bytes = (SAMPLE_LAZY + SAMPLE_EAGER) * PAGE_BYTES,
		.lazy_pages = SAMPLE_LAZY,
		.eager_pages = SAMPLE_EAGER,
		.tasks = tasks,
		.n_tasks = sizeof(tasks) / sizeof(*tasks),
	};
	of_object(head, &ret->head);
	of_object(pages, &ret->pages);
}

void sample_wrap(const struct object_kind *kind, const void *body, size_t n, struct buffer *ret)
{
	_cleanup_body_writer_ struct body_writer *w = NULL;

	must(body_writer_new(1, &w, &err));
	must(body_write(w, body, n, &err));
	must(body_finish(w, kind, NULL, ret, &err));
}

void sample_wrap_plain(const struct object_kind *kind, const void *body, size_t n,
		       struct buffer *ret)
{
	/* a zstd frame with a window of 128 KiB and one last block, which is raw */
	static const uint8_t start[] = {0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38};
	struct object_header h = {.raw = n};
	uint8_t block[4];

	put_le32(block, (uint32_t)(n << 3 | 1));
	must(n > SAMPLE_PLAIN_MAX ? -1 : 0);
	must(buffer_append(ret, NULL, OBJECT_HEADER_SIZE));
	must(buffer_append(ret, start, sizeof(start)));
	must(buffer_append(ret, block, 3));
	must(buffer_append(ret, body, n));
	object_header_encode(kind, &h, ret->data);
	sample_resign(ret);
}

void sample_resign(struct buffer *object)
{
	uint8_t *p = object->data;

	put_le64(p + OBJECT_HEADER_STORED, object->len - OBJECT_HEADER_SIZE);
	digest_of(p + OBJECT_HEADER_SIZE, object->len - OBJECT_HEADER_SIZE, p + 32, DIGEST_SIZE);
	digest_of(p, 96, p + 96, DIGEST_SIZE);
}

int sample_resign_manifest(const void *text, size_t n, struct buffer *ret)
{
	json_t *root = json_loadb(text, n, 0, NULL);
	uint8_t digest[DIGEST_SIZE];
	char hex[DIGEST_HEX_SIZE], *out;

	if (!json_is_object(root)) {
		json_decref(root);
		return -1;
	}
	json_object_del(root, "digest");
	out = json_dumps(root, JSON_COMPACT | JSON_SORT_KEYS);
	digest_of(out, strlen(out), digest, sizeof(digest));
	free(out);
	digest_to_hex(digest, hex);
	json_object_set_new(root, "digest", json_string(hex));
	out = json_dumps(root, JSON_COMPACT | JSON_SORT_KEYS);
	must(buffer_append(ret, out, strlen(out)));
	must(buffer_append(ret, "\n", 1));
	free(out);
	json_decref(root);
	return 0;
}

void sample_unwrap(const struct buffer *object, struct buffer *ret)
{
	_cleanup_body_reader_ struct body_reader *r = NULL;
	const struct object_kind *kind =
		memcmp(object->data, object_head.magic, 8) ? &object_touch : &object_head;
	struct object_header h;

	must(object_header_decode(kind, object->data, object->len, &h, &err));
	must(body_reader_new("sample", &h, object->data + OBJECT_HEADER_SIZE,
			     object->len - OBJECT_HEADER_SIZE, &r, &err));
	must(body_read_buffer(r, h.raw, ret));
	must(body_end(r));
}

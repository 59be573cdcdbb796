/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The golden files: objects as they lie in stores. The good ones must be read for ever, and, where
 * it is still the zstd that wrote them, be written again byte by byte. Each bad one is refused with
 * the message below tests/golden/bad.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <fcntl.h>

#include <cmocka.h>
#include <zstd.h>

#include "bad.h"
#include "base/file.h"
#include "sample.h"

#define GOLDEN_ZSTD 10504 /* ZSTD_versionNumber() of the library that wrote the files */

static const struct checkpoint_name id = {SAMPLE_NAME, SAMPLE_SEQ};

static void load(const char *kind, const char *name, struct buffer *ret)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s/%s", GOLDEN_DIR, kind, name);
	assert_int_equal(file_read_at(AT_FDCWD, path, 1 << 20, ret), 0);
}

static void expect_bytes(const struct buffer *now, const struct buffer *golden)
{
	assert_int_equal(now->len, golden->len);
	assert_memory_equal(now->data, golden->data, golden->len);
}

/* The first `listed` pages are those of `numbers`, in that order. */
static void decode_pages(const struct frame_index *x, const uint8_t *payloads,
			 const uint64_t *numbers, size_t listed)
{
	_cleanup_frame_codec_ struct frame_codec *codec = NULL;
	static uint8_t raw[FRAME_RAW_MAX];
	uint8_t page[PAGE_BYTES];
	struct frem_error err = {0};

	assert_int_equal(frame_codec_new(1, &codec, &err), 0);
	for (size_t i = 0; i < x->frames; i++) {
		assert_int_equal(frame_decode(codec, &x->entries[i], frame_pages(x, i),
					      payloads + x->offsets[i], x->entries[i].stored, raw,
					      &err),
				 0);
		for (size_t p = 0; p < frame_pages(x, i); p++) {
			size_t n = i * FRAME_PAGES + p;

			sample_page(n < listed ? numbers[n] : n, page);
			assert_memory_equal(raw + p * PAGE_BYTES, page, PAGE_BYTES);
		}
	}
}

static void good_pages_and_index(void **state)
{
	_cleanup_buffer_ struct buffer pages = {0}, index = {0}, again = {0}, new_pages = {0};
	_cleanup_frame_index_ struct frame_index *x = NULL, *now = NULL;
	struct frem_error err = {0};

	(void)state;
	load("good", "pages", &pages);
	load("good", "index", &index);
	assert_int_equal(frame_index_decode(index.data, index.len, &x, &err), 0);
	assert_int_equal(x->pages, SAMPLE_LAZY);
	assert_int_equal(x->offsets[x->frames], pages.len);
	decode_pages(x, pages.data, NULL, 0);
	assert_int_equal(frame_index_encode(x, &again, &err), 0);
	expect_bytes(&again, &index);
	now = sample_pages(&new_pages);
	assert_int_equal(now->pages, SAMPLE_LAZY);
	if (ZSTD_versionNumber() == GOLDEN_ZSTD)
		expect_bytes(&new_pages, &pages);
}

/* ---- head ---- */

struct seen {
	const struct sample_record *next;
};

static const struct sample_record *expect(void *arg, char type, const char *name, uint64_t value)
{
	struct seen *s = arg;

	assert_int_equal(s->next->type, type);
	if (name)
		assert_string_equal(s->next->name, name);
	assert_int_equal(s->next->value, value);
	return s->next++;
}

static void expect_data(const struct sample_record *r, const void *data, size_t n)
{
	uint8_t want[2 * PAGE_BYTES];

	sample_page(r->page, want);
	sample_page(r->page + 1, want + PAGE_BYTES);
	assert_int_equal(r->length, n);
	assert_memory_equal(data, want, n);
}

static int on_file(void *arg, const char *name, const void *data, size_t n, struct frem_error *err)
{
	(void)err;
	expect_data(expect(arg, 'f', name, 0), data, n);
	return 0;
}

static int on_sparse(void *arg, const char *name, uint64_t size, struct frem_error *err)
{
	(void)err;
	expect(arg, 's', name, size);
	return 0;
}

static int on_run(void *arg, const char *name, uint64_t offset, const void *data, size_t n,
		  struct frem_error *err)
{
	(void)err;
	expect_data(expect(arg, 'r', name, offset), data, n);
	return 0;
}

static int on_index(void *arg, struct frame_index *x, struct frem_error *err)
{
	_cleanup_buffer_ struct buffer index = {0}, golden = {0};

	assert_int_equal(frame_index_encode(x, &index, err), 0);
	load("good", "index", &golden);
	expect_bytes(&index, &golden);
	expect(arg, 'i', NULL, x->pages);
	frame_index_free(x);
	return 0;
}

static void good_head(void **state)
{
	_cleanup_buffer_ struct buffer head = {0}, again = {0};
	struct seen seen = {sample_records};
	const struct head_sink sink = {on_file, on_sparse, on_run, on_index, &seen};
	struct frem_error err = {0};

	(void)state;
	load("good", "head", &head);
	assert_int_equal(head_read(head.data, head.len, &sink, &err), 0);
	assert_int_equal(seen.next->type, 0);
	sample_head(&again);
	if (ZSTD_versionNumber() == GOLDEN_ZSTD)
		expect_bytes(&again, &head);
}

/* ---- touch and manifest ---- */

static void good_touch(void **state)
{
	static const uint64_t numbers[] = {40, 41, 42, 7, 8, 9, 65, 0, 1};
	static const uint32_t times[] = {0, 0, 12, 350, 349}, misses[] = {0, 0, 0, 1, 300};
	_cleanup_buffer_ struct buffer touch = {0}, manifest = {0}, again = {0};
	_cleanup_touch_set_ struct touch_set *t = NULL;
	uint8_t digest[DIGEST_SIZE];
	struct frem_error err = {0};
	uint64_t size;

	(void)state;
	load("good", "touch", &touch);
	load("good", "manifest", &manifest);
	assert_int_equal(touch_measure(touch.data, touch.len, &size, &err), 0);
	assert_int_equal(touch_decode(touch.data, size, SAMPLE_LAZY, &t, &err), 0);
	manifest_digest(manifest.data, manifest.len, digest);
	assert_memory_equal(t->manifest, digest, sizeof(digest));
	assert_string_equal(t->info.backend, "accessed-bits");
	assert_string_equal(t->info.ended, "image-arrived");
	assert_int_equal(t->info.window_ms, 1500);
	assert_int_equal(t->info.scans, 17);
	assert_int_equal(t->info.restarts, 2);
	assert_true(t->info.prepare_ms == 0.5 && t->info.frozen_ms == 0.125);
	assert_true(t->info.scan_ms == 1 && t->info.insert_ms == 0.25);
	assert_true(t->info.descriptor_ms == 0.75 && t->info.overhead_ms == 2.625);
	assert_int_equal(t->pages, SAMPLE_TOUCHED);
	assert_int_equal(t->n_runs, 5);
	for (size_t i = 0; i < t->n_runs; i++) {
		assert_int_equal(t->runs[i].ms, times[i]);
		assert_int_equal(t->runs[i].misses, misses[i]);
	}
	assert_int_equal(t->frames_offset, size);
	assert_int_equal(size + t->index->offsets[t->index->frames], touch.len);
	decode_pages(t->index, touch.data + size, numbers, SAMPLE_TOUCHED);
	assert_int_equal(touch_encode(t, &again, &err), 0);
	touch.len = size;
	if (ZSTD_versionNumber() == GOLDEN_ZSTD)
		expect_bytes(&again, &touch);
}

static void good_manifest(void **state)
{
	_cleanup_buffer_ struct buffer head = {0}, pages = {0}, manifest = {0}, again = {0};
	_cleanup_manifest_ struct manifest *m = NULL;
	struct frem_error err = {0};
	struct manifest want;

	(void)state;
	load("good", "head", &head);
	load("good", "pages", &pages);
	load("good", "manifest", &manifest);
	assert_int_equal(manifest_decode(manifest.data, manifest.len, &id, &m, &err), 0);
	sample_manifest(&head, &pages, &want);
	assert_string_equal(m->id.name, want.id.name);
	assert_int_equal(m->id.seq, want.id.seq);
	assert_int_equal(m->created, want.created);
	assert_string_equal(m->frem_version, want.frem_version);
	assert_string_equal(m->criu_version, want.criu_version);
	assert_string_equal(m->kernel, want.kernel);
	assert_string_equal(m->arch, want.arch);
	assert_int_equal(m->tcp, want.tcp);
	assert_int_equal(m->image_bytes, want.image_bytes);
	assert_int_equal(m->lazy_pages, want.lazy_pages);
	assert_int_equal(m->eager_pages, want.eager_pages);
	assert_memory_equal(&m->head, &want.head, sizeof(m->head));
	assert_memory_equal(&m->pages, &want.pages, sizeof(m->pages));
	assert_int_equal(m->n_tasks, want.n_tasks);
	assert_memory_equal(m->tasks, want.tasks, want.n_tasks * sizeof(*want.tasks));
	assert_int_equal(manifest_encode(m, &again, &err), 0);
	expect_bytes(&again, &manifest);
}

/* ---- bad ones ---- */

static int drop_index(void *arg, struct frame_index *x, struct frem_error *err)
{
	(void)arg;
	(void)err;
	frame_index_free(x);
	return 0;
}

static int keep_nothing(void *arg, const char *name, const void *data, size_t n,
			struct frem_error *err)
{
	(void)arg;
	(void)name;
	(void)err;
	return n && !data; /* the data is there */
}

static int read_touch(const struct buffer *b, struct frem_error *err)
{
	_cleanup_touch_set_ struct touch_set *t = NULL;
	uint64_t size;
	int r = touch_measure(b->data, b->len, &size, err);

	return r < 0 ? r : touch_decode(b->data, b->len, SAMPLE_LAZY, &t, err);
}

static int read_first_frame(const struct buffer *b, struct frem_error *err)
{
	_cleanup_frame_codec_ struct frame_codec *codec = NULL;
	_cleanup_frame_index_ struct frame_index *x = NULL;
	_cleanup_buffer_ struct buffer good = {0};
	static uint8_t raw[FRAME_RAW_MAX];

	x = sample_pages(&good);
	assert_int_equal(frame_codec_new(1, &codec, err), 0);
	return frame_decode_nth(codec, x, 0, "pages", 0, b->data, x->entries[0].stored, raw, err);
}

static int read_as(const char *name, const struct buffer *b, struct frem_error *err)
{
	const struct head_sink sink = {.file = keep_nothing, .index = drop_index};
	_cleanup_frame_index_ struct frame_index *x = NULL;
	_cleanup_manifest_ struct manifest *m = NULL;

	if (strncmp(name, "head-", 5) == 0)
		return head_read(b->data, b->len, &sink, err);
	if (strncmp(name, "index-", 6) == 0)
		return frame_index_decode(b->data, b->len, &x, err);
	if (strncmp(name, "touch-", 6) == 0)
		return read_touch(b, err);
	if (strncmp(name, "pages-", 6) == 0)
		return read_first_frame(b, err);
	return manifest_decode(b->data, b->len, &id, &m, err);
}

static void bad_files_are_refused(void **state)
{
	int wrong = 0;

	(void)state;
	for (const struct bad_file *f = bad_files; f->name; f++) {
		_cleanup_buffer_ struct buffer b = {0};
		struct frem_error err = {0};
		int r;

		load("bad", f->name, &b);
		r = read_as(f->name, &b, &err);
		if (r < 0 && err.code == FREM_DAMAGED && strcmp(err.text, f->message) == 0)
			continue;
		print_error("%s: %d, code %d, '%s'\n", f->name, r, (int)err.code, err.text);
		wrong++;
	}
	assert_int_equal(wrong, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_pages_and_index),
		cmocka_unit_test(good_head),
		cmocka_unit_test(good_touch),
		cmocka_unit_test(good_manifest),
		cmocka_unit_test(bad_files_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

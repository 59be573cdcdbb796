/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "format_damage.h"

#include <errno.h>
#include <stdio.h>

#include "format/head.h"
#include "sample.h"
#include "wire.h"

static struct frem_error err;

static int drop_index(void *arg, struct frame_index *x, struct frem_error *e)
{
	(void)arg;
	(void)e;
	frame_index_free(x);
	return 0;
}

static int keep_nothing(void *arg, const char *name, const void *data, size_t n,
			struct frem_error *e)
{
	(void)arg;
	(void)name;
	(void)data;
	(void)n;
	(void)e;
	return 0;
}

static int decode(const void *data, size_t n, struct frem_error *e)
{
	const struct head_sink sink = {.file = keep_nothing, .index = drop_index};

	return head_read(data, n, &sink, e);
}

/* A small head: the sample one would take its time, bit by bit. */
static void small_head(struct buffer *ret)
{
	_cleanup_head_writer_ struct head_writer *w = NULL;
	_cleanup_frame_index_ struct frame_index *x = NULL;
	static const uint8_t page[PAGE_BYTES] = {1, 2, 3};

	assert_int_equal(frame_index_new(1, &x, &err), 0);
	x->entries[0].zero_mask = 1;
	frame_index_seal(x);
	assert_int_equal(head_writer_new(&w, &err), 0);
	assert_int_equal(head_add_file(w, "core-1.img", "core", 4, &err), 0);
	assert_int_equal(head_add_sparse(w, "pages-1.img", PAGE_BYTES, &err), 0);
	assert_int_equal(head_add_run(w, "pages-1.img", 0, page, sizeof(page), &err), 0);
	assert_int_equal(head_add_index(w, x, &err), 0);
	assert_int_equal(head_finish(w, ret, &err), 0);
}

static void every_flip_and_cut_is_found(void **state)
{
	_cleanup_buffer_ struct buffer head = {0};

	(void)state;
	small_head(&head);
	every_damage_is_found(decode, &head, "head: ");
}

/* With digests that match again, damage may go through, but never wreak any. */
static void signed_damage_is_survived(void **state)
{
	_cleanup_buffer_ struct buffer head = {0}, body = {0};

	(void)state;
	small_head(&head);
	sample_unwrap(&head, &body);
	for (size_t i = 0; i < body.len; i += i < 120 || i > body.len - 100 ? 1 : 97) {
		for (unsigned v = 0; v < 256; v += 51) {
			_cleanup_buffer_ struct buffer bad = {0};
			uint8_t was = body.data[i];

			body.data[i] ^= (uint8_t)(v | 1);
			sample_wrap(&object_head, body.data, body.len, &bad);
			body.data[i] = was;
			if (decode(bad.data, bad.len, &err) < 0)
				assert_int_equal(err.code, FREM_DAMAGED);
		}
	}
	for (size_t n = 0; n < body.len; n += n < 120 || n > body.len - 100 ? 1 : 97) {
		_cleanup_buffer_ struct buffer bad = {0};

		sample_wrap(&object_head, body.data, n, &bad);
		expect_damaged(decode, bad.data, bad.len, "head: ");
	}
}

static void missing_callbacks_skip(void **state)
{
	const struct head_sink none = {0};
	_cleanup_buffer_ struct buffer head = {0};

	(void)state;
	sample_head(&head);
	assert_int_equal(head_read(head.data, head.len, &none, &err), 0);
}

static int refuse(void *arg, const char *name, uint64_t size, struct frem_error *e)
{
	(void)arg;
	(void)size;
	return frem_fail(e, FREM_FAILED, ENOSPC, "writing '%s'", name);
}

static void a_callback_ends_the_reading(void **state)
{
	const struct head_sink sink = {.sparse = refuse, .index = drop_index};
	_cleanup_buffer_ struct buffer head = {0};

	(void)state;
	sample_head(&head);
	assert_int_equal(head_read(head.data, head.len, &sink, &err), -ENOSPC);
	assert_int_equal(err.code, FREM_FAILED);
	assert_string_equal(err.text, "writing 'pages-1.img': No space left on device");
}

static void the_writer_refuses_bad_names(void **state)
{
	static const char *const bad[] = {"", ".", "..", "a/b", "/a", "a\nb", "\x7f", "\xff"};
	_cleanup_head_writer_ struct head_writer *w = NULL;
	char name[HEAD_NAME_MAX + 2];

	(void)state;
	assert_int_equal(head_writer_new(&w, &err), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_true(head_add_file(w, bad[i], "x", 1, &err) < 0);
		assert_int_equal(err.code, FREM_FAILED);
		assert_int_equal(strncmp(err.text, "head: image file '", 18), 0);
		assert_true(head_add_sparse(w, bad[i], 4096, &err) < 0);
	}
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	assert_true(head_add_file(w, name, "x", 1, &err) < 0);
	name[sizeof(name) - 2] = '\0';
	assert_int_equal(head_add_file(w, name, "x", 1, &err), 0);
	assert_true(head_add_file(w, name, "x", 1, &err) < 0);
	assert_non_null(strstr(err.text, "is named twice"));
	assert_true(head_add_sparse(w, name, 4096, &err) < 0);
}

static void the_writer_refuses_bad_runs(void **state)
{
	static const uint8_t data[2 * PAGE_BYTES];
	_cleanup_head_writer_ struct head_writer *w = NULL;

	(void)state;
	assert_int_equal(head_writer_new(&w, &err), 0);
	assert_int_equal(head_add_file(w, "whole", "x", 1, &err), 0);
	assert_int_equal(head_add_sparse(w, "p", 3 * PAGE_BYTES, &err), 0);
	assert_true(head_add_run(w, "q", 0, data, PAGE_BYTES, &err) < 0);
	assert_true(head_add_run(w, "whole", 0, data, PAGE_BYTES, &err) < 0);
	assert_true(head_add_run(w, "p", 0, data, 0, &err) < 0);
	assert_true(head_add_run(w, "p", 0, data, 100, &err) < 0);
	assert_true(head_add_run(w, "p", 100, data, PAGE_BYTES, &err) < 0);
	assert_true(head_add_run(w, "p", 2 * PAGE_BYTES, data, 2 * PAGE_BYTES, &err) < 0);
	assert_true(head_add_run(w, "p", UINT64_MAX - PAGE_BYTES + 1, data, PAGE_BYTES, &err) < 0);
	assert_int_equal(head_add_run(w, "p", PAGE_BYTES, data, PAGE_BYTES, &err), 0);
	assert_true(head_add_run(w, "p", 0, data, PAGE_BYTES, &err) < 0);
	assert_true(head_add_run(w, "p", PAGE_BYTES, data, PAGE_BYTES, &err) < 0);
	assert_int_equal(head_add_run(w, "p", 2 * PAGE_BYTES, data, PAGE_BYTES, &err), 0);
}

static void the_index_comes_exactly_once(void **state)
{
	_cleanup_head_writer_ struct head_writer *w = NULL;
	_cleanup_frame_index_ struct frame_index *x = NULL;
	_cleanup_buffer_ struct buffer head = {0};

	(void)state;
	assert_int_equal(frame_index_new(0, &x, &err), 0);
	assert_int_equal(head_writer_new(&w, &err), 0);
	assert_true(head_finish(w, &head, &err) < 0);
	assert_string_equal(err.text, "head: no frame index");
	assert_int_equal(head_add_index(w, x, &err), 0);
	assert_true(head_add_index(w, x, &err) < 0);
	assert_int_equal(head_finish(w, &head, &err), 0);
	assert_int_equal(decode(head.data, head.len, &err), 0);
}

/* ---- many files, and large ones ---- */

struct sums {
	size_t files;
	uint64_t bytes;
	int wrong;
};

static int count(void *arg, const char *name, const void *data, size_t n, struct frem_error *e)
{
	struct sums *s = arg;
	char want[32];

	(void)e;
	snprintf(want, sizeof(want), "file-%zu.img", s->files++);
	s->bytes += n;
	s->wrong |= strcmp(name, want) != 0 || (n && ((const uint8_t *)data)[n - 1] != 'z');
	return 0;
}

static void large_heads_round_trip(void **state)
{
	const size_t most = 5u << 20;
	_cleanup_head_writer_ struct head_writer *w = NULL;
	_cleanup_frame_index_ struct frame_index *x = NULL;
	_cleanup_buffer_ struct buffer head = {0};
	_cleanup_free_ uint8_t *data = malloc(most);
	struct sums sums = {0};
	const struct head_sink sink = {.file = count, .index = drop_index, .arg = &sums};
	uint64_t bytes = 0;
	char name[32];

	(void)state;
	assert_non_null(data);
	for (size_t i = 0; i < most; i++)
		data[i] = i % 4096 == 0 ? (uint8_t)(i >> 12) : 'z';
	assert_int_equal(frame_index_new(0, &x, &err), 0);
	assert_int_equal(head_writer_new(&w, &err), 0);
	for (size_t i = 0; i < 3000; i++) {
		size_t n = i % 1000 == 7 ? most : i % 50 * 10;

		snprintf(name, sizeof(name), "file-%zu.img", i);
		assert_int_equal(head_add_file(w, name, data, n, &err), 0);
		bytes += n;
	}
	assert_int_equal(head_add_index(w, x, &err), 0);
	assert_int_equal(head_finish(w, &head, &err), 0);
	assert_int_equal(head_read(head.data, head.len, &sink, &err), 0);
	assert_int_equal(sums.files, 3000);
	assert_int_equal(sums.bytes, bytes);
	assert_int_equal(sums.wrong, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_flip_and_cut_is_found),
		cmocka_unit_test(signed_damage_is_survived),
		cmocka_unit_test(missing_callbacks_skip),
		cmocka_unit_test(a_callback_ends_the_reading),
		cmocka_unit_test(the_writer_refuses_bad_names),
		cmocka_unit_test(the_writer_refuses_bad_runs),
		cmocka_unit_test(the_index_comes_exactly_once),
		cmocka_unit_test(large_heads_round_trip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "format_damage.h"

#include "format/manifest.h"
#include "sample.h"

static const struct checkpoint_name id = {SAMPLE_NAME, SAMPLE_SEQ};
static struct frem_error err;

static int decode(const void *data, size_t n, struct frem_error *e)
{
	_cleanup_manifest_ struct manifest *m = NULL;

	return manifest_decode(data, n, &id, &m, e);
}

static void make(struct manifest *ret)
{
	static uint8_t bytes[200];
	struct buffer some = {.data = bytes, .len = sizeof(bytes)};

	sample_manifest(&some, &some, ret);
}

static void every_flip_and_cut_is_found(void **state)
{
	_cleanup_buffer_ struct buffer b = {0};
	struct manifest m;

	(void)state;
	make(&m);
	assert_int_equal(manifest_encode(&m, &b, &err), 0);
	every_damage_is_found(decode, &b, "manifest: ");
}

/* With a digest that matches again, damage may go through, but never wreak any. */
static void signed_damage_is_survived(void **state)
{
	_cleanup_buffer_ struct buffer b = {0};
	struct manifest m;

	(void)state;
	make(&m);
	assert_int_equal(manifest_encode(&m, &b, &err), 0);
	for (size_t i = 0; i < b.len; i++) {
		for (unsigned v = 0; v < 8; v++) {
			_cleanup_buffer_ struct buffer bad = {0};
			uint8_t was = b.data[i];

			b.data[i] = (uint8_t) "0\"]9{,-e"[v];
			if (sample_resign_manifest(b.data, b.len, &bad) == 0 &&
			    decode(bad.data, bad.len, &err) < 0)
				assert_int_equal(err.code, FREM_DAMAGED);
			b.data[i] = was;
		}
	}
}

static void it_ends_in_a_newline_and_is_one_line(void **state)
{
	_cleanup_buffer_ struct buffer b = {0};
	struct manifest m;

	(void)state;
	make(&m);
	assert_int_equal(manifest_encode(&m, &b, &err), 0);
	assert_ptr_equal(memchr(b.data, '\n', b.len), b.data + b.len - 1);
}

/* A process may call itself anything. */
static void strange_process_names_are_kept_readable(void **state)
{
	struct manifest_task task = {1, 0, "a\n\xff\033\xc3\xa4\"\\", 1, SAMPLE_LAZY};
	_cleanup_manifest_ struct manifest *back = NULL;
	_cleanup_buffer_ struct buffer b = {0};
	struct manifest m;

	(void)state;
	make(&m);
	m.tasks = &task;
	m.n_tasks = 1;
	assert_int_equal(manifest_encode(&m, &b, &err), 0);
	assert_int_equal(manifest_decode(b.data, b.len, &id, &back, &err), 0);
	assert_string_equal(back->tasks[0].comm, "a???\xc3\xa4\"\\");
}

static void members_of_later_versions_are_ignored(void **state)
{
	_cleanup_buffer_ struct buffer b = {0}, more = {0}, text = {0};
	struct manifest m;

	(void)state;
	make(&m);
	assert_int_equal(manifest_encode(&m, &b, &err), 0);
	buffer_append(&text, "{\"later\":{\"a\":[1,null,true]},", 29);
	buffer_append(&text, b.data + 1, b.len - 1);
	assert_int_equal(sample_resign_manifest(text.data, text.len, &more), 0);
	assert_int_equal(decode(more.data, more.len, &err), 0);
	every_damage_is_found(decode, &more, "manifest: ");
}

static void it_must_be_of_the_checkpoint_asked_for(void **state)
{
	const struct checkpoint_name other_seq = {SAMPLE_NAME, SAMPLE_SEQ + 1};
	const struct checkpoint_name other_name = {"other", SAMPLE_SEQ};
	_cleanup_manifest_ struct manifest *back = NULL;
	_cleanup_buffer_ struct buffer b = {0};
	struct manifest m;

	(void)state;
	make(&m);
	assert_int_equal(manifest_encode(&m, &b, &err), 0);
	assert_true(manifest_decode(b.data, b.len, &other_seq, &back, &err) < 0);
	assert_int_equal(err.code, FREM_DAMAGED);
	assert_non_null(strstr(err.text, "of another checkpoint, '" SAMPLE_NAME "' number 12"));
	assert_true(manifest_decode(b.data, b.len, &other_name, &back, &err) < 0);
	assert_null(back);
}

static void expect_unwritten(const struct manifest *m, const char *why)
{
	_cleanup_buffer_ struct buffer b = {0};

	assert_true(manifest_encode(m, &b, &err) < 0);
	assert_int_equal(err.code, FREM_FAILED);
	assert_non_null(strstr(err.text, why));
	assert_int_equal(b.len, 0);
}

static void the_writer_refuses_what_no_one_could_read(void **state)
{
	struct manifest m;

	(void)state;
	make(&m);
	m.lazy_pages++;
	expect_unwritten(&m, "'lazy_pages' is not the sum of the tasks'");
	make(&m);
	m.image_bytes = 0;
	expect_unwritten(&m, "'image_bytes' is not that of its pages");
	make(&m);
	m.id.seq = 0;
	expect_unwritten(&m, "'seq' is out of range");
	make(&m);
	m.n_tasks = 0;
	expect_unwritten(&m, "'tasks' has too few");
	make(&m);
	m.pages.size = SAMPLE_LAZY * PAGE_BYTES + 1;
	expect_unwritten(&m, "'pages' is larger than its pages");
	make(&m);
	memcpy(m.kernel, "\xff", 2);
	expect_unwritten(&m, "not valid text");
	make(&m);
	memcpy(m.id.name, "a/b", 4);
	expect_unwritten(&m, "'name'");
}

static void the_largest_fits(void **state)
{
	_cleanup_free_ struct manifest_task *tasks = calloc(MANIFEST_TASKS + 1, sizeof(*tasks));
	_cleanup_manifest_ struct manifest *back = NULL;
	_cleanup_buffer_ struct buffer b = {0};
	struct manifest m;

	(void)state;
	assert_non_null(tasks);
	make(&m);
	m.tasks = tasks;
	m.n_tasks = MANIFEST_TASKS;
	for (size_t i = 0; i <= MANIFEST_TASKS; i++)
		tasks[i] = (struct manifest_task){4194304, 4194304, "0123456789abcde", 999999, 0};
	m.lazy_pages = tasks[0].lazy_pages = FRAME_PAGES_LIMIT;
	m.eager_pages = FRAME_PAGES_LIMIT;
	m.image_bytes = 2 * FRAME_PAGES_LIMIT * PAGE_BYTES;
	assert_int_equal(manifest_encode(&m, &b, &err), 0);
	assert_int_equal(manifest_decode(b.data, b.len, &id, &back, &err), 0);
	assert_int_equal(back->image_bytes, m.image_bytes);
	m.n_tasks++;
	expect_unwritten(&m, "'tasks' has too few or too many");
}

static void as_json_it_has_no_digest(void **state)
{
	struct manifest m;
	json_t *root;

	(void)state;
	make(&m);
	root = manifest_to_json(&m);
	assert_string_equal(json_string_value(json_object_get(root, "name")), SAMPLE_NAME);
	assert_int_equal(json_integer_value(json_object_get(root, "seq")), SAMPLE_SEQ);
	assert_int_equal(json_array_size(json_object_get(root, "tasks")), 3);
	assert_null(json_object_get(root, "digest"));
	json_decref(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_flip_and_cut_is_found),
		cmocka_unit_test(signed_damage_is_survived),
		cmocka_unit_test(it_ends_in_a_newline_and_is_one_line),
		cmocka_unit_test(strange_process_names_are_kept_readable),
		cmocka_unit_test(members_of_later_versions_are_ignored),
		cmocka_unit_test(it_must_be_of_the_checkpoint_asked_for),
		cmocka_unit_test(the_writer_refuses_what_no_one_could_read),
		cmocka_unit_test(the_largest_fits),
		cmocka_unit_test(as_json_it_has_no_digest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

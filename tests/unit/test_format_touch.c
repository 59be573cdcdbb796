/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "format_damage.h"

#include <math.h>

#include "base/bytes.h"
#include "format/touch.h"
#include "sample.h"

static struct frem_error err;

static int decode(const void *data, size_t n, struct frem_error *e)
{
	_cleanup_touch_set_ struct touch_set *t = NULL;
	uint64_t size;
	int r = touch_measure(data, n, &size, e);

	return r < 0 ? r : touch_decode(data, n, SAMPLE_LAZY, &t, e);
}

/* A touch set of these runs, its index all zero pages. */
static void make(struct touch_run *runs, size_t n, struct touch_set *ret)
{
	*ret = (struct touch_set){.runs = runs, .n_runs = n};
	for (size_t i = 0; i < n; i++)
		ret->pages += runs[i].pages;
	assert_int_equal(frame_index_new(ret->pages, &ret->index, &err), 0);
	for (size_t i = 0; i < ret->index->frames; i++)
		ret->index->entries[i].zero_mask =
			(uint32_t)((UINT64_C(1) << frame_pages(ret->index, i)) - 1);
	frame_index_seal(ret->index);
}

static void expect_same_runs(const struct touch_set *t, const struct touch_run *runs, size_t n)
{
	assert_int_equal(t->n_runs, n);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(t->runs[i].first, runs[i].first);
		assert_int_equal(t->runs[i].pages, runs[i].pages);
		assert_int_equal(t->runs[i].ms, runs[i].ms);
		assert_int_equal(t->runs[i].misses, runs[i].misses);
	}
}

static void encode_sample(struct buffer *out)
{
	_cleanup_buffer_ struct buffer manifest = {0}, frames = {0};
	struct touch_set t;

	sample_touch(&manifest, &t, &frames);
	assert_int_equal(touch_encode(&t, out, &err), 0);
	sample_touch_done(&t);
}

static void every_flip_and_cut_is_found(void **state)
{
	_cleanup_buffer_ struct buffer touch = {0};

	(void)state;
	encode_sample(&touch);
	every_damage_is_found(decode, &touch, "touch: ");
}

/* The header alone says how much there is to fetch, and its damage is found before that. */
static void the_header_is_measured_alone(void **state)
{
	_cleanup_buffer_ struct buffer touch = {0};
	uint64_t size = 7;

	(void)state;
	encode_sample(&touch);
	assert_int_equal(touch_measure(touch.data, TOUCH_HEADER_SIZE, &size, &err), 0);
	assert_int_equal(size, touch.len);
	for (size_t bit = 0; bit < TOUCH_HEADER_SIZE * 8; bit++) {
		touch.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_true(touch_measure(touch.data, TOUCH_HEADER_SIZE, &size, &err) < 0);
		assert_int_equal(err.code, FREM_DAMAGED);
		touch.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	assert_true(touch_measure(touch.data, TOUCH_HEADER_SIZE - 1, &size, &err) < 0);
	assert_string_equal(err.text, "touch: cut off within the header at offset 127");
	assert_int_equal(size, touch.len);
}

/* With digests that match again, damage may go through, but never wreak any. */
static void signed_damage_is_survived(void **state)
{
	_cleanup_buffer_ struct buffer touch = {0}, body = {0};

	(void)state;
	encode_sample(&touch);
	sample_unwrap(&touch, &body);
	for (size_t i = 0; i < body.len; i++) {
		for (unsigned v = 0; v < 256; v += 17) {
			_cleanup_buffer_ struct buffer bad = {0};
			uint8_t was = body.data[i];

			body.data[i] ^= (uint8_t)(v | 1);
			sample_wrap(&object_touch, body.data, body.len, &bad);
			body.data[i] = was;
			if (decode(bad.data, bad.len, &err) < 0)
				assert_int_equal(err.code, FREM_DAMAGED);
		}
	}
	for (size_t n = 0; n < body.len; n++) {
		_cleanup_buffer_ struct buffer bad = {0};

		sample_wrap(&object_touch, body.data, n, &bad);
		expect_damaged(decode, bad.data, bad.len, "touch: ");
	}
}

static void the_empty_set_round_trips(void **state)
{
	_cleanup_touch_set_ struct touch_set *back = NULL;
	_cleanup_buffer_ struct buffer out = {0};
	struct touch_set t;

	(void)state;
	make(NULL, 0, &t);
	assert_int_equal(touch_encode(&t, &out, &err), 0);
	assert_int_equal(touch_decode(out.data, out.len, 0, &back, &err), 0);
	assert_int_equal(back->pages, 0);
	assert_int_equal(back->n_runs, 0);
	assert_int_equal(back->frames_offset, out.len);
	frame_index_free(t.index);
}

static void extremes_round_trip(void **state)
{
	struct touch_run runs[] = {
		{(UINT64_C(1) << 33) - 1, 1, UINT32_MAX, UINT32_MAX}, {0, 5, 0, 0}, {6, 1, 9, 1}};
	_cleanup_touch_set_ struct touch_set *back = NULL;
	_cleanup_buffer_ struct buffer out = {0};
	struct touch_set t;

	(void)state;
	make(runs, 3, &t);
	t.info = (struct touch_info){.window_ms = UINT32_MAX,
				     .scans = UINT32_MAX,
				     .restarts = UINT32_MAX,
				     .prepare_ms = 1e9,
				     .scan_ms = 1e-3,
				     .overhead_ms = 1e9};
	memset(t.info.backend, 'b', sizeof(t.info.backend) - 1);
	assert_int_equal(touch_encode(&t, &out, &err), 0);
	assert_int_equal(touch_decode(out.data, out.len, UINT64_C(1) << 33, &back, &err), 0);
	expect_same_runs(back, runs, 3);
	assert_memory_equal(&back->info, &t.info, sizeof(t.info));
	/* one lazy page fewer, and the first run is beyond them */
	assert_true(touch_decode(out.data, out.len, (UINT64_C(1) << 33) - 1, &back, &err) < 0);
	assert_non_null(strstr(err.text, "run 0 is beyond the 8589934591 lazy pages"));
	frame_index_free(t.index);
}

static void expect_unwritten(struct touch_run *runs, size_t n, const char *why)
{
	_cleanup_buffer_ struct buffer out = {0};
	struct touch_set t;

	make(runs, n, &t);
	assert_true(touch_encode(&t, &out, &err) < 0);
	assert_int_equal(err.code, FREM_FAILED);
	assert_non_null(strstr(err.text, why));
	assert_int_equal(out.len, 0);
	frame_index_free(t.index);
}

static void the_writer_refuses_what_no_one_could_read(void **state)
{
	struct touch_run inside[] = {{100, 200, 0, 0}, {5, 1, 0, 0}, {299, 1, 0, 0}};
	struct touch_run across[] = {{0, 64, 0, 0}, {63, 70, 0, 0}};
	struct touch_run none[] = {{0, 64, 0, 0}, {100, 0, 0, 0}};
	struct touch_run beyond[] = {{FRAME_PAGES_LIMIT, 1, 0, 0}};
	_cleanup_buffer_ struct buffer out = {0};
	struct touch_set t;

	(void)state;
	expect_unwritten(inside, 3, "run 2 names a page twice");
	expect_unwritten(across, 2, "run 1 names a page twice");
	expect_unwritten(none, 2, "run 1 has no pages");
	expect_unwritten(beyond, 1, "too large");
	make(inside, 2, &t);
	t.info.overhead_ms = NAN;
	assert_true(touch_encode(&t, &out, &err) < 0);
	t.info.overhead_ms = 0;
	t.pages--;
	assert_true(touch_encode(&t, &out, &err) < 0);
	assert_string_equal(err.text, "touch: frames of other pages than those of the runs");
	frame_index_free(t.index);
}

/* What a later frem adds to the description does not keep this one from reading it. */
static void unknown_members_are_ignored(void **state)
{
	static const char more[] = "{\"curve\":[[0,1],[2,3]],";
	_cleanup_touch_set_ struct touch_set *t = NULL;
	_cleanup_buffer_ struct buffer touch = {0}, body = {0}, longer = {0}, out = {0};
	uint8_t size[4];

	(void)state;
	encode_sample(&touch);
	sample_unwrap(&touch, &body);
	put_le32(size, get_le32(body.data) + (uint32_t)sizeof(more) - 2);
	assert_int_equal(buffer_append(&longer, size, 4), 0);
	assert_int_equal(buffer_append(&longer, more, sizeof(more) - 1), 0);
	assert_int_equal(buffer_append(&longer, body.data + 5, body.len - 5), 0);
	sample_wrap(&object_touch, longer.data, longer.len, &out);
	assert_int_equal(touch_decode(out.data, out.len, SAMPLE_LAZY, &t, &err), 0);
	assert_string_equal(t->info.ended, "image-arrived");
	assert_int_equal(t->pages, SAMPLE_TOUCHED);
}

/* A description made before the costs were split says nothing of them. */
static void missing_costs_are_zero(void **state)
{
	static const char meta[] = "{\"backend\":\"b\",\"ended\":\"asked\",\"frozen_ms\":0.5,"
				   "\"overhead_ms\":2,\"scans\":3,\"window_ms\":4}";
	_cleanup_touch_set_ struct touch_set *t = NULL;
	_cleanup_buffer_ struct buffer touch = {0}, body = {0}, other = {0}, out = {0};
	uint8_t size[4];
	size_t behind;

	(void)state;
	encode_sample(&touch);
	sample_unwrap(&touch, &body);
	behind = 4 + get_le32(body.data);
	put_le32(size, sizeof(meta) - 1);
	assert_int_equal(buffer_append(&other, size, 4), 0);
	assert_int_equal(buffer_append(&other, meta, sizeof(meta) - 1), 0);
	assert_int_equal(buffer_append(&other, body.data + behind, body.len - behind), 0);
	sample_wrap(&object_touch, other.data, other.len, &out);
	assert_int_equal(touch_decode(out.data, out.len, SAMPLE_LAZY, &t, &err), 0);
	assert_int_equal(t->info.window_ms, 4);
	assert_int_equal(t->info.restarts, 0);
	assert_true(t->info.prepare_ms == 0 && t->info.scan_ms == 0 && t->info.insert_ms == 0 &&
		    t->info.descriptor_ms == 0 && t->info.overhead_ms == 2);
}

/* Every other page of 2 GiB, in no order. */
static void many_runs_round_trip(void **state)
{
	const size_t n = 262144;
	_cleanup_free_ struct touch_run *runs = calloc(n, sizeof(*runs));
	_cleanup_touch_set_ struct touch_set *back = NULL;
	_cleanup_buffer_ struct buffer out = {0};
	struct touch_set t;

	(void)state;
	assert_non_null(runs);
	for (size_t i = 0; i < n; i++)
		runs[i] = (struct touch_run){i * 7919 % n * 2, 1, (uint32_t)(i / 1000),
					     (uint32_t)(i % 3)};
	make(runs, n, &t);
	assert_int_equal(touch_encode(&t, &out, &err), 0);
	assert_int_equal(touch_decode(out.data, out.len, 2 * n, &back, &err), 0);
	expect_same_runs(back, runs, n);
	frame_index_free(t.index);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_flip_and_cut_is_found),
		cmocka_unit_test(the_header_is_measured_alone),
		cmocka_unit_test(signed_damage_is_survived),
		cmocka_unit_test(the_empty_set_round_trips),
		cmocka_unit_test(extremes_round_trip),
		cmocka_unit_test(the_writer_refuses_what_no_one_could_read),
		cmocka_unit_test(unknown_members_are_ignored),
		cmocka_unit_test(missing_costs_are_zero),
		cmocka_unit_test(many_runs_round_trip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

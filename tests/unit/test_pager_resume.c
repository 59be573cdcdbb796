/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a pager process leaves behind: the journal, and bitmaps in shared memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "format/frame.h"
#include "journal.h"
#include "shared_bits.h"
#include "space.h"

static struct frem_error err;

static void append(struct journal *j, uint64_t member)
{
	const struct journal_record r = {.type = JOURNAL_END, .member = member};

	assert_int_equal(journal_append(j, &r, 1, &err), 0);
}

/* What a process finds that opens it. */
static void assert_holds(struct wire_resume *shared, const uint64_t *members, size_t n)
{
	_cleanup_buffer_ struct buffer b = {0};
	const struct journal_record *r;
	struct journal *j;

	assert_int_equal(journal_open(shared, &j, &err), 0);
	assert_int_equal(journal_read(j, &b, &err), 0);
	assert_int_equal(b.len, n * sizeof(*r));
	r = (const struct journal_record *)b.data;
	for (size_t i = 0; i < n; i++)
		assert_int_equal(r[i].member, members[i]);
	journal_free(j);
}

static void test_journal(void **state)
{
	struct wire_resume *shared = aligned_alloc(4096, sizeof(*shared));
	_cleanup_buffer_ struct buffer state_now = {0};
	const struct journal_record saved = {.type = JOURNAL_MEMBER, .member = 77};
	struct journal *j;

	(void)state;
	memset(shared, 0, sizeof(*shared));
	assert_int_equal(journal_open(shared, &j, &err), 0);
	append(j, 5);
	append(j, 6);
	assert_holds(shared, (const uint64_t[]){5, 6}, 2);
	/* one that was killed while it appended */
	shared->log[shared->log_current].len -= sizeof(struct journal_record);
	assert_holds(shared, (const uint64_t[]){5}, 1);
	append(j, 7);
	assert_holds(shared, (const uint64_t[]){5, 7}, 2);

	assert_false(journal_is_long(j));
	for (unsigned i = 0; !journal_is_long(j); i++) {
		append(j, i);
		assert_true(i < 10000000);
	}
	buffer_append(&state_now, &saved, sizeof(saved));
	assert_int_equal(journal_replace(j, &state_now, &err), 0);
	assert_false(journal_is_long(j));
	append(j, 8);
	assert_holds(shared, (const uint64_t[]){77, 8}, 2);
	journal_free(j);
	close(shared->log[shared->log_current].fd);
	free(shared);
}

static void test_shared_bits(void **state)
{
	struct shared_bits a, b;
	uint64_t *x, *y, one, two;

	(void)state;
	assert_int_equal(shared_bits_new(&a, &err), 0);
	one = shared_bits_reserve(&a, 100);
	two = shared_bits_reserve(&a, 5000);
	assert_int_equal(shared_bits_map(&a, two, 5000, &x, &err), 0);
	assert_false(shared_bits_are_complete(x));
	x[0] = 11;
	x[4999] = 12;
	shared_bits_complete(x);

	b = (struct shared_bits){.fd = a.fd};
	shared_bits_reserved(&b, two, 5000);
	shared_bits_reserved(&b, one, 100);
	assert_int_equal(b.next, a.next);
	assert_int_equal(shared_bits_map(&b, two, 5000, &y, &err), 0);
	assert_true(shared_bits_are_complete(y));
	assert_int_equal(y[0] + y[4999], 23);
	shared_bits_free(&a, two, 5000, x);
	shared_bits_free(&b, two, 5000, y);
	assert_int_equal(shared_bits_map(&b, two, 5000, &y, &err), 0);
	assert_false(shared_bits_are_complete(y));
	assert_int_equal(y[0] + y[4999], 0);
	shared_bits_free(&b, two, 5000, y);
	shared_bits_free(&b, one, 100, NULL);
	close(a.fd);
}

#define AT(place) (UINT64_C(0x7f0000000000) + (place)*PAGE_BYTES)

static struct space *some_space(void)
{
	struct image_extent x[] = {{.address = AT(10), .pages = 100, .first = 1000},
				   {.address = AT(300), .pages = 30, .first = 1100}};
	struct image_task t = {.first = 1000, .lazy_pages = 130, .extents = x, .n_extents = 2};
	struct space *s;

	assert_int_equal(space_new(&t, &s, &err), 0);
	return s;
}

static void test_space_in_shared_memory(void **state)
{
	struct space *s = some_space(), *again = some_space();
	uint64_t *bits = calloc(space_words(s), sizeof(*bits));

	(void)state;
	space_settle(s, 1003, 5);
	space_share(s, bits);
	space_settle(s, 1110, 7);
	assert_int_equal(space_left(s), 118);
	space_adopt(again, bits);
	assert_int_equal(space_left(again), 118);
	assert_false(space_wants(again, 1003));
	assert_false(space_wants(again, 1116));
	assert_true(space_wants(again, 1117));
	space_free(again);
	space_free(s);
	free(bits);
}

static void test_all_that_the_map_holds(void **state)
{
	struct space *s = some_space();
	struct image_extent x;

	(void)state;
	assert_int_equal(space_drop(s, AT(20), AT(25), &err), 0);
	assert_int_equal(space_move(s, AT(300), AT(500), 10 * PAGE_BYTES, &err), 0);
	space_settle(s, 1000, 130);
	space_want_all(s);
	assert_int_equal(space_left(s), 125);
	assert_false(space_wants(s, 1010));
	assert_true(space_wants(s, 1100));
	assert_true(space_extent(s, AT(20), &x));
	assert_int_equal(x.address, AT(25));
	assert_int_equal(x.first, 1015);
	assert_int_equal(x.pages, 85);
	assert_true(space_extent(s, AT(501), &x));
	assert_int_equal(x.address, AT(500));
	assert_false(space_extent(s, AT(510), &x));
	space_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_journal),
		cmocka_unit_test(test_shared_bits),
		cmocka_unit_test(test_space_in_shared_memory),
		cmocka_unit_test(test_all_that_the_map_holds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

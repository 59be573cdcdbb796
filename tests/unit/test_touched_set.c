/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The tracker's record of touched pages, and what page-table entries mean; no process is tracked.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "pagetable_x86_64.h"
#include "touched_set.h"

/* ---- page-table entries ---- */

#define ENCRYPTED (1ULL << 51)
#define SWAP_ENTRY 0xfffffe0000000200ULL /* type and inverted offset, as Linux lays them out */

static void test_pages(void **state)
{
	const __u64 frame = 0x12345000;

	(void)state;
	assert_int_equal(pt_page_present(0), 0);
	assert_int_equal(pt_page_accessed(0), 0);
	assert_int_equal(pt_page_present(frame | PT_PRESENT), 1);
	assert_int_equal(pt_page_accessed(frame | PT_PRESENT), 0);
	assert_int_equal(pt_page_accessed(frame | PT_PRESENT | PT_ACCESSED), 1);
	assert_int_equal(pt_page_accessed(frame | PT_PRESENT | PT_ACCESSED | ENCRYPTED), 1);
	/* mprotect(PROT_NONE) after the access does not undo it */
	assert_int_equal(pt_page_present(frame | PT_PROT_NONE), 1);
	assert_int_equal(pt_page_accessed(frame | PT_PROT_NONE | PT_ACCESSED), 1);
	/* swapped out: neither, whatever its other bits say */
	assert_int_equal(pt_page_present(SWAP_ENTRY), 0);
	assert_int_equal(pt_page_accessed(SWAP_ENTRY), 0);
	assert_int_equal(pt_page_accessed(SWAP_ENTRY | PT_ACCESSED), 0);
	/* at the lowest level bit 7 is PAT, no leaf */
	assert_int_equal(pt_page_accessed(frame | PT_PRESENT | PT_ACCESSED | PT_LEAF), 1);
}

static void test_tables_and_leaves(void **state)
{
	const __u64 frame = 0x40000000;

	(void)state;
	assert_true(pt_is_table(frame | PT_PRESENT));
	assert_true(pt_is_table(frame | PT_PRESENT | PT_ACCESSED | ENCRYPTED));
	assert_false(pt_is_table(0));
	assert_false(pt_is_table(frame | PT_PRESENT | PT_LEAF));
	assert_false(pt_is_table(SWAP_ENTRY));
	assert_false(pt_is_leaf(SWAP_ENTRY)); /* a huge page under migration or swapped out */
	assert_false(pt_is_leaf(frame | PT_PRESENT));
	assert_true(pt_is_leaf(frame | PT_PRESENT | PT_LEAF));
	assert_true(pt_is_leaf(frame | PT_LEAF)); /* being split */
	assert_true(pt_is_leaf(frame | PT_LEAF | PT_PROT_NONE));
	assert_false(pt_leaf_accessed(frame | PT_PRESENT | PT_LEAF));
	assert_true(pt_leaf_accessed(frame | PT_PRESENT | PT_LEAF | PT_ACCESSED));
	assert_true(pt_leaf_accessed(frame | PT_LEAF | PT_ACCESSED));
	assert_false(pt_leaf_accessed(frame | PT_PRESENT | PT_ACCESSED));
}

static void test_addresses(void **state)
{
	const __u64 entry = 0x8008000123456067ULL; /* no-execute, encrypted, software bits */

	(void)state;
	assert_int_equal(pt_table_address(entry, ENCRYPTED), 0x123456000ULL);
	assert_int_equal(pt_table_address(entry, 0), 0x0008000123456000ULL);
	assert_int_equal(pt_table_address(entry & ~ENCRYPTED, 0), 0x123456000ULL);
}

/* A walk over synthetic tables, of four and of five levels, down to the table of level 1. */
static __u64 walk(__u64 tables[][PT_ENTRIES], unsigned levels, __u64 address)
{
	__u64 table = 0;

	for (unsigned level = levels; level > 1; level--) {
		__u64 entry = tables[table][pt_index(address, level)];

		if (!pt_is_table(entry))
			return pt_is_leaf(entry) ? entry : 0;
		table = pt_table_address(entry, ENCRYPTED) >> PT_PAGE_SHIFT;
	}
	return tables[table][pt_index(address, 1)];
}

static void check_levels(unsigned levels)
{
	static __u64 tables[PT_LEVELS_MAX][PT_ENTRIES];
	const __u64 address = levels == 5 ? 0x00ab123456789000ULL : 0x00007f3456789000ULL;
	const __u64 page = 0x777000 | PT_PRESENT | PT_ACCESSED;

	memset(tables, 0, sizeof(tables));
	for (unsigned i = 0; i + 1 < levels; i++)
		tables[i][pt_index(address, levels - i)] =
			(__u64)(i + 1) << PT_PAGE_SHIFT | PT_PRESENT | ENCRYPTED;
	tables[levels - 1][pt_index(address, 1)] = page;
	assert_int_equal(walk(tables, levels, address), page);
	assert_int_equal(walk(tables, levels, address + (1ULL << pt_shift(1))), 0);
	for (unsigned level = 2; level <= levels; level++)
		assert_int_equal(walk(tables, levels, address ^ 1ULL << pt_shift(level)), 0);
	/* a leaf of 2 MB, then one of 1 GB, in the way */
	tables[levels - 2][pt_index(address, 2)] = page | PT_LEAF;
	assert_int_equal(walk(tables, levels, address), page | PT_LEAF);
	tables[levels - 3][pt_index(address, 3)] = (page | PT_LEAF) & ~PT_ACCESSED;
	assert_false(pt_leaf_accessed(walk(tables, levels, address)));
}

static void test_levels(void **state)
{
	(void)state;
	assert_int_equal(pt_shift(1), 12);
	assert_int_equal(pt_shift(2), 21);
	assert_int_equal(pt_shift(3), 30);
	assert_int_equal(pt_shift(4), 39);
	assert_int_equal(pt_shift(5), 48);
	assert_int_equal(pt_index(0xffffffffffffffffULL, 5), 511);
	check_levels(4);
	check_levels(5);
}

/* ---- the set ---- */

static struct touched_set *new_set(void)
{
	struct touched_set *s = NULL;

	assert_int_equal(touched_set_new(&s, NULL), 0);
	return s;
}

/* Pages [first, end) of a unit, seen in a scan. */
static void add(struct touched_set *s, size_t task, uint64_t unit, unsigned first, unsigned end,
		unsigned scan)
{
	uint64_t touched[TOUCHED_WORDS] = {};
	struct touched_sight sight = {.task = task, .unit = unit, .touched = touched};

	for (unsigned i = first; i < end; i++)
		touched[i / 64] |= UINT64_C(1) << i % 64;
	assert_int_equal(touched_set_add(s, &sight, scan, NULL), 0);
}

static void test_counts(void **state)
{
	_cleanup_touched_set_ struct touched_set *s = new_set();
	uint64_t touched[TOUCHED_WORDS] = {0xf}, resident[TOUCHED_WORDS] = {0xff};
	struct touched_sight sight = {.unit = 9, .touched = touched, .resident = resident};
	struct touched_counts c;

	(void)state;
	assert_int_equal(touched_set_add(s, &sight, 1, NULL), 0);
	assert_int_equal(touched_set_add(s, &sight, 1, NULL), 0); /* a unit may come twice */
	touched_set_counts(s, &c);
	assert_int_equal(c.touched, 4);
	assert_int_equal(c.resident, 8);
	assert_int_equal(c.resident_touched, 4);
	assert_int_equal(c.huge_units, 0);
	add(s, 0, 9, 6, 12, 2); /* two of them resident, four new ones */
	touched_set_counts(s, &c);
	assert_int_equal(c.touched, 10);
	assert_int_equal(c.resident_touched, 6);
	sight.huge = true;
	sight.resident = NULL;
	assert_int_equal(touched_set_add(s, &sight, 3, NULL), 0);
	touched_set_counts(s, &c);
	assert_int_equal(c.huge_units, 1);
	assert_int_equal(c.touched, 10);
}

static void assert_run(const struct touch_run *r, uint64_t first, uint32_t pages, uint32_t ms)
{
	assert_int_equal(r->first, first);
	assert_int_equal(r->pages, pages);
	assert_int_equal(r->ms, ms);
}

/* By scan first, then task and address; only lazy pages; a page keeps its first scan. */
static void test_order(void **state)
{
	_cleanup_touched_set_ struct touched_set *s = new_set();
	struct image_extent first[] = {{100 * 2097152ULL + 4096 * 500, 24, 0, 0}};
	struct image_extent second[] = {{7 * 2097152ULL, 4, 24, 0},
					{7 * 2097152ULL + 4096 * 10, 10, 28, 0}};
	struct image_task tasks[] = {{.extents = first, .n_extents = 1, .lazy_pages = 24},
				     {.extents = second, .n_extents = 2, .lazy_pages = 14},
				     {.lazy_pages = 0}};
	struct image_map map = {.tasks = tasks, .n_tasks = 3, .lazy_pages = 38};
	const size_t task_of[] = {1, 0, TOUCHED_NO_TASK};
	const uint32_t ms[] = {0, 2, 5, 9};
	_cleanup_free_ struct touch_run *runs = NULL;
	uint64_t pages;
	size_t n;

	(void)state;
	add(s, 0, 7, 2, 12, 1);	     /* 2, 3 and, in the other extent, 10, 11 */
	add(s, 1, 100, 505, 512, 2); /* pages 5 to 11 of its extent, */
	add(s, 1, 101, 0, 3, 2);     /* and 12 to 14, in the next unit */
	add(s, 1, 100, 500, 506, 3); /* 0 to 4; one is known already */
	add(s, 0, 7, 0, 3, 3);	     /* 0 and 1 */
	add(s, 5, 7, 0, 512, 1);     /* a task that is not in the image */
	assert_int_equal(touched_set_runs(s, &map, task_of, ms, &runs, &n, &pages, NULL), 0);
	assert_int_equal(n, 4);
	assert_run(&runs[0], 26, 4, 2); /* across the gap in addresses */
	assert_run(&runs[1], 5, 10, 5); /* across units */
	assert_run(&runs[2], 0, 5, 9);
	assert_run(&runs[3], 24, 2, 9);
	assert_int_equal(pages, 21);
}

static void test_empty(void **state)
{
	_cleanup_touched_set_ struct touched_set *s = new_set();
	struct image_extent extent = {0, 1 << 20, 0, 0};
	struct image_task task = {.extents = &extent, .n_extents = 1, .lazy_pages = 1 << 20};
	struct image_map map = {.tasks = &task, .n_tasks = 1, .lazy_pages = 1 << 20};
	const size_t task_of[] = {0};
	_cleanup_free_ struct touch_run *runs = NULL;
	uint64_t pages = 1;
	size_t n = 1;

	(void)state;
	assert_int_equal(touched_set_runs(s, &map, task_of, NULL, &runs, &n, &pages, NULL), 0);
	assert_int_equal(n, 0);
	assert_int_equal(pages, 0);
}

/* Many units of many tasks, every third page, and scan numbers beyond the last that is kept apart.
 */
static void test_many(void **state)
{
	_cleanup_touched_set_ struct touched_set *s = new_set();
	struct touched_counts c;

	(void)state;
	for (uint64_t unit = 0; unit < 20000; unit++)
		add(s, unit % 7, unit * 3, unit % 512, unit % 512 + 1, (unsigned)unit * 5 + 1);
	touched_set_counts(s, &c);
	assert_int_equal(c.touched, 20000);
	for (uint64_t unit = 0; unit < 20000; unit++)
		add(s, unit % 7, unit * 3, unit % 512, unit % 512 + 1, 1);
	touched_set_counts(s, &c);
	assert_int_equal(c.touched, 20000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pages),  cmocka_unit_test(test_tables_and_leaves),
		cmocka_unit_test(test_levels), cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_counts), cmocka_unit_test(test_order),
		cmocka_unit_test(test_empty),  cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

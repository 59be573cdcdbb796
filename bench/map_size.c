/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * map_size: what the pager's address-space maps take in memory and time, against the size of the
 * image.
 *
 *   map_size [GB/PROCESSES/MAPPINGS]...   default: 1/1/1000 8/1/1 8/1/65000 8/64/100000
 *
 * Memory: of all maps, and with the frame index and the worst touch order (every page of the image,
 * each a run of its own, in random order); allowed is 0.1 % of the image and 64 MB. Times: making
 * the maps; one lookup by address, by number, and of a place in the touch order; asking for every
 * frame whether some process wants it; a fork; giving up one mapping; moving one.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "format/frame.h"
#include "format/touch.h"
#include "space.h"
#include "touch_order.h"

#define BASE UINT64_C(0x100000000000)
#define FAR UINT64_C(0x500000000000)
#define LOOKUPS 1000000u
#define CHANGES 20000u
#define MB (1024.0 * 1024.0)

struct image {
	size_t tasks, mappings; /* mappings of each task */
	uint64_t mapping_pages;
	struct space **spaces;
};

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "map_size: %s\n", what);
	exit(1);
}

static double memory_mb(void)
{
	struct mallinfo2 m = mallinfo2();

	return (double)(m.uordblks + m.hblkhd) / MB;
}

/* xorshift64 (Marsaglia, Xorshift RNGs, 2003) */
static uint64_t random_below(uint64_t n)
{
	static uint64_t x = 2008;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x % n;
}

static uint64_t pages_of(const struct image *m)
{
	return m->tasks * m->mappings * m->mapping_pages;
}

static uint64_t address_of(const struct image *m, uint64_t mapping)
{
	return BASE + mapping * (m->mapping_pages + 1) * PAGE_BYTES;
}

static void make_spaces(struct image *m)
{
	struct image_extent *x = calloc(m->mappings, sizeof(*x));
	uint64_t pages = m->mappings * m->mapping_pages;

	if (!x)
		die("out of memory");
	for (size_t t = 0; t < m->tasks; t++) {
		struct image_task task = {.first = t * pages,
					  .lazy_pages = pages,
					  .extents = x,
					  .n_extents = m->mappings};

		for (size_t i = 0; i < m->mappings; i++)
			x[i] = (struct image_extent){.address = address_of(m, i),
						     .pages = m->mapping_pages,
						     .first = t * pages + i * m->mapping_pages};
		if (space_new(&task, &m->spaces[t], NULL) < 0)
			die("making a map");
	}
	free(x);
}

static double find_ns(const struct image *m)
{
	uint64_t start = clock_ns(), number, found = 0;

	for (unsigned i = 0; i < LOOKUPS; i++)
		found += space_find(m->spaces[random_below(m->tasks)],
				    address_of(m, random_below(m->mappings)), &number);
	if (found != LOOKUPS)
		die("an address was not found");
	return (double)(clock_ns() - start) / LOOKUPS;
}

static double locate_ns(const struct image *m)
{
	uint64_t start = clock_ns(), own = m->mappings * m->mapping_pages, address, pages;

	for (unsigned i = 0; i < LOOKUPS; i++) {
		uint64_t number = random_below(pages_of(m));

		if (!space_locate(m->spaces[number / own], number, &address, &pages))
			die("a page was not found");
	}
	return (double)(clock_ns() - start) / LOOKUPS;
}

/* As the remaining lane does it when each frame is fetched. */
static double sweep_ms(const struct image *m)
{
	uint64_t start = clock_ns(), wanted = 0, pages = pages_of(m);

	for (uint64_t page = 0; page < pages; page += FRAME_PAGES)
		for (size_t t = 0; t < m->tasks; t++)
			wanted += space_wants_any(m->spaces[t], page, FRAME_PAGES);
	if (wanted < pages / FRAME_PAGES)
		die("a frame is not wanted");
	return clock_ms_since(start);
}

static double clone_ms(const struct image *m)
{
	uint64_t start = clock_ns();
	struct space *copy;

	if (space_clone(m->spaces[0], &copy, NULL) < 0)
		die("copying a map");
	space_free(copy);
	return clock_ms_since(start);
}

static double move_us(const struct image *m)
{
	uint64_t start = clock_ns(), len = m->mapping_pages * PAGE_BYTES;

	for (unsigned i = 0; i < CHANGES; i++) {
		struct space *s = m->spaces[random_below(m->tasks)];
		uint64_t mapping = random_below(m->mappings), at = address_of(m, mapping);

		if (space_move(s, at, at - BASE + FAR, len, NULL) < 0 ||
		    space_move(s, at - BASE + FAR, at, len, NULL) < 0)
			die("moving a mapping");
	}
	return (double)(clock_ns() - start) / 1000 / (2 * CHANGES);
}

static double drop_us(const struct image *m)
{
	uint64_t start = clock_ns(), len = m->mapping_pages * PAGE_BYTES;

	for (unsigned i = 0; i < CHANGES; i++) {
		uint64_t at = address_of(m, random_below(m->mappings));

		if (space_drop(m->spaces[random_below(m->tasks)], at, at + len, NULL) < 0)
			die("giving up a mapping");
	}
	return (double)(clock_ns() - start) / 1000 / CHANGES;
}

/* All pages in random order. */
static void make_touch_set(struct touch_set *t, uint64_t pages)
{
	t->runs = calloc(pages, sizeof(*t->runs));
	if (!t->runs || frame_index_new(pages, &t->index, NULL) < 0)
		die("out of memory");
	t->n_runs = t->pages = pages;
	for (uint64_t i = 0; i < pages; i++) {
		uint64_t other = random_below(i + 1);

		t->runs[i] = t->runs[other];
		t->runs[other] = (struct touch_run){.first = i, .pages = 1};
	}
}

static double place_ns(const struct touch_order *o, uint64_t pages)
{
	uint64_t start = clock_ns(), place;

	for (unsigned i = 0; i < LOOKUPS; i++)
		if (!touch_order_place(o, random_below(pages), &place))
			die("a page is not in the touch order");
	return (double)(clock_ns() - start) / LOOKUPS;
}

static void measure(double gb, size_t tasks, size_t mappings)
{
	struct image m = {.tasks = tasks, .mappings = mappings / tasks};
	struct touch_set touch = {0};
	_cleanup_touch_order_ struct touch_order *order = NULL;
	_cleanup_frame_index_ struct frame_index *index = NULL;
	double before = memory_mb(), maps, all, make_ms, order_ms;
	double find, locate, place, sweep, fork;
	uint64_t start;

	m.mapping_pages = (uint64_t)(gb * (1 << 30) / PAGE_BYTES) / (m.mappings * tasks);
	m.spaces = calloc(tasks, sizeof(struct space *));
	if (!m.spaces || !m.mapping_pages)
		die("less than a page a mapping");
	start = clock_ns();
	make_spaces(&m);
	make_ms = clock_ms_since(start);
	maps = memory_mb() - before;
	make_touch_set(&touch, pages_of(&m));
	if (frame_index_new(pages_of(&m), &index, NULL) < 0)
		die("out of memory");
	start = clock_ns();
	if (touch_order_new(&touch, &order, NULL) < 0)
		die("making the touch order");
	order_ms = clock_ms_since(start);
	all = memory_mb() - before;
	find = find_ns(&m);
	locate = locate_ns(&m);
	place = place_ns(order, touch.pages);
	sweep = sweep_ms(&m);
	fork = clone_ms(&m);
	printf("%5.2f %9zu %8zu %8.1f %7.1f %7.1f %8.2f %8.1f %7.0f %9.0f %8.0f %8.1f %7.2f", gb,
	       tasks, mappings, maps, all, gb * 1024 / 1000 + 64, make_ms, order_ms, find, locate,
	       place, sweep, fork);
	printf(" %7.2f", move_us(&m));
	printf(" %7.2f\n", drop_us(&m));
	for (size_t t = 0; t < tasks; t++)
		space_free(m.spaces[t]);
	free(m.spaces);
	free(touch.runs);
	frame_index_free(touch.index);
}

int main(int argc, char **argv)
{
	static const char *const standard[] = {"1/1/1000", "8/1/1", "8/1/65000", "8/64/100000"};
	const char *const *rows = argc > 1 ? (const char *const *)argv + 1 : standard;
	int n = argc > 1 ? argc - 1 : 4;

	printf("%5s %9s %8s %8s %7s %7s %8s %8s %7s %9s %8s %8s %7s %7s %7s\n", "GB", "processes",
	       "mappings", "maps MB", "all MB", "allowed", "make ms", "order ms", "find ns",
	       "locate ns", "place ns", "sweep ms", "fork ms", "move us", "drop us");
	for (int i = 0; i < n; i++) {
		char *end;
		double gb = strtod(rows[i], &end);
		size_t tasks = *end == '/' ? strtoul(end + 1, &end, 10) : 0;
		size_t mappings = *end == '/' ? strtoul(end + 1, &end, 10) : 0;

		if (*end || gb <= 0 || tasks == 0 || mappings < tasks)
			die("usage: map_size [GB/PROCESSES/MAPPINGS]...");
		measure(gb, tasks, mappings);
	}
	return 0;
}

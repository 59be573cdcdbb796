/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "touch_map.h"

#include <stdio.h>

#define LEVELS 8

struct row {
	uint64_t first, pages;
	unsigned columns;
	uint64_t touched[TOUCH_MAP_COLUMNS_MAX];
};

/* The first page behind a column. */
static uint64_t column_end(const struct row *r, unsigned column)
{
	return (uint64_t)((__uint128_t)r->pages * (column + 1) / r->columns);
}

static unsigned column_of(const struct row *r, uint64_t page)
{
	unsigned column = (unsigned)((__uint128_t)page * r->columns / r->pages);

	/* columns are not all of one width where pages do not divide evenly */
	while (column_end(r, column) <= page)
		column++;
	while (column && column_end(r, column - 1) > page)
		column--;
	return column;
}

static void count(struct row *r, const struct touch_run *run)
{
	uint64_t page = run->first > r->first ? run->first - r->first : 0;
	uint64_t end = run->first + run->pages;

	if (end <= r->first || page >= r->pages)
		return;
	end -= r->first;
	if (end > r->pages)
		end = r->pages;
	for (unsigned column = column_of(r, page); page < end; column++) {
		uint64_t to = column_end(r, column) < end ? column_end(r, column) : end;

		r->touched[column] += to - page;
		page = to;
	}
}

static unsigned level(const struct row *r, unsigned column)
{
	uint64_t start = column ? column_end(r, column - 1) : 0;
	uint64_t all = column_end(r, column) - start, is = r->touched[column];
	unsigned high = (unsigned)((__uint128_t)is * LEVELS / all);

	return is && !high ? 1 : high;
}

void touch_map_row(const struct touch_set *t, uint64_t first, uint64_t pages, unsigned columns,
		   bool utf8, char out[TOUCH_MAP_ROW_SIZE])
{
	static const char *const fine[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
	static const char *const plain[] = {" ", ".", ":", "-", "=", "+", "*", "%", "#"};
	struct row r = {.first = first, .pages = pages, .columns = columns};
	uint64_t touched = 0;
	size_t at = 0, runs = touch_set_touched(t, &touched);

	if (r.columns > TOUCH_MAP_COLUMNS_MAX)
		r.columns = TOUCH_MAP_COLUMNS_MAX;
	if (r.columns > pages)
		r.columns = (unsigned)pages;
	*out = '\0';
	for (size_t i = 0; r.columns && i < runs; i++)
		count(&r, &t->runs[i]);
	for (unsigned c = 0; c < r.columns; c++)
		at += (size_t)snprintf(out + at, TOUCH_MAP_ROW_SIZE - at, "%s",
				       utf8 ? fine[level(&r, c)] : plain[level(&r, c)]);
}

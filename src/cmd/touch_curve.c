/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "touch_curve.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEPS ((TOUCH_CURVE_MAX - 2) / 2) /* of time, and of pages */
#define LEVELS 8
#define DECADE 10 /* columns of a power of ten */

static int by_time(const void *a, const void *b)
{
	const struct touch_point *p = a, *q = b;

	return p->ms < q->ms ? -1 : p->ms > q->ms;
}

/* Every point there is: runs of the same time are one. */
static int all_points(const struct touch_set *t, struct touch_point **ret, size_t *ret_n,
		      struct frem_error *err)
{
	uint64_t pages = 0;
	size_t runs = touch_set_touched(t, &pages), n = 0;
	struct touch_point *p = calloc(runs + 2, sizeof(*p));

	if (!p)
		return frem_oom(err);
	for (size_t i = 0; i < runs; i++)
		p[i] = (struct touch_point){t->runs[i].ms, t->runs[i].pages};
	qsort(p, runs, sizeof(*p), by_time);
	pages = 0;
	for (size_t i = 0; i < runs; i++) {
		pages += p[i].pages;
		if (n && p[n - 1].ms == p[i].ms)
			n--;
		p[n++] = (struct touch_point){p[i].ms, pages};
	}
	if (!n || p[n - 1].ms < t->info.window_ms)
		p[n++] = (struct touch_point){t->info.window_ms, pages};
	*ret = p;
	*ret_n = n;
	return 0;
}

int touch_curve(const struct touch_set *t, struct touch_point out[TOUCH_CURVE_MAX], size_t *ret_n,
		struct frem_error *err)
{
	_cleanup_free_ struct touch_point *all = NULL;
	struct touch_point last = {0};
	uint64_t ms_step, pages_step;
	size_t n_all = 0, n = 0;
	int r = all_points(t, &all, &n_all, err);

	if (r < 0)
		return r;
	ms_step = all[n_all - 1].ms / STEPS + 1;
	pages_step = all[n_all - 1].pages / STEPS + 1;
	for (size_t i = 0; i < n_all; i++) {
		/* at most STEPS points for each of the two reasons, besides the first and the last
		 */
		if (i && i + 1 < n_all && n_all > TOUCH_CURVE_MAX &&
		    all[i].ms - last.ms < ms_step && all[i].pages - last.pages < pages_step)
			continue;
		last = out[n++] = all[i];
	}
	*ret_n = n;
	return 0;
}

/* ---- the picture ---- */

/* The time at which a column ends: the powers of ten, in ms, and nine between each two. */
static uint64_t column_ms(unsigned column)
{
	/* ten to the power of tenths, in thousandths */
	static const unsigned tenths[DECADE] = {1000, 1259, 1585, 1995, 2512,
						3162, 3981, 5012, 6310, 7943};
	uint64_t ms = tenths[column % DECADE];

	for (unsigned i = 0; i < column / DECADE; i++)
		ms *= 10;
	return (ms + 500) / 1000;
}

static void put_times(char *times, unsigned first, unsigned end)
{
	static const char *const names[] = {"1 ms",  "10 ms",  "100 ms",  "1 s",     "10 s",
					    "100 s", "1000 s", "10000 s", "100000 s"};
	size_t at = 0;

	for (unsigned c = first; c < end && c / DECADE < sizeof(names) / sizeof(*names);
	     c += DECADE)
		at += (size_t)snprintf(times + at, TOUCH_PICTURE_SIZE - at, "%-*s", DECADE,
				       names[c / DECADE]);
	while (at && times[at - 1] == ' ')
		times[--at] = '\0';
}

void touch_curve_picture(const struct touch_point *points, size_t n, bool utf8,
			 char blocks[TOUCH_PICTURE_SIZE], char times[TOUCH_PICTURE_SIZE])
{
	static const char *const fine[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
	static const char *const plain[] = {" ", ".", ":", "-", "=", "+", "*", "%", "#"};
	uint64_t most = n ? points[n - 1].pages : 0, pages = 0;
	unsigned end = 0, first;
	size_t at = 0, next = 0;

	*blocks = *times = '\0';
	while (n && (end == 0 || column_ms(end - 1) < points[n - 1].ms))
		end++;
	first = end > TOUCH_CURVE_MAX ? (end - TOUCH_CURVE_MAX + DECADE - 1) / DECADE * DECADE : 0;
	for (unsigned c = first; c < end; c++) {
		uint64_t level;

		for (; next < n && points[next].ms <= column_ms(c); next++)
			pages = points[next].pages;
		level = most ? (pages * LEVELS + most - 1) / most : 0;
		at += (size_t)snprintf(blocks + at, TOUCH_PICTURE_SIZE - at, "%s",
				       utf8 ? fine[level] : plain[level]);
	}
	put_times(times, first, end);
}

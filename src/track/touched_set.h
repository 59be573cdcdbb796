/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pages seen touched, with the scan in which each was first seen.
 *
 * Memory is kept a unit (512 pages, 2 MB of address space) at a time: two bitmaps, and two bytes a
 * page in units of which something was touched, whatever the pattern: 0.05 % of the memory tracked.
 * Not thread-safe.
 */
#ifndef FREM_TRACK_TOUCHED_SET_H
#define FREM_TRACK_TOUCHED_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "criu/image_map.h"
#include "format/touch.h"

#define TOUCHED_UNIT_PAGES 512u
#define TOUCHED_WORDS (TOUCHED_UNIT_PAGES / 64)
/* Scans beyond this one share its number. At one a second that is 18 hours. */
#define TOUCHED_LAST_SCAN 65535u
#define TOUCHED_NO_TASK SIZE_MAX

struct touched_set;

int touched_set_new(struct touched_set **ret, struct frem_error *err);
void touched_set_free(struct touched_set *s);

/* What one scan saw of one unit; unit: address / 2 MB. */
struct touched_sight {
	size_t task; /* whose image the pages are in: for a forked child it is the parent */
	uint64_t unit;
	bool huge; /* one accessed bit stood for the whole unit */
	const uint64_t *touched;
	const uint64_t *resident; /* NULL except in the scan that says what is resident */
};

/* scan: 1 for the first. Pages known as touched keep their first scan. */
int touched_set_add(struct touched_set *s, const struct touched_sight *sight, unsigned scan,
		    struct frem_error *err);

struct touched_counts {
	uint64_t touched;
	uint64_t resident;
	uint64_t resident_touched; /* in both */
	uint64_t huge_units;	   /* units that were seen as one huge page */
};

void touched_set_counts(const struct touched_set *s, struct touched_counts *ret);

/*
 * The touched lazy pages of the map, in order of scan, task and address; neighbours of one scan are
 * one run. task_of[i] is the set's number for m->tasks[i], or TOUCHED_NO_TASK; scan_ms[n] is the
 * time of scan n. *ret is allocated.
 */
int touched_set_runs(const struct touched_set *s, const struct image_map *m, const size_t *task_of,
		     const uint32_t *scan_ms, struct touch_run **ret, size_t *ret_n,
		     uint64_t *ret_pages, struct frem_error *err);

FREM_CLEANUP(struct touched_set *, cleanup_touched_set, touched_set_free)
#define _cleanup_touched_set_ _cleanup_(cleanup_touched_set)

#endif

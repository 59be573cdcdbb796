/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Huge pages. One accessed bit stands for 512 pages there: that one of them was touched is all that
 * the page tables tell. So units (2 MB) that were touched as a whole do not enter the touched set.
 * They are taken apart, a few at a time, looked at in small pages until it is known which of them
 * the program uses, and put together again. What that costs the program bounds how many can be
 * looked at in a window; at the end, those that were not are judged by those that were.
 *
 * All on the thread that scans.
 */
#ifndef FREM_TRACK_HUGE_H
#define FREM_TRACK_HUGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arm.h"
#include "base/error.h"
#include "bpf_walker.h"
#include "huge_split.h"
#include "touched_set.h"

struct huge_pages;

/* Whether all of a unit of the task's image still is in the task's memory, at its address. */
typedef bool (*huge_in_place)(void *arg, size_t task, uint64_t unit);

/* The tracked tasks run from now on; they and the walker have to outlive it. */
int huge_new(struct huge_pages **ret, struct bpf_walker *w, const struct tracked_task *tasks,
	     size_t n_tasks, huge_in_place in_place, void *arg, struct frem_error *err);
void huge_free(struct huge_pages *h);

/*
 * What a scan saw of one unit: to be called for every record, in the order in which they come.
 * touched: the pages that the scan is to add to the set; those of huge pages are taken out. *scan:
 * the scan as which they are to be added; an earlier one where the unit is known to have been
 * touched before.
 */
int huge_saw(struct huge_pages *h, size_t task, const struct young_record *r, uint64_t *touched,
	     unsigned *scan, struct frem_error *err);

/* Between scans: does what is due, adds to the set what it finds, and returns when (clock_ns()) it
 * wants to be called again. Never fails: what goes wrong makes the set coarser. */
uint64_t huge_tend(struct huge_pages *h, struct touched_set *set);

/* After the last scan: puts everything together, and adds the units that were not looked at. */
void huge_finish(struct huge_pages *h, struct touched_set *set);

struct huge_counts {
	size_t units;	/* huge pages at the first scan */
	size_t waiting; /* touched, and not looked at yet */
	size_t again;	/* looked at, but not long enough */
	size_t known;	/* it is known which pages are used, or assumed that all are */
	size_t refused; /* cannot be taken apart */
	struct splitter_totals splitter;
};

void huge_counts(const struct huge_pages *h, struct huge_counts *ret);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The `touch` object: the touch set in first-touch order, followed by the touch pages themselves,
 * in frames and in that same order, so that the hot part of an image is one sequential read.
 *
 * Pages are named by their lazy page number: lazy pages are numbered from 0 in image order (see
 * image_map.h), which is also their order in `pages`. The n-th page of the runs is the n-th page of
 * the frames. Pure: no I/O.
 *
 * Layout: fixed header (TOUCH_HEADER_SIZE) | descriptor (zstd) | frames. The header gives the
 * descriptor's size and digest and the digest of the manifest it belongs to.
 */
#ifndef FREM_FORMAT_TOUCH_H
#define FREM_FORMAT_TOUCH_H

#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/digest.h"
#include "base/error.h"
#include "format/frame.h"

#define TOUCH_HEADER_SIZE 128u
#define TOUCH_DESCRIPTOR_MAX (UINT64_C(1) << 30)

/* In place of a time: not touched; see touch_set_fill(). */
#define TOUCH_NEVER UINT32_MAX

/* Consecutive lazy pages first touched together. */
struct touch_run {
	uint64_t first; /* lazy page number */
	uint32_t pages; /* at least 1 */
	uint32_t ms; /* first seen touched this long after the tasks were resumed, or TOUCH_NEVER */
	uint32_t misses; /* recorded restarts in a row that did not use these pages; see
			    touch_set_refine() */
};

/*
 * How the set came to be, and what it cost (the split of the paper's table 2); shown by `frem
 * show`. Costs are processor time of frem, in ms.
 */
struct touch_info {
	char backend[32]; /* "accessed-bits", or "restart" where restarts recorded it */
	char ended[32];	  /* why the window closed: "image-arrived", "saturated", "asked",
			     "program-ended", "next-checkpoint" */
	uint32_t window_ms;
	uint32_t scans;
	uint32_t restarts;    /* recorded restarts that went into the set */
	double prepare_ms;    /* before the dump, with the program running */
	double frozen_ms;     /* while the tasks were frozen: time that the program did not run */
	double scan_ms;	      /* reading accessed bits and events */
	double insert_ms;     /* search and insertion: keeping the set and the candidate pages */
	double descriptor_ms; /* encoding and writing the touch object, before it is uploaded */
	double overhead_ms;   /* the sum of all these */
};

struct touch_set {
	uint8_t manifest[DIGEST_SIZE]; /* digest of the manifest's bytes */
	struct touch_info info;
	struct touch_run *runs;
	size_t n_runs;
	uint64_t pages;		   /* sum over runs */
	struct frame_index *index; /* of the frames; index->pages == pages */
	uint64_t frames_offset;	   /* where the frames start in the object; set by decode */
};

void touch_set_free(struct touch_set *t);

/* Header and descriptor, complete: the frames follow right behind. t->index must be sealed. */
int touch_encode(const struct touch_set *t, struct buffer *out, struct frem_error *err);
/*
 * From the first TOUCH_HEADER_SIZE bytes: the number of bytes of header and descriptor together
 * (checked against TOUCH_DESCRIPTOR_MAX). Error: FREM_DAMAGED.
 */
int touch_measure(const void *data, size_t n, uint64_t *ret_size, struct frem_error *err);
/*
 * Decodes header and descriptor: n is what touch_measure() said. Checks digest, bounds, that no
 * page is named twice, and that every page is below lazy_pages. Error: FREM_DAMAGED, with the
 * offset.
 */
int touch_decode(const void *data, size_t n, uint64_t lazy_pages, struct touch_set **ret,
		 struct frem_error *err);

/*
 * Completes frames: where at least half the pages of a frame of `pages` are in the set, the others
 * are appended to it, as not touched. Once the touch set has been fetched nothing of those frames
 * is needed any more, which would otherwise cross the link as a whole for the few pages left. None
 * of the set's pages may be beyond lazy_pages. Error: FREM_FAILED, no memory; the set is usable
 * still.
 */
int touch_set_fill(struct touch_set *t, uint64_t lazy_pages, struct frem_error *err);
/* The number of runs, from the first on, that were touched, and of their pages. */
size_t touch_set_touched(const struct touch_set *t, uint64_t *ret_pages);

/* A page that a restarted program touched. */
struct touch_seen {
	uint64_t page; /* lazy page number */
	uint32_t ms;   /* after it was resumed */
};

/* How many recorded restarts in a row must not have used a page before it moves behind the used
 * ones; and how many restarts record into a set, after which it is taken as settled. */
#define TOUCH_MISSES_BEHIND 2u
#define TOUCH_RESTARTS_SETTLED 3u

/*
 * What a recorded restart adds to a touch set: `seen` (n pages in first-touch order, none twice) is
 * what the program touched in its first recorded_ms. old is the set until now, or NULL; info is
 * taken over but for `restarts` (old's and one more) where old is NULL, else old's is kept.
 *
 * The new set: a page that was seen takes the time at which it was seen now, and no misses. A page
 * of old that was expected within recorded_ms (its ms is below that) and was not seen has one miss
 * more, all others keep time and misses. Order: pages with fewer than TOUCH_MISSES_BEHIND misses by
 * time, then the others by time; none is dropped but those that were never touched (the caller
 * fills again). *ret has no index and no manifest digest yet.
 */
int touch_set_refine(const struct touch_set *old, const struct touch_info *info,
		     const struct touch_seen *seen, size_t n, uint32_t recorded_ms,
		     struct touch_set **ret, struct frem_error *err);

FREM_CLEANUP(struct touch_set *, cleanup_touch_set, touch_set_free)
#define _cleanup_touch_set_ _cleanup_(cleanup_touch_set)

#endif

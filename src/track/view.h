/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which image pages an address space still holds, and where: the paper's candidate pages. A view
 * starts as what the process was at the checkpoint, every page where the image has it; from then on
 * pages only leave it, or move. A child's view is a copy of its parent's: what it touches are the
 * parent's image pages. Pure; one thread at a time.
 */
#ifndef FREM_TRACK_VIEW_H
#define FREM_TRACK_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "touched_set.h"

/* More changes than that leave the view as it was: 10 MB. */
#define VIEW_STRETCHES_MAX (UINT64_C(1) << 18)

struct view;

/* Pages [start, end), by number, are those of the image of `task` from page `image` on. */
struct view_stretch {
	uint64_t start;
	uint64_t end;
	uint64_t image;
	uint64_t since; /* when they got there (clock_ns()); 0 from the start */
	size_t task;
};

int view_new(size_t task, struct view **ret, struct frem_error *err);
int view_copy(const struct view *v, struct view **ret, struct frem_error *err);
void view_free(struct view *v);

/* Pages [start, end) are gone. On failure some of them are still there: -ENOMEM, -ENOSPC. */
int view_remove(struct view *v, uint64_t start, uint64_t end);
/* Pages [start, end) are at `to` now, since `when`; what was there is gone. On failure pages may
 * have gone instead of having moved. */
int view_move(struct view *v, uint64_t start, uint64_t end, uint64_t to, uint64_t when);

/* The first stretch that has a page of [start, end), as it is; false if there is none. */
bool view_find(const struct view *v, uint64_t start, uint64_t end, struct view_stretch *ret);

typedef int (*view_take)(void *arg, const struct touched_sight *sight, struct frem_error *err);

/*
 * Gives what was seen of one unit of the address space to `take`, as sights of image pages, whole
 * units or parts of them; the sight's own task is not looked at. Pages that are in their place only
 * since `before` or later are left out: the sight may be of what was there until then.
 */
int view_see(const struct view *v, const struct touched_sight *sight, uint64_t before,
	     view_take take, void *arg, struct frem_error *err);

FREM_CLEANUP(struct view *, cleanup_view, view_free)
#define _cleanup_view_ _cleanup_(cleanup_view)

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tracking children (track_child.h), and what is expected to be found. */
#ifndef FREM_TESTS_TRACK_WATCH_H
#define FREM_TESTS_TRACK_WATCH_H

#include <stddef.h>
#include <stdint.h>

#include "track/track.h"
#include "track_child.h"

#define MB_PAGES (1048576u / PAGE)

int skip_without_root(void **state);
void assert_ok(int r, const struct frem_error *err);

struct tracker *open_tracker(void);
/* Arms stopped children and lets them run. */
void arm_and_start(struct tracker *t, const struct child *children, size_t n);

/* For waits on what only a later scan can tell. */
void breathe(uint64_t since);
uint64_t pages_seen(struct tracker *t);
/*
 * How many of n accessed pages have to be found. On bare metal it is all of them; a virtual machine
 * with emulated page tables loses the accessed bits of one page in 20,000.
 */
uint64_t nearly(uint64_t n);
/* How many pages of a program that was not prepared may count as touched although they were
 * accessed just before it was armed: see arm.c. The child holds what its parent held, too. */
#define MOST_STALE 64u
/* Until n pages more than `before` have been seen. */
void wait_for_pages(struct tracker *t, uint64_t before, uint64_t n);
void wait_for_state(struct tracker *t, enum track_state state);

/* What the tracker found in the children's memory: lazy page numbers are those of the first child's
 * pages, then those of the second's. pid: what the image calls the first one, 0 for its real pid.
 */
struct touch_set *result(struct tracker *t, const struct child *children, size_t n, pid_t pid);
/* By lazy page: 0, or 1 + the time at which it was first seen touched. Checks the runs' form. */
uint32_t *by_page(const struct touch_set *set, uint64_t pages);
uint64_t count(const uint32_t *when, uint64_t first, uint64_t end, uint64_t step);
/* Pages [first, end) were found, and no page but those. */
void assert_found(const struct touch_set *set, uint64_t pages, uint64_t first, uint64_t end);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the remaining lane fetches next, and whether a fault should wait for bulk data that is on
 * its way or be fetched by itself. Pure: no I/O, no clock.
 *
 * Around a demand fault a window opens: the frames on both sides of it come next, a little on each.
 * While faults go on near a window it pays, and reaches further and further ahead of them, on the
 * side to which they move. There are several windows, as a program goes through several places of
 * its memory at once. What no window asks for comes by address.
 */
#ifndef FREM_PAGER_PLAN_H
#define FREM_PAGER_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "format/frame.h"
#include "store/store.h"

#define PLAN_NEAR_LEAST (UINT64_C(256) << 10) /* bytes that a new window reaches, on each side */
#define PLAN_NEAR_MOST (UINT64_C(32) << 20)   /* that one which pays reaches */
#define PLAN_NEAR_FRAMES 16u		      /* a fault so far off a window still is one near it */
#define PLAN_WINDOWS 8u
#define PLAN_GAP (UINT64_C(64) << 10) /* unwanted bytes that are cheaper to fetch than to skip */

struct plan;

/* Whether some address space still wants a page of the frame. */
typedef bool (*plan_wanted_fn)(void *arg, size_t frame);

int plan_new(const struct frame_index *x, plan_wanted_fn wanted, void *arg, struct plan **ret,
	     struct frem_error *err);
void plan_free(struct plan *p);
/* The frame needs no fetch for now: it is on its way, held, or settled. */
void plan_taken(struct plan *p, size_t frame);
/* It has to be fetched after all. */
void plan_again(struct plan *p, size_t frame);
bool plan_is_taken(const struct plan *p, size_t frame);
/* A program waits for the frame, which was not foreseen: go on near it. */
void plan_fault(struct plan *p, size_t frame);
/* Whether a window that pays has something to fetch. */
bool plan_pays(struct plan *p);
/*
 * The next frames [*ret_first, *ret_end) to fetch with one request of about `chunk` stored bytes;
 * marks those among them that were still to be fetched as taken. False: there is nothing left.
 */
bool plan_next(struct plan *p, uint64_t chunk, size_t *ret_first, size_t *ret_end);

/* Fetching bytes a second time takes them from everyone else: it has to gain more than this. */
#define PLAN_WASTE_MS 10
/*
 * Whether bytes that end `ahead` bytes further down the bulk that is on its way should be waited
 * for, or fetched with an urgent request of their own (`own` bytes).
 */
bool plan_worth_waiting(uint64_t ahead, uint64_t own, const struct fetcher_stats *s);

FREM_CLEANUP(struct plan *, cleanup_plan, plan_free)
#define _cleanup_plan_ _cleanup_(cleanup_plan)

#endif

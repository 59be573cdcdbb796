/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the remaining lane fetches next, and whether a fault should wait for bulk data that is on
 * its way or be fetched by itself. Pure: no I/O, no clock.
 *
 * The remaining image is fetched in chunks of neighbouring frames. After a demand fault the chunks
 * alternate behind and before the faulting frame, small at first and doubling; without one they
 * go by address.
 */
#ifndef FREM_PAGER_PLAN_H
#define FREM_PAGER_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "format/frame.h"

#define PLAN_CHUNK_MIN (UINT64_C(256) << 10) /* the first chunk beside a fault */
#define PLAN_CHUNK_LOW (UINT64_C(1) << 20)
#define PLAN_CHUNK_HIGH (UINT64_C(4) << 20)
#define PLAN_GAP (UINT64_C(64) << 10) /* unwanted bytes that are cheaper to fetch than to skip */
#define PLAN_IN_FLIGHT 4u /* requests; HTTP/1.1 without pipelining needs some to hide its gaps */

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
/* A demand fetch was needed at frame: go on near it. */
void plan_fault(struct plan *p, size_t frame);
/*
 * The next frames [*ret_first, *ret_end) to fetch with one request of about `chunk` stored bytes;
 * marks those among them that were still to be fetched as taken. False: there is nothing left.
 */
bool plan_next(struct plan *p, uint64_t chunk, size_t *ret_first, size_t *ret_end);

/* Bytes for one request, so that PLAN_IN_FLIGHT of them fill a link of this rate (bytes a second)
 * and round-trip time. */
uint64_t plan_chunk(double rate, double rtt_ms);
/* Fetching bytes a second time takes them from everyone else: it has to gain more than this. */
#define PLAN_WASTE_MS 10
/*
 * Whether bytes that end `ahead` bytes further down one of `streams` running bulk fetches should be
 * waited for, or fetched with a request of their own (`own` bytes). rate: of all streams together
 * in bytes a second, 0 where it is not known yet.
 */
bool plan_wait_for_stream(uint64_t ahead, unsigned streams, double rate, uint64_t own,
			  double rtt_ms);

FREM_CLEANUP(struct plan *, cleanup_plan, plan_free)
#define _cleanup_plan_ _cleanup_(cleanup_plan)

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The address-space map of one restored address space: which lazy page belongs at which address
 * now, and which pages are settled: in place, or no longer wanted by the program. Extents follow
 * the program's munmap, mremap and madvise. A page is at one address at most. Lookups and
 * changes are O(log n) over the extents, by address and by page number. Pure; one thread at a time.
 */
#ifndef FREM_PAGER_SPACE_H
#define FREM_PAGER_SPACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "criu/image_map.h"

struct space;

/* Called for every run of pages that has just become settled. */
typedef void (*space_settled_fn)(void *arg, uint64_t first, uint64_t pages);

int space_new(const struct image_task *t, struct space **ret, struct frem_error *err);
/* A forked child's copy: the same extents, the same pages settled, nobody told. */
int space_clone(const struct space *s, struct space **ret, struct frem_error *err);
void space_free(struct space *s);
/* From here on its bits are at `bits`, which is the caller's, has space_words() words, and outlives
 * the space. What they hold does not count; or, adopted, it alone counts. */
size_t space_words(const struct space *s);
void space_share(struct space *s, uint64_t *bits);
void space_adopt(struct space *s, uint64_t *bits);
/* For the case that the bits are lost: all that the map still holds is to be put in place. */
void space_want_all(struct space *s);
/* The first extent of the map that ends behind a byte address. False: there is none. */
bool space_extent(const struct space *s, uint64_t address, struct image_extent *ret);
void space_on_settled(struct space *s, space_settled_fn fn, void *arg);

/* The page numbers that a space can hold: [*ret_first, *ret_first + *ret_pages). */
void space_range(const struct space *s, uint64_t *ret_first, uint64_t *ret_pages);
/* Pages of the range that are not settled. */
uint64_t space_left(const struct space *s);
/* The lazy page that belongs at a byte address. */
bool space_find(const struct space *s, uint64_t address, uint64_t *ret_number);
/* Where page `number` belongs, and how many pages from it on are contiguous in address. */
bool space_locate(const struct space *s, uint64_t number, uint64_t *ret_address,
		  uint64_t *ret_pages);
/* Whether the page is still to be put in place. */
bool space_wants(const struct space *s, uint64_t number);
bool space_wants_any(const struct space *s, uint64_t first, uint64_t pages);
void space_settle(struct space *s, uint64_t first, uint64_t pages);

/* The range [start, end) of addresses no longer holds image pages: munmap, madvise. */
int space_drop(struct space *s, uint64_t start, uint64_t end, struct frem_error *err);
/* mremap: what belonged at [from, from + len) now belongs at [to, to + len). What the map still
 * held there is dropped. The ranges do not overlap. */
int space_move(struct space *s, uint64_t from, uint64_t to, uint64_t len, struct frem_error *err);
/* The address space is gone: everything is settled. */
void space_end(struct space *s);

FREM_CLEANUP(struct space *, cleanup_space, space_free)
#define _cleanup_space_ _cleanup_(cleanup_space)

#endif

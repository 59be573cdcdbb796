/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A set of extents that do not overlap, sorted by address or by page number. All operations are
 * O(log n), but for a short memmove. Pure; one thread at a time.
 *
 * The extents are in blocks of bounded size, and the blocks in one array: neither a lookup among
 * 100,000 extents nor taking one out of their middle has to move, or look at, more than a few KB.
 */
#ifndef FREM_PAGER_EXTENTS_H
#define FREM_PAGER_EXTENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Pages that are contiguous in address and in number. */
struct extent {
	uint64_t address;
	uint64_t pages;
	uint64_t first;
};

struct extent_block;

/* All zero, but for by_number: an empty set. */
struct extents {
	bool by_number; /* the key is the page number, else the byte address */
	size_t n;	/* extents */
	struct extent_block **blocks;
	size_t n_blocks, cap_blocks;
};

void extents_done(struct extents *x);
/* Inserts an extent that overlaps with none. 0 or -ENOMEM. */
int extents_insert(struct extents *x, const struct extent *e);
/* The first extent that ends behind key, or NULL. Valid until the next change. */
const struct extent *extents_seek(const struct extents *x, uint64_t key);
/* The extent that covers key, or NULL. */
const struct extent *extents_find(const struct extents *x, uint64_t key);
/* Takes `pages` pages from key on out of the extent that covers all of them. 0 or -ENOMEM. */
int extents_cut(struct extents *x, uint64_t key, uint64_t pages);
/* Makes *ret, which is empty, a copy. 0 or -ENOMEM; then *ret is to be freed as well. */
int extents_copy(const struct extents *x, struct extents *ret);

#endif

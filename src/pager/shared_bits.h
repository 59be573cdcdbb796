/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bitmaps that outlive the process: in a file without a name, whose descriptor others hold too.
 * Each has a place of its own there. No place is ever used twice, so it also names what the bitmap
 * belongs to; what a freed one took is given back. One thread at a time.
 */
#ifndef FREM_PAGER_SHARED_BITS_H
#define FREM_PAGER_SHARED_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct shared_bits {
	int fd;
	uint64_t next; /* where no place was given out yet */
};

/* The file, with no places in it. */
int shared_bits_new(struct shared_bits *ret, struct frem_error *err);
/* A place for a bitmap of so many 64-bit words; takes no memory yet. */
uint64_t shared_bits_reserve(struct shared_bits *b, size_t words);
/* The place was given out, by this process or the one before it. */
void shared_bits_reserved(struct shared_bits *b, uint64_t place, size_t words);
/* The bitmap at a place: zeros the first time. */
int shared_bits_map(const struct shared_bits *b, uint64_t place, size_t words, uint64_t **ret,
		    struct frem_error *err);
/* A mark on a bitmap: its content counts. Zeros have none. */
void shared_bits_complete(uint64_t *bits);
bool shared_bits_are_complete(const uint64_t *bits);
/* Ends the bitmap for good; NULL is none. */
void shared_bits_free(const struct shared_bits *b, uint64_t place, size_t words, uint64_t *bits);

#endif

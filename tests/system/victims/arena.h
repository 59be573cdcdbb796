/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory that is changed at random, and a model of what has to be in it: nothing, zeros, known
 * words, or, after MADV_FREE, words or zeros. Each arena belongs to one thread; it stays within its
 * own range of addresses, and unmaps, maps, moves, discards, locks, writes and reads there, by
 * instructions and by system calls. Every value that it reads is compared.
 */
#ifndef FREM_ARENA_H
#define FREM_ARENA_H

#include <stdint.h>
#include <sys/types.h>

#define ARENA_PAGES_MOST 16384u
#define ARENA_CHILDREN 3

enum kind {
	KIND_GONE, /* not mapped */
	KIND_ZERO,
	KIND_WORDS, /* those of victim_fill() */
};

struct slot {
	uint8_t kind;
	uint8_t freed;	/* it may be all zero as well */
	uint32_t words; /* their number under the arena's seed */
	uint64_t poke;	/* what was written over one word; 0: nothing */
};

struct arena {
	uint8_t *at;
	uint32_t pages, next_words;
	uint64_t seed, random;
	uint64_t steps;
	int pipe[2];
	int grows;	/* mappings may grow */
	unsigned depth; /* 0: the program; 1: a child; ... */
	pid_t children[ARENA_CHILDREN];
	struct slot slots[ARENA_PAGES_MOST];
};

/* Fills it. grows: mappings may grow, which beside the moves of other threads cannot be told from
 * something else, so that a restart may give such a program up. Nothing of what follows maps memory
 * anywhere else. */
void arena_init(struct arena *a, uint64_t seed, uint32_t pages, int grows);
/* One random step. */
void arena_step(struct arena *a);
void arena_verify(struct arena *a);
/* Waits for children, which verify everything before they end. */
void arena_join(struct arena *a);

#endif

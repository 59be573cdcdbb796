/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A program with known accesses to memory in huge pages, to be tracked. */
#ifndef FREM_BENCH_HUGE_PROGRAM_H
#define FREM_BENCH_HUGE_PROGRAM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum huge_pattern {
	HUGE_TENTH,	/* a random tenth of the pages, read at random as fast as it goes */
	HUGE_HUNDREDTH, /* likewise, a hundredth */
	HUGE_WRITTEN,	/* a random tenth, written */
	HUGE_STREAM,	/* all memory, read from one end to the other as fast as it goes */
	HUGE_MIXED,	/* all pages of each second unit, a fiftieth of the others, at random */
	HUGE_SWEEP,	/* all memory from one end to the other, 16 pages a millisecond */
	HUGE_RARE,	/* a random page each millisecond, of a hundredth of the pages */
	HUGE_FORKED,	/* a page of each unit each millisecond, all shared with a forked child */
	HUGE_PATTERNS
};

extern const char *const huge_pattern_names[HUGE_PATTERNS];

struct huge_program {
	pid_t pid;
	volatile uint8_t *memory; /* aligned to a huge page, within mapping */
	void *mapping;
	uint64_t pages;
	struct huge_shared *shared;
	uint32_t *chosen; /* what the pattern uses, in random order */
	uint64_t n_chosen;
};

/* Fills the memory and stops. 0, or -1 with errno. */
int huge_program_start(struct huge_program *p, enum huge_pattern pattern, uint64_t pages);
void huge_program_end(struct huge_program *p);
/* Stops it: no thread is on a processor any more. From here on it is noted what it uses. */
void huge_program_stop(const struct huge_program *p);
void huge_program_continue(const struct huge_program *p);

/* Accesses so far. */
uint64_t huge_program_count(const struct huge_program *p);
/* Its time on a processor and its time waiting for one, so far. */
void huge_program_times(const struct huge_program *p, double *ret_run_ms, double *ret_wait_ms);
/* By page: whether it was accessed since it was stopped last. Allocated; NULL: no memory. */
uint8_t *huge_program_used(const struct huge_program *p);
/* The child of HUGE_FORKED: there once the count is not 0. It ends with its parent. */
pid_t huge_program_child(const struct huge_program *p);
/* Bytes of its memory in huge pages now. */
uint64_t huge_program_huge(const struct huge_program *p);

#endif

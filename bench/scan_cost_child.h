/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The program whose tracking scan_cost measures: one process or more, in one tree. */
#ifndef FREM_BENCH_SCAN_COST_CHILD_H
#define FREM_BENCH_SCAN_COST_CHILD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum program_phase {
	PROGRAM_IDLE,
	PROGRAM_ALL,	/* accesses every page once */
	PROGRAM_TENTH,	/* accesses every tenth page once */
	PROGRAM_RANDOM, /* reads pages at random for ever, as fast as it can */
};

struct program {
	volatile uint8_t *memory; /* of each process, at the same address */
	uint64_t pages;		  /* of each process */
	size_t n;
	pid_t *pids; /* the root of the tree first */
	struct program_shared *shared;
};

/* n processes that hold GB in small pages together, all accessed. 0, or -1 with errno. While it has
 * nothing else to do, each uses a fiftieth of its memory over and over, some pages a millisecond.
 */
int program_start(struct program *p, double gb, size_t n);
void program_end(struct program *p);

/* Stops it as a whole: no thread is on a processor any more. */
void program_stop(const struct program *p);
void program_continue(const struct program *p);

void program_begin(const struct program *p, enum program_phase phase);
/* Begins a phase and waits until all processes are through. */
void program_tell(const struct program *p, enum program_phase phase);

/* Of the first process, PROGRAM_RANDOM. */
uint64_t program_reads(const struct program *p);
double program_cpu_ms(const struct program *p);

void pause_ms(double ms);

#endif

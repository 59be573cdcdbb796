/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A program to be tracked: it holds private anonymous memory and touches it as told. */
#ifndef FREM_TESTS_TRACK_CHILD_H
#define FREM_TESTS_TRACK_CHILD_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

#define PAGE 4096u
#define CHILD_THREADS 2

enum child_op {
	CHILD_READ,  /* every step-th page of [first, end) */
	CHILD_WRITE, /* likewise */
	CHILD_SPIN, /* two threads, each on a processor of its own, read their hot pages for ever */
	CHILD_EXEC, /* becomes another program, which maps the same addresses and writes to all */
	CHILD_EXIT,
	CHILD_CALL, /* calls the child_function at address `first` with the address `end` */
};

typedef void (*child_function)(void *arg);

struct child_command {
	enum child_op op;
	uint64_t first, end, step;
};

/* What the hot pages of a thread are, in CHILD_SPIN. */
#define HOT_PAGES 64u

struct child_shared {
	_Atomic uint64_t passes[CHILD_THREADS];
};

struct child {
	pid_t pid;
	volatile uint8_t *memory; /* aligned to a huge page, within mapping */
	void *mapping;
	uint64_t pages;
	struct child_shared *shared;
	int to, from;
};

enum child_flags {
	CHILD_HUGE = 1,	    /* in huge pages, as far as there are any */
	CHILD_SPARSE = 4,   /* only every 512th page is written to: one in each page table */
	CHILD_OWN_PIDS = 2, /* as process 1 of a pid namespace of its own */
};

/* Starts it, its pages written to, and stops it. */
void child_start(struct child *c, uint64_t pages, unsigned flags);
void child_stop(const struct child *c);
void child_continue(const struct child *c);
/* Sends a command and waits until it is done. */
void child_do(const struct child *c, enum child_op op, uint64_t first, uint64_t end, uint64_t step);
/* Ends it, whatever it does. */
void child_done(struct child *c);

/* In the program: what CHILD_EXEC does. */
void child_exec(const struct child *c);
/* The program that it runs; call it first in main(). Returns where it is not wanted. */
void child_after_exec(int argc, char **argv);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Takes huge pages of a running program apart and puts them together again, from outside, and
 * keeps count of what that costs the program, so that it stays below what nobody notices.
 *
 * Apart: process_madvise(MADV_COLD) of one page in a huge page makes 512 small ones of it, in
 * place. Together: process_madvise(MADV_COLLAPSE) copies them into a new huge page. Either takes
 * the memory away from the program for as long as the call lasts. A program that uses the memory
 * just then waits in a page fault; its count of faults tells.
 */
#ifndef FREM_TRACK_HUGE_SPLIT_H
#define FREM_TRACK_HUGE_SPLIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arm.h"
#include "base/error.h"

/* Units apart at a time. It begins with one, and grows as putting together turns out to work. If
 * frem is killed it is these that stay apart until the kernel's khugepaged finds them. */
#define SPLITTER_MOST_APART 64u

struct splitter;

/* start: clock_ns() when the program began to run. n_tasks: how many processes there are. */
int splitter_new(struct splitter **ret, size_t n_tasks, struct frem_error *err);
void splitter_free(struct splitter *s);

/*
 * Whether one more unit may be taken apart now: there is time for it and for putting it together
 * again, and memory for the huge page that takes, and our own processor time stays below its share.
 * If not, and waiting helps, *ret_due is made earlier: when to ask again.
 */
bool splitter_may(struct splitter *s, unsigned cpu_percent, uint64_t *ret_due);
/* Whether it is for those that are apart that no more may be. */
bool splitter_crowded(struct splitter *s);

/* Takes a unit apart, all its pages not accessed. Best effort: look at it to know. Task numbers are
 * those of the tracked tasks; the task has to have been seen alive since it was armed. */
void splitter_split(struct splitter *s, size_t task, pid_t pid, uint64_t unit);

/* Puts it together again: 0, also where the process is gone. On error it stays apart; -EAGAIN: a
 * page was in use by the kernel, the next try may do better. Any other: no more will be split. */
int splitter_join(struct splitter *s, size_t task, pid_t pid, uint64_t unit);
/* In place of splitter_join() where nothing is apart any more. */
void splitter_forget(struct splitter *s);

/* Our own processor time, spent on units that are or were apart, or are going to be. */
void splitter_charge(struct splitter *s, uint64_t cpu_ns);

/* A clock that goes as the program runs: the processor time of the process. */
uint64_t splitter_program_ns(struct splitter *s, size_t task, pid_t pid);

struct splitter_totals {
	unsigned splits;
	unsigned joins;
	unsigned apart;	   /* at present */
	uint64_t stall_ns; /* what the program has waited for them, at most */
};

void splitter_totals(const struct splitter *s, struct splitter_totals *ret);

#endif

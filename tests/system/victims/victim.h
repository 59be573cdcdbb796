/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the programs that the system tests checkpoint have in common.
 *
 * A victim gets a status file as its first argument. It says that it is ready by one byte on the
 * descriptor named by READY_FD, and closes it. On SIGUSR1 (to its root) it verifies all of its
 * memory and appends a line "ok PROGRESS" to the status file, which it opens for that only, so that
 * the file is no part of a checkpoint. At the first wrong byte it appends "bad ..." and ends with
 * status 3.
 */
#ifndef FREM_VICTIM_H
#define FREM_VICTIM_H

#include <stddef.h>
#include <stdint.h>

#define VICTIM_PAGE 4096u
#define VICTIM_WORDS (VICTIM_PAGE / sizeof(uint64_t))
#define VICTIM_BAD 3

/* Keeps the status file's name, blocks SIGUSR1 for victim_asked(). Call it before any thread. */
void victim_init(const char *status_file);
void victim_ready(void);
/* Whether SIGUSR1 came since the last call; waits for it up to ms milliseconds. */
int victim_asked(unsigned ms);
void victim_ok(uint64_t progress);
_Noreturn void victim_bad(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void victim_die(const char *what); /* set-up failed: status 1 */

/* Private anonymous memory without huge pages. */
void *victim_map(size_t pages);
/* The incompressible content of page number `page` under a seed: written, or compared. */
void victim_fill(void *at, uint64_t seed, uint64_t page);
void victim_verify(const void *at, uint64_t seed, uint64_t page);
/* Decimal argument, or the process ends. */
uint64_t victim_number(const char *text);

#endif

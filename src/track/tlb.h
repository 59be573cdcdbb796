/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The two steps by which tracking starts (section 3 of the paper): clear the accessed bits, and see
 * to it that no translation cached by a processor hides the next access.
 */
#ifndef FREM_TRACK_TLB_H
#define FREM_TRACK_TLB_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

/* Clears the accessed bits of all pages of the process. -ESRCH: it is gone. */
int clear_accessed(pid_t pid, struct frem_error *err);

/*
 * Clears the accessed bits of a range of the process with a flush of cached translations; its pages
 * move nearer to the end of the queue should memory run short, and that is all that happens to
 * them. fd: a pidfd. To leave huge pages whole, the range has to be whole units of 2 MB; parts of
 * it may be unmapped. Best effort.
 */
void make_cold(int fd, uint64_t address, size_t size);

#endif

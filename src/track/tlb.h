/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The two steps by which tracking starts (section 3 of the paper): clear the accessed bits, and see
 * to it that no translation cached by a processor hides the next access. The kernel offers no call
 * that does both for a whole process; these are the ones that do a part.
 */
#ifndef FREM_TRACK_TLB_H
#define FREM_TRACK_TLB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/error.h"

/* Ranges that make_cold() takes at once (UIO_MAXIOV). */
#define COLD_RANGES 1024u

/* Clears the accessed bits of all anonymous pages of the process, wherever it shares them, but
 * flushes nothing. Page faults of the process wait meanwhile. -ESRCH: it is gone. */
int clear_accessed(pid_t pid, struct frem_error *err);

/*
 * Clears the accessed bits in ranges of the process (whole pages; n at most COLD_RANGES), each with
 * a flush of what was cleared; faults go on. The pages move nearer to the end of the queue should
 * memory run short, and that is all that happens to them. A huge page that is only partly in a
 * range is split. Best effort: what the process shares with another one stays as it is, as does
 * memory that is locked and what was faulted in a moment ago. fd: a pidfd.
 */
void make_cold(int fd, const struct iovec *ranges, size_t n);

/*
 * Drops every translation of the process's memory, on all processors; false where this kernel
 * offers no way that leaves other users of its soft-dirty bits alone, or the process is gone.
 */
bool drop_translations(pid_t pid);

#endif

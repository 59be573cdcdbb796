/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The two steps by which tracking starts (section 3 of the paper): clear the accessed bits, and see
 * to it that no translation cached by a processor hides the next access.
 */
#ifndef FREM_TRACK_TLB_H
#define FREM_TRACK_TLB_H

#include <sys/types.h>

#include "base/error.h"

/* Clears the accessed bits of all pages of the process. -ESRCH: it is gone. */
int clear_accessed(pid_t pid, struct frem_error *err);

/*
 * With all threads of the process frozen: makes every processor drop its cached translations of the
 * process before it runs again. Best effort.
 *
 * Since Linux 5.11 clear_refs itself leaves them alone when it clears accessed bits. They survive a
 * freeze where processors tag them by address space (PCID). But the kernel counts the flushes of an
 * address space, and a processor that missed one, however small, drops all of it when it switches
 * to the address space. One page that changes is enough: process_madvise(MADV_COLD) on the
 * stack clears accessed bits, too, with a flush, and has no other effect than that those pages
 * stand nearer to the end of the queue should memory run short.
 */
void tlb_invalidate(pid_t pid);

#endif

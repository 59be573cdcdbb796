/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The keeper: the process that outlives a crashed pager process.
 *
 * It takes the userfaultfds from CRIU, and it shares its table of descriptors with the pager
 * process (clone with CLONE_FILES). So every userfaultfd is the keeper's from the instant at which
 * it exists, also the one that comes into being in the pager's read of a fork event: there is no
 * moment at which the death of the pager process closes one. While the keeper holds them, a missing
 * page blocks its reader and never reads as zero.
 *
 * If the pager process is killed, the keeper starts another one, which goes on: resume.h. It kills
 * the tree where that is not possible, or does not help.
 *
 * The holder shares the same table and does nothing but wait for the end of the keeper, whatever
 * happens to the pager process meanwhile (which dies with the keeper). Then it does what the keeper
 * would: it is a fork of it, and knows what the keeper knew when it made it. So the keeper makes a
 * new one, and then ends the old one, whenever it knows more, and before a task may run; also when
 * the holder itself is killed. A descriptor that a holder knows by its number keeps it.
 */
#ifndef FREM_PAGER_KEEPER_H
#define FREM_PAGER_KEEPER_H

#include "pager/pager.h"
#include "wire.h"

/* Descriptors as the keeper and the pager process know them. */
struct keeper_ends {
	int events;	/* both write */
	int keeper_cmd; /* from the caller to the keeper */
	int pager_cmd;	/* the caller's to the pager process: only its end is of interest */
	int recording;	/* the file for it, or -1; of the pager process */
};

/* The keeper's whole life, in a process of its own. `caller` is its parent. */
_Noreturn void keeper_main(const struct pager_options *o, struct wire_shared *shared,
			   const struct keeper_ends *ends, pid_t caller);

#endif

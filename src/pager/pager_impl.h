/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The caller's side of the pager. */
#ifndef FREM_PAGER_PAGER_IMPL_H
#define FREM_PAGER_PAGER_IMPL_H

#include "pager/pager.h"
#include "tree_kill.h"
#include "wire.h"

struct pager {
	struct wire_shared *shared;
	int events, keeper_cmd, pager_cmd;
	int recording; /* the file for it, or -1 */
	pid_t keeper;
	struct job_tree tree; /* known from pager_restored() on */
	unsigned said;	      /* a bit a type of event that was given out */
	bool ended;	      /* DRAINED or FAILED was */
	bool detached;
};

#endif

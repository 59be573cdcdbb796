/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The pager process: see engine.c. */
#ifndef FREM_PAGER_ENGINE_H
#define FREM_PAGER_ENGINE_H

#include "pager/pager.h"
#include "wire.h"

struct engine_ends {
	int news;	  /* from the keeper */
	int caller;	  /* commands of the caller */
	int recording;	  /* the file for it, or -1 */
	pid_t keeper;	  /* our parent */
	pid_t job_caller; /* the keeper's parent */
};

/* The whole life of the pager process; returns its exit status. All open userfaultfds are closed by
 * the end of the process, and of the keeper that shares them. */
int engine_main(const struct pager_options *o, struct wire_shared *shared,
		const struct engine_ends *ends);

#endif

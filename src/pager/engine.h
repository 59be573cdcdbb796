/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The pager process: see engine.c. */
#ifndef FREM_PAGER_ENGINE_H
#define FREM_PAGER_ENGINE_H

#include "pager/pager.h"
#include "wire.h"

struct engine_ends {
	int news;      /* from the keeper */
	int caller;    /* closed when the caller is gone */
	int recording; /* the file for it, or -1 */
	bool again;    /* another pager process was there before, and was killed */
	/* what the keeper has told by then, and will not tell again */
	const struct wire_news *uffds;
	size_t n_uffds;
	bool finished;
};

/* The whole life of the pager process; returns its exit status. All open userfaultfds are closed by
 * the end of the process, and of the keeper and the holder that share them. */
int engine_main(const struct pager_options *o, struct wire_shared *shared,
		const struct engine_ends *ends);

#endif

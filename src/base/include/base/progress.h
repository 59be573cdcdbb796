/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where long work reports how far it is. The library calls progress_report(); cmd/ decides whether
 * and how to show it. `report` may be called from any thread, one at a time for one sink is not
 * guaranteed: the sink locks. A NULL sink is allowed everywhere.
 */
#ifndef FREM_BASE_PROGRESS_H
#define FREM_BASE_PROGRESS_H

#include <stdint.h>

struct progress {
	/* what: "uploading pages"; done, total: bytes, total 0 where it is not known. */
	void (*report)(struct progress *p, const char *what, uint64_t done, uint64_t total);
};

static inline void progress_report(struct progress *p, const char *what, uint64_t done,
				   uint64_t total)
{
	if (p)
		p->report(p, what, done, total);
}

#endif

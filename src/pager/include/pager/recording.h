/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the pager recorded of a restart: which pages were touched first, when, and their content, of
 * which a touch set can be made. It can be had once PAGER_EVENT_DRAINED came, and as far as it got
 * once pager_detach() was called.
 */
#ifndef FREM_PAGER_RECORDING_H
#define FREM_PAGER_RECORDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "format/touch.h"
#include "pager/pager.h"

struct pager_recording {
	struct touch_seen *seen; /* in first-touch order, no page twice */
	size_t n;
	uint64_t lazy_pages; /* of the image */
	uint32_t ms;	     /* how long after the tasks were resumed it ended */
	const char *ended;   /* why; as in struct touch_info */
	double cpu_ms;	     /* processor time that it took */
	uint64_t *map;	     /* a bit for each lazy page: its content is there */
	int fd;		     /* for pager_recording_read() */
};

/* Whether something was recorded. */
bool pager_has_recording(const struct pager *p);
/* Waits for the pager process to end the recording. p must outlive *ret. */
int pager_recording(const struct pager *p, struct pager_recording **ret, struct frem_error *err);
void pager_recording_free(struct pager_recording *r);
bool pager_recording_has(const struct pager_recording *r, uint64_t page);
/* The content of pages that are all there. From any thread. */
int pager_recording_read(const struct pager_recording *r, uint64_t first, uint64_t pages, void *out,
			 struct frem_error *err);

FREM_CLEANUP(struct pager_recording *, cleanup_pager_recording, pager_recording_free)
#define _cleanup_pager_recording_ _cleanup_(cleanup_pager_recording)

#endif

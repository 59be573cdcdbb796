/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the BPF programs of events.bpf.c tell user space, in the order in which it happened. */
#ifndef FREM_TRACK_EVENT_H
#define FREM_TRACK_EVENT_H

#include <linux/types.h>

#include "young.h"

#define SPACE_GONE_RANGES 8u
#define SPACE_GONE_BITS 19u /* of the number of pages; the number of the first is above them */

/* What is kept of an address space where the events come from. */
struct event_space {
	__u32 number; /* an armed task's is its index */
	__u32 next;   /* of gone, to be overwritten */
	/* Ranges told to be removed, nothing there is of the image: each one word, so that it is
	 * read and written as a whole. */
	__u64 gone[SPACE_GONE_RANGES];
};

enum event_kind {
	EVENT_SIGHT,   /* struct event_sight: accessed bits that are about to be lost */
	EVENT_USED,    /* [start, end) is used by the kernel or a device, not through the bits */
	EVENT_REMOVED, /* what was at [start, end) is gone; its sights came before this */
	EVENT_MOVED,   /* what was at [start, end) is now at `to`; what was there is gone */
	EVENT_FORKED,  /* struct event_forked: a copy of the address space under a new number */
	EVENT_GONE,    /* the address space is no more; its sights came before this */
};

struct event {
	__u32 kind;
	__u32 space; /* the number of the address space */
};

struct event_range {
	struct event head;
	__u64 start;
	__u64 end;
	__u64 to;
	__u64 when; /* CLOCK_MONOTONIC, ns; of EVENT_MOVED */
};

struct event_forked {
	struct event head;
	__u32 child; /* its number */
	__u32 pid;   /* as the tracker sees it; 0 if it does not */
	struct young_identity identity;
};

struct event_sight {
	struct event head;
	__u64 unit;
	__u64 huge;
	__u64 touched[YOUNG_WORDS];
};

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a way of finding touched pages has to offer. A backend is opened once a checkpoint, armed
 * once, then scanned again and again on the tracker's thread: one thread at a time.
 */
#ifndef FREM_TRACK_BACKEND_H
#define FREM_TRACK_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"
#include "touched_set.h"

struct backend;

struct backend_ops {
	const char *name;
	/* Prepares everything that does not need the tasks, and proves on this very process that
	 * the backend tells the truth here. Error: FREM_UNABLE, with a hint. */
	int (*open)(struct backend **ret, struct frem_error *err);
	/* The tree below root runs, and will be armed soon: does what makes that quick. May be
	 * NULL. */
	void (*prepare)(struct backend *b, pid_t root);
	/* All tasks are frozen: from here on accesses count. A task that is gone is no error. Task
	 * numbers in the touched set are indices into pids. */
	int (*arm)(struct backend *b, const pid_t *pids, size_t n, struct frem_error *err);
	/* Adds what was touched since the arming to the set, as scan number `scan`; the first one
	 * also notes which pages are resident. *ret_alive: tasks that still are what was armed. On
	 * error nothing is lost: the next scan finds it. */
	int (*scan)(struct backend *b, struct touched_set *set, unsigned scan, size_t *ret_alive,
		    struct frem_error *err);
	/* Whether pages of the tasks went to swap or came back between the last two scans. */
	bool (*swapping)(const struct backend *b);
	/* Of the time of scans, what went into the set: 0 to 1. */
	double (*insert_share)(const struct backend *b);
	/* Between scans: adds what it finds out meanwhile; returns when (clock_ns()) to call again,
	 * unless a scan comes first. May be NULL. */
	uint64_t (*tend)(struct backend *b, struct touched_set *set);
	/* After the last scan: leaves the tasks as they were, completes the set. May be NULL. */
	void (*finish)(struct backend *b, struct touched_set *set);
	void (*close)(struct backend *b);
};

struct backend {
	const struct backend_ops *ops;
};

extern const struct backend_ops accessed_bits_backend;

#endif

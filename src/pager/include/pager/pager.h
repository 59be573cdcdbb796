/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The pager brings a checkpoint's memory from the store into a tree that CRIU restores.
 *
 * pager_start() forks three processes. The keeper listens on CRIU's lazy-pages.socket, holds a
 * duplicate of every userfaultfd, and hands them on; if the pager process is killed before all
 * memory is in, the keeper starts another one that goes on, and where that is not possible, it
 * kills the tree (a closed userfaultfd would let missing pages read as zero). If the keeper is
 * killed, the holder does, which only holds them and waits for that. The pager process
 * does all that needs the network: it fetches manifest, head and touch at once, writes the image
 * directory, serves faults and fills the rest. The caller drives CRIU and only sees events.
 *
 * How to use it. Wait for PAGER_EVENT_READY, have CRIU restore with lazy pages, and in its
 * pre-resume hook call pager_restored(), in PAGER_TOUCH_SET then wait for PAGER_EVENT_TOUCHED, and
 * call pager_resumed(). In PAGER_FULL READY and DRAINED come together, CRIU restores without lazy
 * pages, and pager_restored() is not called. A restore that fails may have failed because of the
 * pager: look for PAGER_EVENT_FAILED then. Log lines of all of them come out of this process's
 * own log, within pager_next_event().
 *
 * Without a store, the pager serves a plain image directory to a CRIU that others drive, in
 * PAGER_NOW and without a recording. Neither pager_restored() nor pager_resumed() is called then. A
 * CRIU that breaks the restore off is a failure. If the caller dies, the pager goes on once CRIU
 * has restored all tasks.
 *
 * Call pager_start() before any thread is started. The handle belongs to one thread. The keeper is
 * a child of the caller, which must not wait for it.
 */
#ifndef FREM_PAGER_PAGER_H
#define FREM_PAGER_PAGER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/rundir.h"
#include "format/name.h"

enum pager_mode {
	PAGER_NOW,	 /* resume at once, touch pages in their order, faults overtake */
	PAGER_TOUCH_SET, /* resume when the touch set is in */
	PAGER_FULL, /* no lazy pages: everything is in the image directory before the restore */
};

/* Whether the restart's own first touches are recorded; see pager/recording.h. */
enum pager_record {
	PAGER_RECORD_OFF,
	PAGER_RECORD_AUTO, /* where there is no touch set, or, in PAGER_NOW, one that too few
			      recorded restarts went into; until the whole image has arrived */
	PAGER_RECORD_FOR,  /* in any case, for a given time */
};

/* Counters, in memory shared with the pager process; read at any time. Names as in --stats. */
struct pager_stats {
	uint64_t bytes_total;	      /* stored bytes of head, pages and touch */
	uint64_t bytes_before_resume; /* on the wire before pager_resumed() */
	uint64_t bytes_touch;	      /* on the wire for the touch object */
	uint64_t bytes_fetched;	      /* on the wire in all */
	uint64_t pages_total;	      /* lazy pages */
	uint64_t pages_touch;	      /* in the touch set */
	uint64_t pages_in;	      /* lazy pages in place, or no longer wanted by the program */
	uint64_t prefetched_used; /* faults that found their page just delivered, or on its way in
				     the touch lane */
	uint64_t demand_faults;	  /* faults that had to fetch */
	uint64_t frames_retried;  /* that came damaged */
	double stall_ms;     /* sum over faults of the time from reading the fault to its answer */
	double touch_set_ms; /* since pager_start(): all touch pages are in; -1 before */
	double drained_ms;   /* since pager_start(): all pages are in; -1 before */
	uint64_t recorded_pages; /* whose first touch was recorded */
	double recorded_ms;	 /* for how long after pager_resumed(); 0: nothing was recorded */
	double rtt_ms;
	double bandwidth_bps; /* bytes a second while fetches were under way */
};

struct pager_options {
	const char *store; /* URL; NULL: see below */
	bool store_timeout_set;
	unsigned store_timeout_ms; /* store_set_timeout(), where it is set */
	struct checkpoint_name id; /* with its seq */
	enum pager_mode mode;
	enum pager_record record; /* not in PAGER_FULL */
	unsigned record_ms;	  /* PAGER_RECORD_FOR */
	int images_fd;		  /* empty directory for the image; without a store, CRIU's own */
	int work_fd; /* CRIU's work directory: here lazy-pages.socket is made, and the checked
			manifest is left as `manifest` */
};

enum pager_event_type {
	PAGER_EVENT_READY,   /* the image directory is complete, the socket listens: restore now */
	PAGER_EVENT_TOUCHED, /* the touch set is in memory (PAGER_TOUCH_SET: resume now) */
	PAGER_EVENT_DRAINED, /* all pages are in; the processes end */
	PAGER_EVENT_FAILED,  /* err says why; the tree, if any, has been killed */
	PAGER_EVENT_NOTICE,  /* nothing but its notice */
};

struct pager_event {
	enum pager_event_type type;
	char notice[512];      /* something to tell the user (a damaged touch set), or "" */
	struct frem_error err; /* PAGER_EVENT_FAILED */
};

struct pager;

int pager_start(const struct pager_options *o, struct pager **ret, struct frem_error *err);
/* Becomes readable when an event is there. */
int pager_event_fd(const struct pager *p);
/* Waits up to timeout_ms (-1: for ever) for the next event. Returns 1, or 0 on time-out or EINTR.
 * The death of the keeper is PAGER_EVENT_FAILED. */
int pager_next_event(struct pager *p, int timeout_ms, struct pager_event *ret);
/* The tasks stand restored, root is their real root pid (from CRIU's pre-resume): from here on a
 * failure kills that tree. In PAGER_TOUCH_SET this also lets the touch pages be put into place. To
 * be called after CRIU's word on the socket; returns when the keeper holds every userfaultfd. */
int pager_restored(struct pager *p, pid_t root, struct frem_error *err);
/* The tasks are about to run. */
void pager_resumed(struct pager *p);
const struct pager_stats *pager_stats(const struct pager *p);
/* Lets the processes go on by themselves (--detach): the handle forgets them. It can only be asked
 * for statistics and freed then, without any effect on them. */
void pager_detach(struct pager *p);
/* Ends the processes, unless detached; if memory is still missing, the tree is killed. */
void pager_free(struct pager *p);

FREM_CLEANUP(struct pager *, cleanup_pager, pager_free)
#define _cleanup_pager_ _cleanup_(cleanup_pager)

#endif

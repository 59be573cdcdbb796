/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the caller, the keeper and the pager process say to each other. All three run the same
 * program, so that plain structs will do; every socket is SOCK_SEQPACKET, one struct a message.
 */
#ifndef FREM_PAGER_WIRE_H
#define FREM_PAGER_WIRE_H

#include <linux/userfaultfd.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/log.h"
#include "pager/pager.h"

/* CRIU's word on the lazy-pages socket: all tasks are restored (LAZY_PAGES_RESTORE_FINISHED in
 * criu/uffd.c). */
#define WIRE_RESTORE_FINISHED 0x52535446
#define WIRE_SOCKET "lazy-pages.socket"

/* What became of a recording. The file is complete when it is no longer open. */
enum wire_recording_state {
	RECORDING_NONE,	     /* none, or it is void */
	RECORDING_OPEN,	     /* under way */
	RECORDING_ARRIVED,   /* the whole image has arrived, or had the time that is given to it */
	RECORDING_ASKED,     /* it has lasted as long as asked for */
	RECORDING_SATURATED, /* all pages were touched */
	RECORDING_JOB_ENDED, /* or the caller */
};

/* The file itself: record_file.h. One writer, the pager process. */
struct wire_recording {
	atomic_int state;     /* enum wire_recording_state */
	atomic_ulong touches; /* that are in the file */
	double cpu_ms;	      /* that it took to keep pages */
};

#define WIRE_EVENTS_AT_ONCE 64u

/*
 * Where userfaultfds are read into. What a read() takes is gone from the kernel, and a thread that
 * made an event goes on with it: so it lands at once where the death of the pager process does not
 * reach it. See resume.h.
 */
struct wire_raw {
	atomic_ulong seq;			  /* of this read; 0: none yet */
	uint64_t member;			  /* whose userfaultfd */
	struct uffd_msg msg[WIRE_EVENTS_AT_ONCE]; /* up to the first without an event */
};

/* Descriptors in here are files without a name in the shared table: 0 is none. One writer, the
 * pager process. */
struct wire_resume {
	_Alignas(4096) struct wire_raw raw;
	_Alignas(4096) atomic_bool possible; /* a new pager process could go on now */
	atomic_bool ready, touched;	     /* the caller has been told */
	atomic_ulong settled;		     /* pages, of all address spaces: its progress */
	int image;			     /* what was loaded from the store */
	int bits;			     /* shared_bits.h */
	struct wire_log {
		int fd;
		atomic_ulong len; /* bytes that count */
	} log[2];		  /* journal.h */
	atomic_uint log_current;
};

/* Memory that all three share. Each member has one writer. */
struct wire_shared {
	struct wire_resume resume;
	struct pager_stats stats; /* pager process; bytes_before_resume: caller */
	uint64_t started_ns;	  /* caller, before the others exist */
	atomic_ulong resumed_ns;  /* caller: clock_ns() in pager_resumed(); 0 before */
	struct wire_recording recording;
	struct frem_error err; /* pager process: its last words, before failed is set */
	atomic_bool failed;    /* pager process */
	atomic_bool drained;   /* pager process: all memory is in place */
	atomic_int root;       /* keeper: the root of the restored tree; 0: not known */
};

/* From the caller to the keeper. */
enum wire_command_type {
	WIRE_RESTORED, /* pid: the root of the restored tree */
	WIRE_END,      /* kill the tree unless all its memory is in, and end */
};

struct wire_command {
	enum wire_command_type type;
	pid_t pid;
};

/* The keeper's one answer to WIRE_RESTORED, once it holds every userfaultfd: what is still on its
 * way to it would be closed if it were killed. */
struct wire_held {
	char nothing;
};

/* From the keeper to the pager process. */
enum wire_news_type {
	WIRE_UFFD,     /* a task's userfaultfd; pid: as in the image; fd: in the shared table */
	WIRE_FINISHED, /* CRIU's word came */
};

struct wire_news {
	enum wire_news_type type;
	int32_t pid;
	int32_t fd;
};

/* From the keeper and the pager process to the caller. */
enum wire_report_type {
	WIRE_EVENT,
	WIRE_LOG,
};

struct wire_report {
	enum wire_report_type type;
	enum log_level level; /* WIRE_LOG; only `line` follows then, up to its NUL */
	union {
		struct pager_event event;
		char line[1536];
	};
};

#endif

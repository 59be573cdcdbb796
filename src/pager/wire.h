/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the caller, the keeper and the pager process say to each other. All three run the same
 * program, so that plain structs will do; every socket is SOCK_SEQPACKET, one struct a message.
 */
#ifndef FREM_PAGER_WIRE_H
#define FREM_PAGER_WIRE_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/log.h"
#include "pager/pager.h"

/* CRIU's word on the lazy-pages socket: all tasks are restored (LAZY_PAGES_RESTORE_FINISHED in
 * criu/uffd.c). */
#define WIRE_RESTORE_FINISHED 0x52535446
#define WIRE_SOCKET "lazy-pages.socket"

/* Memory that all three share. Each member has one writer. */
struct wire_shared {
	struct pager_stats stats; /* pager process; bytes_before_resume: caller */
	uint64_t started_ns;	  /* caller, before the others exist */
	struct frem_error err;	  /* pager process: its last words, before failed is set */
	atomic_bool failed;	  /* pager process */
	atomic_bool drained;	  /* pager process: all memory is in place */
};

/* From the caller to the keeper and to the pager process. */
enum wire_command_type {
	WIRE_RESTORED, /* pid: the root of the restored tree */
	WIRE_END,      /* kill the tree unless all its memory is in, and end */
};

struct wire_command {
	enum wire_command_type type;
	pid_t pid;
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

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The journal: what a new pager process needs to know of the address spaces, in the order in which
 * it came about. It is a sequence of records in a file without a name, whose descriptor the keeper
 * holds too. A record counts from the moment at which the length that is in shared memory covers
 * it; several that are appended at once count together.
 *
 * It is bounded: once it has grown, the state as it is now is written as a new, short journal,
 * which takes the place of the old one by one word in shared memory.
 */
#ifndef FREM_PAGER_JOURNAL_H
#define FREM_PAGER_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "wire.h"

/* A change of an address space that moved or took away mappings. */
struct change {
	uint8_t event; /* UFFD_EVENT_... */
	uint64_t from, to, len;
	int fd;		/* UFFD_EVENT_FORK: of the child */
	uint64_t child; /* UFFD_EVENT_FORK: its id */
};

enum journal_type {
	/* the state at the start of a journal */
	JOURNAL_START = 1, /* start */
	JOURNAL_MEMBER,	   /* saved; its extents follow, then its put off changes */
	JOURNAL_EXTENT,	   /* extent */
	JOURNAL_PUT_OFF,   /* change: read, and not decided on */
	/* what happened since */
	JOURNAL_READ,	 /* change: was read in read number seq */
	JOURNAL_DECIDED, /* what was put off is replaced by the APPLY records that follow */
	JOURNAL_APPLY,	 /* change */
	JOURNAL_END,	 /* the address space is gone, its descriptor is about to be closed */
};

struct journal_start {
	uint64_t seq;  /* the last read whose changes are in the state */
	uint64_t next; /* shared_bits */
};

struct journal_member {
	int32_t pid;
	int32_t fd; /* of a forked child; the keeper knows the others */
	bool original, dead;
	uint64_t first, pages; /* of its space */
	uint64_t extents;      /* how many follow */
};

struct journal_extent {
	uint64_t address, pages, first;
};

struct journal_record {
	uint32_t type;	 /* enum journal_type */
	uint64_t member; /* id */
	uint64_t seq;
	union {
		struct journal_start start;
		struct journal_member saved;
		struct journal_extent extent;
		struct change change;
	};
};

struct journal;

/* The first one, empty, or the one that a former process has left. */
int journal_open(struct wire_resume *shared, struct journal **ret, struct frem_error *err);
void journal_free(struct journal *j);
/* After a failure the journal is not complete: nothing can be taken up from it. */
int journal_append(struct journal *j, const struct journal_record *records, size_t n,
		   struct frem_error *err);
/* The records that count, as an array, in a buffer. */
int journal_read(const struct journal *j, struct buffer *ret, struct frem_error *err);
/* Whether it has grown so much that it should be replaced. */
bool journal_is_long(const struct journal *j);
/* Replaces it by the records that `state` holds. */
int journal_replace(struct journal *j, const struct buffer *state, struct frem_error *err);

#endif

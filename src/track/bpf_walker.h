/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The BPF program that reads accessed bits, loaded and proved on this very process. Neither the
 * program nor a link ever gets a name of its own: all go when the process does. One thread at a
 * time.
 */
#ifndef FREM_TRACK_BPF_WALKER_H
#define FREM_TRACK_BPF_WALKER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "young.h"

struct bpf_link;
struct bpf_walker;

/*
 * Loads the program and finds out how page tables look here: each layout that is possible is tried
 * on memory of this process with a known pattern of accesses, and only one that finds exactly that
 * pattern is taken. Error: FREM_UNABLE, with a hint.
 */
int bpf_walker_new(struct bpf_walker **ret, struct frem_error *err);
void bpf_walker_free(struct bpf_walker *w);

/* Where page tables are found here. */
struct page_layout {
	uint64_t direct_map;
	uint64_t encryption;
	uint32_t levels;
};

void bpf_walker_layout(const struct bpf_walker *w, struct page_layout *ret);

/* A link through which one process (pid as this process sees it) is read; the caller's. */
int bpf_walker_attach(struct bpf_walker *w, pid_t pid, struct bpf_link **ret,
		      struct frem_error *err);
struct bpf_walk {
	struct bpf_link *link;
	struct young_identity expected; /* zero: whoever it is; filled in by the first step */
	bool present;	  /* also units that have a page, in memory or in swap, but none accessed */
	uint64_t resume;  /* pages below this address are done; 0 at the start */
	uint64_t until;	  /* no pages from this address on; 0: all */
	uint64_t flushes; /* of its cached translations so far; told by the first step */
	uint64_t swapped; /* pages that it has in swap, roughly; told by the first step */
	uint64_t anonymous; /* pages that it has in memory, roughly; told by the first step */
	uint64_t read_ns;   /* counted by each step: reading page tables, */
	uint64_t take_ns;   /* and what `take` took */
};

typedef int (*bpf_walker_take)(void *arg, const struct young_record *r, struct frem_error *err);

/*
 * Gives the next units with an accessed page to `take`, by address; it may end the walk by an
 * error. A unit may come twice. Returns 1 while there is more, then 0. -ESRCH: the process is not
 * the expected one any more.
 */
int bpf_walker_next(struct bpf_walker *w, struct bpf_walk *walk, bpf_walker_take take, void *arg,
		    struct frem_error *err);
#endif

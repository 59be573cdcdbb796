/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What `frem run` knows of its job lies in the store alone. A job that has ended well leaves an
 * object `ended` with its latest checkpoint: that one and all before it are of a job that is over,
 * and the next run starts from the beginning.
 */
#ifndef FREM_CMD_RUN_STORE_H
#define FREM_CMD_RUN_STORE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "cmd.h"
#include "format/name.h"
#include "store/store.h"

struct run_candidates {
	uint32_t *seqs; /* checkpoints of the job that is not over, the latest first */
	size_t n;
	uint32_t highest; /* number that is taken, be it by an interrupted upload */
	uint32_t ended;	  /* the latest of one that is over, 0: there is none */
};

int run_store_look(const struct cmd_context *c, const char *name, struct run_candidates *ret,
		   struct frem_error *err);
void run_candidates_done(struct run_candidates *c);
/* The job has ended well, and `seq` is its latest checkpoint. */
int run_store_ended(const struct cmd_context *c, const char *name, uint32_t seq,
		    struct frem_error *err);
/* Removes all checkpoints of the name. */
int run_store_clean(const struct cmd_context *c, const char *name, struct frem_error *err);
/*
 * After checkpoint `latest`, which must be in the store: removes those of the name before it but
 * the latest `keep` (0: none), and what uploads that were interrupted have left under numbers up to
 * `leftovers`.
 */
int run_store_tidy(struct store *s, const struct checkpoint_name *latest, unsigned keep,
		   uint32_t leftovers, struct frem_error *err);

#endif

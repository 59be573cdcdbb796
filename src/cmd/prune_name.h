/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which checkpoints of a store are no longer wanted, and their removal. */
#ifndef FREM_CMD_PRUNE_NAME_H
#define FREM_CMD_PRUNE_NAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "inventory.h"
#include "store/store.h"

#define PRUNE_KEEP_ALL UINT32_MAX

struct prune_policy {
	/* Of each name the newest so many good checkpoints stay; at least 1, or PRUNE_KEEP_ALL. A
	 * damaged one is not counted, and stays where fewer good ones are newer than it. */
	uint32_t keep;
	int64_t older_than;	/* s: what is younger stays too; 0: no matter how old */
	int64_t leftovers_than; /* s: likewise, of what interrupted uploads left */
	bool dry_run;
	/* Is told of each one that has been removed, or would be; may be NULL. */
	void (*removed)(void *arg, const struct inventory_entry *e);
	void *arg;
};

/*
 * Applies the policy to one name. The oldest goes first and of each its manifest, so that a removal
 * that is cut short leaves whole checkpoints, and what an interrupted upload leaves. Nothing can
 * tell an upload that is going on from one that was broken off but its age: its objects are there
 * from `pages` on, and its manifest comes soon after.
 */
int prune_name(struct store *s, const char *name, const struct prune_policy *policy,
	       struct frem_error *err);

#endif

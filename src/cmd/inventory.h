/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a store's listing alone says about checkpoints: which objects there are and how large. Keys
 * that are not of the form NAME/N/OBJECT are not frem's and are passed over.
 */
#ifndef FREM_CMD_INVENTORY_H
#define FREM_CMD_INVENTORY_H

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "format/name.h"
#include "store/store.h"

#define INVENTORY_NONE UINT64_MAX

struct inventory_entry {
	struct checkpoint_name id;
	uint64_t manifest, head, pages, touch; /* sizes, INVENTORY_NONE where there is no object */
	uint64_t stored;		       /* of all objects together */
	size_t n_objects;
	int64_t modified; /* when the newest of them came, in seconds since 1970 */
};

struct inventory {
	struct inventory_entry *entries; /* by name, then by number */
	size_t n;
};

/* Of the whole store (n NULL), of all checkpoints of a name (seq 0), or of one. */
int inventory_read(struct store *s, const struct checkpoint_name *n, struct inventory **ret,
		   struct frem_error *err);
void inventory_free(struct inventory *v);

FREM_CLEANUP(struct inventory *, cleanup_inventory, inventory_free)
#define _cleanup_inventory_ _cleanup_(cleanup_inventory)

#endif

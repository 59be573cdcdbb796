/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The manifests of all checkpoints of an inventory, fetched several at once, so that a far store
 * costs few round trips.
 */
#ifndef FREM_CMD_MANIFESTS_H
#define FREM_CMD_MANIFESTS_H

#include <stddef.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "format/manifest.h"
#include "inventory.h"
#include "store/store.h"

struct manifest_row {
	const struct inventory_entry *entry;
	struct manifest *manifest; /* NULL: it is damaged, or has been removed meanwhile */
	struct frem_error err;	   /* why there is no manifest */
	struct buffer bytes;	   /* of a fetch under way */
};

struct manifests {
	struct manifest_row *rows; /* in the inventory's order, without interrupted uploads */
	size_t n;
};

/* The inventory must outlive it. A damaged manifest costs its own row; a store that fails, all. */
int manifests_read(struct store *s, const struct inventory *v, struct manifests **ret,
		   struct frem_error *err);
void manifests_free(struct manifests *m);

/*
 * What listing and manifest alone tell of damage: 0, or FREM_DAMAGED "its pages has N bytes, not
 * M". -ENOENT with FREM_NOT_FOUND where the checkpoint has been removed meanwhile.
 */
int manifest_row_check(const struct manifest_row *row, struct frem_error *err);

FREM_CLEANUP(struct manifests *, cleanup_manifests, manifests_free)
#define _cleanup_manifests_ _cleanup_(cleanup_manifests)

#endif

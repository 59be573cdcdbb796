/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Finds checkpoints in a store and reads what describes them. Shared by the verbs.
 *
 * Errors: FREM_USAGE (no store named), FREM_NOT_FOUND with -ENOENT (no such checkpoint),
 * FREM_DAMAGED (what was read is not what was written), FREM_STORE.
 */
#ifndef FREM_CMD_FIND_CHECKPOINT_H
#define FREM_CMD_FIND_CHECKPOINT_H

#include <stdint.h>

#include "base/digest.h"
#include "base/error.h"
#include "cmd.h"
#include "format/manifest.h"
#include "format/name.h"
#include "format/touch.h"
#include "store/store.h"

#define CHECKPOINT_TEXT_SIZE (NAME_MAX_BYTES + 16)

/* Opens the store that the command line names. */
int checkpoint_open_store(const struct cmd_context *c, struct store **ret, struct frem_error *err);

/* "NAME@N", or "NAME" where seq is 0. */
void checkpoint_text(const struct checkpoint_name *n, char out[CHECKPOINT_TEXT_SIZE]);

/*
 * Where n->seq is 0, fills it with the highest number that has a manifest. Otherwise does nothing:
 * reading the manifest tells whether there is one, without a round trip more.
 */
int checkpoint_latest(struct store *s, struct checkpoint_name *n, struct frem_error *err);

/*
 * Sets n->seq to the number after the highest one in the store under this name, incomplete
 * uploads included, so that nothing is ever mixed with their leftovers.
 */
int checkpoint_next(struct store *s, struct checkpoint_name *n, struct frem_error *err);

/*
 * Reads and checks the manifest of n, whose seq must not be 0; digest (may be NULL) is what binds
 * the touch object to it.
 */
int checkpoint_manifest(struct store *s, const struct checkpoint_name *n, struct manifest **ret,
			uint8_t digest[DIGEST_SIZE], struct frem_error *err);

/*
 * Reads header and descriptor of the touch object, not its pages. *ret is NULL, and the result 0,
 * where there is none. FREM_DAMAGED also where it belongs to another manifest.
 */
int checkpoint_touch(struct store *s, const struct checkpoint_name *n, const struct manifest *m,
		     const uint8_t digest[DIGEST_SIZE], struct touch_set **ret,
		     struct frem_error *err);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How a checkpoint goes: shared by the verbs that remove some. */
#ifndef FREM_CMD_REMOVAL_H
#define FREM_CMD_REMOVAL_H

#include "base/error.h"
#include "format/name.h"
#include "store/store.h"

/*
 * Removes everything under NAME/N/. The manifest goes first, and with it the checkpoint: a removal
 * that is cut short leaves what an interrupted upload leaves, and is finished by doing it again.
 */
int removal_of(struct store *s, const struct checkpoint_name *id, struct frem_error *err);

#endif

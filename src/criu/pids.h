/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef FREM_CRIU_PIDS_H
#define FREM_CRIU_PIDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* The pids of pstree.img in its order, to be freed by the caller. */
int image_pids_read(int dirfd, int32_t **ret, size_t *ret_n, struct frem_error *err);

/* Will the tasks be restored into a new pid namespace, of which root is the first process? */
bool image_pids_bring_namespace(int dirfd, int32_t root);

#endif

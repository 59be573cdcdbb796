/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef FREM_CRIU_PIDS_H
#define FREM_CRIU_PIDS_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* The pids of pstree.img in its order, to be freed by the caller. */
int image_pids_read(int dirfd, int32_t **ret, size_t *ret_n, struct frem_error *err);

#endif

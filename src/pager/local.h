/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Frames that are read from files of this machine, where they are used, instead of being fetched.
 */
#ifndef FREM_PAGER_LOCAL_H
#define FREM_PAGER_LOCAL_H

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/digest.h"
#include "base/error.h"
#include "criu/image_map.h"

struct local;

/* The lazy pages of a CRIU image directory; map must outlive *ret. */
int local_open_images(int dirfd, const struct image_map *map, struct local **ret,
		      struct frem_error *err);
void local_free(struct local *l);
/* What tells these pages from others: which files they are in, and where, and where they belong. */
int local_digest(const struct local *l, uint8_t ret[DIGEST_SIZE], struct frem_error *err);
/*
 * Reads the pages of a frame into raw, which has room for FRAME_RAW_MAX. Bit i of *ret_zero: page i
 * is all zero, and undefined in raw. From any thread.
 */
int local_read(const struct local *l, size_t frame, uint8_t *raw, uint32_t *ret_zero,
	       struct frem_error *err);

FREM_CLEANUP(struct local *, cleanup_local, local_free)
#define _cleanup_local_ _cleanup_(cleanup_local)

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between a CRIU image directory and the `head` object. */
#ifndef FREM_CRIU_IMAGE_DIR_H
#define FREM_CRIU_IMAGE_DIR_H

#include "base/buffer.h"
#include "base/error.h"
#include "criu/image_map.h"
#include "format/head.h"

/* Packs every image file but the lazy pages: small files whole, eager pages as runs, then the
 * index. */
int image_dir_pack(int dirfd, const struct image_map *map, const struct frame_index *index,
		   struct buffer *ret, struct frem_error *err);
/*
 * Writes the image directory of a head object: small files, and pages-N.img as sparse files with
 * only the eager pages in them. Hands over the frame index. A full disk is FREM_FAILED with ENOSPC.
 */
int image_dir_unpack(int dirfd, const void *head, size_t n, struct frame_index **ret_index,
		     struct frem_error *err);

#endif

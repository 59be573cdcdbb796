/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The files of an image directory, told from what CRIU leaves beside them. */
#ifndef FREM_CRIU_IMAGE_NAMES_H
#define FREM_CRIU_IMAGE_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define IMAGE_PARENT "parent" /* a link to the image that this one builds on */

struct image_names {
	char **list;
	size_t n, cap;
};

/* Sorted, so that the same image always packs to the same bytes. What is neither a regular file nor
 * known to be no part of an image is refused. */
int image_names_read(int dirfd, struct image_names *names, struct frem_error *err);
void image_names_done(struct image_names *names);
/* "pages-N.img" and its N, exactly as CRIU writes it. */
bool image_is_pages(const char *name, uint32_t *ret_id);

#define _cleanup_image_names_ __attribute__((cleanup(image_names_done)))

#endif

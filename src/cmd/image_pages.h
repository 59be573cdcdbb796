/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The lazy pages of a dumped image directory, as a page source for the encoder. */
#ifndef FREM_CMD_IMAGE_PAGES_H
#define FREM_CMD_IMAGE_PAGES_H

#include "base/cleanup.h"
#include "base/error.h"
#include "criu/image_map.h"
#include "encode.h"

struct image_pages;

/* map must outlive it; images_fd need not. */
int image_pages_open(int images_fd, const struct image_map *map, struct image_pages **ret,
		     struct frem_error *err);
void image_pages_free(struct image_pages *p);
struct page_source image_pages_source(struct image_pages *p);

FREM_CLEANUP(struct image_pages *, cleanup_image_pages, image_pages_free)
#define _cleanup_image_pages_ _cleanup_(cleanup_image_pages)

#endif

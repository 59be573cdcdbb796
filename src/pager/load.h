/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fetches manifest and head at once and makes the image directory of them; or reads one that is
 * there. */
#ifndef FREM_PAGER_LOAD_H
#define FREM_PAGER_LOAD_H

#include "base/digest.h"
#include "criu/image_map.h"
#include "format/frame.h"
#include "format/manifest.h"
#include "local.h"
#include "pager/pager.h"
#include "store/store.h"

struct loaded {
	struct manifest *manifest;   /* NULL for an image directory that was there */
	uint8_t digest[DIGEST_SIZE]; /* of the manifest's bytes: what a touch object is bound to; or
					local_digest() */
	struct frame_index *index;
	struct image_map *map;
	struct local *local; /* NULL: the frames are fetched */
};

void loaded_done(struct loaded *l);

/* What is in an image directory; its frames are the pages themselves. */
int load_images(int images_fd, struct loaded *ret, struct frem_error *err);

struct load;

/* Starts both fetches. f must outlive the load; it is NULL without a store in o. */
int load_start(struct fetcher *f, const struct pager_options *o, struct load **ret,
	       struct frem_error *err);
void load_free(struct load *l);
/*
 * To be called whenever fetches moved. As soon as the manifest is there and checked, *ret has it;
 * once the head is, the image directory is complete, *ret has all of it, and 1 is returned. 0: not
 * yet. What is wrong is fetched again a few times.
 */
int load_step(struct load *l, struct loaded *ret, struct frem_error *err);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The walk over files.img, in which all open files of an image are. */
#ifndef FREM_CRIU_FILES_IMG_H
#define FREM_CRIU_FILES_IMG_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "images.pb-c.h"

/* Calls visit for each entry, with its n bytes as they are in the file; both are valid, and e may
 * be changed, until it returns. A negative return ends the walk. Errors: -ENOENT, FREM_DAMAGED,
 * visit's. */
int files_img_each(int dirfd,
		   int (*visit)(void *arg, ImageFile *e, const uint8_t *data, size_t n,
				struct frem_error *err),
		   void *arg, struct frem_error *err);

#endif

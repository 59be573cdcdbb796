/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which mappings of a task CRIU restores lazily, by what mm-PID.img says about them. */
#ifndef FREM_CRIU_IMAGE_VMAS_H
#define FREM_CRIU_IMAGE_VMAS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "image_file.h"
#include "images.pb-c.h"

/* The one entry of the file mm-PID.img, and the file itself (image_file_done(), in any case). The
 * caller frees *ret. Errors: -ENOENT, FREM_DAMAGED. */
int image_mm_read(int dirfd, const char *name, struct image_file *f, ImageMm **ret,
		  struct frem_error *err);

struct image_vma {
	uint64_t start, end;
	bool lazy;
};

struct image_vmas {
	struct image_vma *list; /* by address, without overlap */
	size_t n;
};

int image_vmas_read(int dirfd, const char *name, struct image_vmas *ret, struct frem_error *err);
void image_vmas_done(struct image_vmas *v);
/* The mapping that holds address; NULL. */
const struct image_vma *image_vmas_find(const struct image_vmas *v, uint64_t address);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Images that build on earlier ones. `criu dump --track-mem --prev-images-dir` leaves out the pages
 * that have not changed since, and a link `parent` leads to the image that has them.
 */
#ifndef FREM_CRIU_IMAGE_JOIN_H
#define FREM_CRIU_IMAGE_JOIN_H

#include <stdbool.h>

#include "base/error.h"
#include "base/progress.h"

/* Does the image build on another? */
bool image_has_parent(int dirfd);
/*
 * Writes the image with all that its parents have of it into the empty directory to_fd. Pages of
 * parents that CRIU would have restored lazily had they been dumped now are lazy. `check` (may be
 * NULL) is asked now and then; what it returns other than 0 ends the work.
 */
int image_join(int dirfd, int to_fd, struct progress *progress, int (*check)(struct frem_error *),
	       struct frem_error *err);

#endif

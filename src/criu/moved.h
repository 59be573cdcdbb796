/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Regular files that a restored job is to have a stream of the caller's in place of, as noted in
 * the image directory by image_stream_move(). */
#ifndef FREM_CRIU_MOVED_H
#define FREM_CRIU_MOVED_H

#include <stdbool.h>

#include "base/error.h"

#define MOVED_MOST 3 /* standard input, output and error */

struct moved {
	char *paths[MOVED_MOST]; /* by number; NULL: not moved */
};

int moved_read(int dirfd, struct moved *ret, struct frem_error *err);
/* The number of the stream that takes the place of this file, or -1. */
int moved_find(const struct moved *m, const char *path);
void moved_done(struct moved *m);

#endif

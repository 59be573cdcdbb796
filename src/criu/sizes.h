/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sizes of files that the job only appends to. CRIU does not record those (it lets such a file grow
 * between dump and restore), but a log that is to continue where the image was taken needs them:
 * they are kept in an image file of our own, which CRIU does not look at.
 */
#ifndef FREM_CRIU_SIZES_H
#define FREM_CRIU_SIZES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct sizes {
	struct {
		uint32_t id; /* of the file's entry in files.img */
		uint64_t size;
	} * list;
	size_t n;
};

/* Opens a path as CRIU recorded it: one that has a link in it now leads somewhere else than it did.
 * Returns a descriptor, or negative. */
int sizes_open_recorded(const char *path, int flags);
/* Records them, after the dump and while the tasks are still frozen. */
int sizes_record(int dirfd, struct frem_error *err);
int sizes_read(int dirfd, struct sizes *ret, struct frem_error *err);
bool sizes_find(const struct sizes *s, uint32_t id, uint64_t *ret);
void sizes_done(struct sizes *s);

#endif

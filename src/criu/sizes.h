/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sizes and times of the job's regular files at the dump. CRIU records no times, and no sizes of
 * files that are only appended to (it lets such a file grow between dump and restore), but a log
 * that is to continue where the image was taken needs them: they are kept in an image file of our
 * own, which CRIU does not look at.
 */
#ifndef FREM_CRIU_SIZES_H
#define FREM_CRIU_SIZES_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/error.h"

struct size_entry {
	uint32_t id; /* of the file's entry in files.img */
	uint64_t size;
	uint64_t mtime_ns; /* since 1970; 0: not recorded */
};

struct sizes {
	struct size_entry *list; /* by id */
	size_t n, cap;
};

/* Opens a path as CRIU recorded it: one that has a link in it now leads somewhere else than it did.
 * Returns a descriptor, or negative. */
int sizes_open_recorded(const char *path, int flags);
uint64_t sizes_mtime(const struct stat *st);
/* Records them, after the dump and while the tasks are still frozen. */
int sizes_record(int dirfd, struct frem_error *err);
int sizes_read(int dirfd, struct sizes *ret, struct frem_error *err);
/* NULL where nothing was recorded of it. */
const struct size_entry *sizes_find(const struct sizes *s, uint32_t id);
void sizes_done(struct sizes *s);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The regular files of an image that a restore opens by their own name. */
#ifndef FREM_CRIU_OPEN_FILES_H
#define FREM_CRIU_OPEN_FILES_H

#include <stdint.h>

#include "base/error.h"
#include "images.pb-c.h"
#include "moved.h"
#include "sizes.h"

struct open_files {
	int dirfd;
	uint32_t *remapped; /* ids of files that CRIU restores by another name, or with content */
	size_t n_remapped;
	struct moved moved; /* files that the job will not have any more */
	struct sizes sizes; /* what CRIU does not record of files */
};

int open_files_read(int dirfd, struct open_files *ret, struct frem_error *err);
void open_files_done(struct open_files *o);
/* Whether the entry is such a file. CRIU counts directories and devices as regular files, too. */
bool open_files_is_one(const struct open_files *o, const ImageRegFile *reg);
/* Calls visit for each; a negative return ends it. */
int open_files_each(const struct open_files *o,
		    int (*visit)(void *arg, const ImageRegFile *reg, struct frem_error *err),
		    void *arg, struct frem_error *err);

#define _cleanup_open_files_ __attribute__((cleanup(open_files_done)))

#endif

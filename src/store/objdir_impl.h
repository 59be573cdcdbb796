/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the object directory share among themselves. */
#ifndef FREM_STORE_OBJDIR_IMPL_H
#define FREM_STORE_OBJDIR_IMPL_H

#include "store/objdir.h"

struct objdir {
	int root_fd;
};

/* May this be a component of a key? */
bool objdir_name_ok(const char *name);
/* Opens a directory, never through a symbolic link (-ELOOP). */
int objdir_open_subdir(int dirfd, const char *name);

#endif

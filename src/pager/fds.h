/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Clearing away the descriptors that a killed process has left in a table that it shared. */
#ifndef FREM_PAGER_FDS_H
#define FREM_PAGER_FDS_H

#include <stddef.h>

/* A list of descriptors. A zeroed one is valid and empty. */
struct fds {
	int *fd;
	size_t n, cap;
};

void fds_done(struct fds *f);
/* Adds one, where it is not negative. 0 or -ENOMEM. */
int fds_add(struct fds *f, int fd);
/* Adds all that are open now. 0 or -errno. */
int fds_add_open(struct fds *f);
/* Closes all that are open now, but for userfaultfds and those in the list. 0 or -errno. */
int fds_close_others(const struct fds *keep);

#endif

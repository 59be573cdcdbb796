/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fds.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "uffd.h"

void fds_done(struct fds *f)
{
	free(f->fd);
	*f = (struct fds){0};
}

int fds_add(struct fds *f, int fd)
{
	if (fd < 0)
		return 0;
	if (f->n == f->cap) {
		size_t cap = f->cap ? 2 * f->cap : 32;
		int *more = realloc(f->fd, cap * sizeof(*more));

		if (!more)
			return -ENOMEM;
		f->fd = more;
		f->cap = cap;
	}
	f->fd[f->n++] = fd;
	return 0;
}

static int add(void *arg, int fd)
{
	return fds_add(arg, fd);
}

int fds_add_open(struct fds *f)
{
	return file_each_open(add, f);
}

static bool has(const struct fds *f, int fd)
{
	for (size_t i = 0; i < f->n; i++)
		if (f->fd[i] == fd)
			return true;
	return false;
}

int fds_close_others(const struct fds *keep)
{
	struct fds now = {0};
	int r = fds_add_open(&now);

	for (size_t i = 0; r == 0 && i < now.n; i++)
		if (!has(keep, now.fd[i]) && !uffd_is(now.fd[i]))
			close(now.fd[i]);
	fds_done(&now);
	return r;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "import_source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/rundir.h"

#define ARCHIVED_IMAGES "checkpoint" /* the image directory within an archive of a container */

struct import_source {
	struct rundir *run; /* NULL: the image is read where it is */
	int fd;
};

/* The image directory that path is, or has in it as an archive has. */
static int open_directory(struct import_source *s, const char *path, struct frem_error *err)
{
	int inner;

	s->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->fd < 0)
		return frem_fail(err, FREM_FAILED, errno, "opening the image directory");
	if (faccessat(s->fd, "inventory.img", F_OK, 0) == 0 ||
	    faccessat(s->fd, ARCHIVED_IMAGES "/inventory.img", F_OK, 0) < 0)
		return 0;
	inner = openat(s->fd, ARCHIVED_IMAGES, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (inner < 0)
		return frem_fail(err, FREM_FAILED, errno, "opening '%s'", ARCHIVED_IMAGES);
	close(s->fd);
	s->fd = inner;
	return 0;
}

int import_source_open(const char *path, struct progress *progress, struct import_source **ret,
		       struct frem_error *err)
{
	_cleanup_import_source_ struct import_source *s = calloc(1, sizeof(*s));
	int r;

	(void)progress;
	if (!s)
		return frem_oom(err);
	s->fd = -1;
	r = open_directory(s, path, err);
	if (r == 0)
		*ret = TAKE_PTR(s);
	return r;
}

int import_source_fd(const struct import_source *s)
{
	return s->fd;
}

void import_source_free(struct import_source *s)
{
	if (!s)
		return;
	cleanup_close(&s->fd);
	rundir_free(s->run);
	free(s);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "import_source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/rundir.h"
#include "criu/image_join.h"
#include "import_archive.h"
#include "interrupt.h"

#define ARCHIVED_IMAGES "checkpoint" /* the image directory within an archive of a container */

struct import_source {
	struct rundir *run; /* NULL: the image is read where it is */
	int fd;
};

/* The image directory that s->fd is, or has in it as an archive has. */
static int find_images(struct import_source *s, struct frem_error *err)
{
	int inner;

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

/* The run directory, made when it is needed, gets another directory, which becomes the image. */
static int make_directory(struct import_source *s, const char *name, int *ret_fd,
			  struct frem_error *err)
{
	int r = s->run ? 0 : rundir_new(NULL, &s->run, err);

	return r < 0 ? r : rundir_subdir(s->run, name, ret_fd, err);
}

/* The image with all that its parents have of it. */
static int join_parents(struct import_source *s, struct progress *progress, struct frem_error *err)
{
	_cleanup_close_ int fd = -1;
	int r = make_directory(s, "joined", &fd, err);

	if (r == 0)
		r = image_join(s->fd, fd, progress, interrupt_check, err);
	if (r < 0)
		return r;
	close(s->fd);
	s->fd = take_fd(&fd);
	return 0;
}

static int open_archive(struct import_source *s, int archive_fd, struct progress *progress,
			struct frem_error *err)
{
	int r = make_directory(s, "unpacked", &s->fd, err);

	return r < 0 ? r : import_archive(archive_fd, s->fd, progress, err);
}

int import_source_open(const char *path, struct progress *progress, struct import_source **ret,
		       struct frem_error *err)
{
	_cleanup_import_source_ struct import_source *s = calloc(1, sizeof(*s));
	_cleanup_close_ int fd = -1;
	struct stat st;
	int r;

	if (!s)
		return frem_oom(err);
	s->fd = -1;
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return frem_fail(err, FREM_FAILED, errno, "opening it");
	if (S_ISREG(st.st_mode)) {
		r = open_archive(s, fd, progress, err);
	} else if (S_ISDIR(st.st_mode)) {
		s->fd = take_fd(&fd);
		r = find_images(s, err);
	} else {
		r = frem_fail(err, FREM_FAILED, 0, "neither a directory nor a file");
	}
	if (r == 0 && image_has_parent(s->fd))
		r = join_parents(s, progress, err);
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

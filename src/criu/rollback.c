/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "criu/image_files.h"
#include "open_files.h"

#define COPY_BYTES ((size_t)1 << 20)
#define TAIL_TRIES 1000

struct cut {
	char *path;
	char *tail;
	uint64_t size; /* what the file was cut to */
};

struct image_rollback {
	struct cut *cuts;
	size_t n;
};

/* One rollback while it runs. */
struct work {
	const char *suffix;
	image_rollback_notice notice;
	void *arg;
	struct image_rollback *done;
	struct open_files files;
};

static int copy_range(int from, uint64_t from_at, int to, uint64_t to_at, uint64_t n)
{
	_cleanup_free_ uint8_t *room = malloc(COPY_BYTES);
	int r = room ? 0 : -ENOMEM;

	while (r == 0 && n) {
		size_t now = n < COPY_BYTES ? (size_t)n : COPY_BYTES;

		r = file_pread_all(from, room, now, from_at);
		if (r == 0)
			r = file_pwrite_all(to, room, now, to_at);
		from_at += now;
		to_at += now;
		n -= now;
	}
	return r;
}

static int sync_directory_of(const char *path)
{
	_cleanup_free_ char *copy = strdup(path);
	_cleanup_close_ int fd = -1;

	if (!copy)
		return -ENOMEM;
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

/* PATH.frem-tail-SUFFIX, or with -2, -3, … behind it where that exists. */
static int create_tail(const char *path, const char *suffix, const struct stat *like, char **ret)
{
	for (int i = 1; i <= TAIL_TRIES; i++) {
		char number[16] = "", *name = NULL;
		int fd;

		if (i > 1)
			snprintf(number, sizeof(number), "-%d", i);
		if (asprintf(&name, "%s.frem-tail-%s%s", path, suffix, number) < 0)
			return -ENOMEM;
		fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (fd < 0) {
			int r = -errno;

			free(name);
			if (r == -EEXIST)
				continue;
			return r;
		}
		/* readable by whom the file itself is */
		if (fchown(fd, like->st_uid, like->st_gid) == 0)
			fchmod(fd, like->st_mode & 0777);
		*ret = name;
		return fd;
	}
	return -EEXIST;
}

/* Moves what is behind `size` to a new tail file; the file is cut only once the tail is on disk. */
static int move_tail(int fd, const struct stat *st, const char *path, const char *suffix,
		     uint64_t size, char **ret_tail)
{
	_cleanup_free_ char *tail = NULL;
	_cleanup_close_ int to = create_tail(path, suffix, st, &tail);
	int r = to < 0 ? to : copy_range(fd, size, to, 0, (uint64_t)st->st_size - size);

	if (r == 0 && fsync(to) < 0)
		r = -errno;
	if (r >= 0)
		r = sync_directory_of(path);
	if (r == 0 && ftruncate(fd, (off_t)size) < 0)
		r = -errno;
	if (r == 0)
		*ret_tail = TAKE_PTR(tail);
	else if (tail)
		unlink(tail);
	return r;
}

static int remember(struct image_rollback *done, const char *path, uint64_t size)
{
	struct cut *more = reallocarray(done->cuts, done->n + 1, sizeof(*more));
	char *copy = strdup(path);

	if (more)
		done->cuts = more;
	if (!more || !copy) {
		free(copy);
		return -ENOMEM;
	}
	done->cuts[done->n++] = (struct cut){.path = copy, .size = size};
	return 0;
}

static int roll_back_file(struct work *w, const char *path, uint64_t size, struct frem_error *err)
{
	_cleanup_close_ int fd = sizes_open_recorded(path, O_RDWR);
	struct stat st;
	char *tail = NULL;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size <= size)
		return 0;
	/* the record comes first: a tail that nobody knows of could not be put back */
	r = remember(w->done, path, size);
	if (r == 0)
		r = move_tail(fd, &st, path, w->suffix, size, &tail);
	if (r < 0)
		return frem_fail(err, FREM_FAILED, -r, "rolling back '%s' to %" PRIu64 " bytes",
				 path, size);
	w->done->cuts[w->done->n - 1].tail = tail;
	if (w->notice)
		w->notice(w->arg, path, tail, (uint64_t)st.st_size - size);
	return 0;
}

static int take_file(void *arg, const ImageRegFile *reg, struct frem_error *err)
{
	struct work *w = arg;
	const struct size_entry *noted = sizes_find(&w->files.sizes, reg->id);
	uint64_t size = reg->size;

	if (!reg->has_size) {
		if (!noted)
			return 0;
		size = noted->size;
	}
	if (size > INT64_MAX)
		return 0;
	if ((reg->flags & O_ACCMODE) == O_RDONLY || reg->flags & O_PATH)
		return 0;
	if (reg->has_mode && !S_ISREG(reg->mode))
		return 0;
	return roll_back_file(w, reg->name, size, err);
}

int image_rollback(int dirfd, const char *suffix, image_rollback_notice notice, void *arg,
		   struct image_rollback **ret, struct frem_error *err)
{
	struct work w = {.suffix = suffix, .notice = notice, .arg = arg};
	int r;

	w.done = calloc(1, sizeof(*w.done));
	if (!w.done)
		return frem_oom(err);
	r = open_files_read(dirfd, &w.files, err);
	if (r == 0)
		r = open_files_each(&w.files, take_file, &w, err);
	open_files_done(&w.files);
	if (r < 0) {
		image_rollback_undo(w.done);
		image_rollback_free(w.done);
		return r;
	}
	*ret = w.done;
	return 0;
}

static int put_back(const struct cut *c)
{
	_cleanup_close_ int fd = sizes_open_recorded(c->path, O_RDWR);
	_cleanup_close_ int tail = open(c->tail, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st, cut;
	int r;

	if (fd < 0 || tail < 0 || fstat(tail, &st) < 0 || fstat(fd, &cut) < 0)
		return -errno;
	if ((uint64_t)cut.st_size != c->size)
		return -ESTALE;
	r = copy_range(tail, 0, fd, c->size, (uint64_t)st.st_size);
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	return r < 0 ? r : unlink(c->tail) < 0 ? -errno : 0;
}

void image_rollback_undo(struct image_rollback *r)
{
	if (!r)
		return;
	while (r->n > 0) {
		struct cut *c = &r->cuts[--r->n];
		int result = c->tail ? put_back(c) : 0;

		if (result < 0)
			log_warning("putting '%s' back behind '%s': keeping both, ignoring: %s",
				    c->tail, c->path, strerror(-result));
		free(c->path);
		free(c->tail);
	}
}

void image_rollback_free(struct image_rollback *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->n; i++) {
		free(r->cuts[i].path);
		free(r->cuts[i].tail);
	}
	free(r->cuts);
	free(r);
}

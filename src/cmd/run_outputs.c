/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "run_outputs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "criu/image_files.h"

#define KEPT_MOST ((size_t)16 << 20)
#define COPY_BYTES ((size_t)64 << 10)
#define NAME_SIZE 32

/* An image file of our own: the path with its NUL, KEPT or NOT_KEPT, the content. */
#define KEPT 'K'
#define NOT_KEPT '-'

static void name_output(int fd, char name[NAME_SIZE])
{
	snprintf(name, NAME_SIZE, "frem-output-%d", fd);
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Of `>out 2>&1`, the content is kept once. */
static bool is_second(int fd, const struct stat *st)
{
	struct stat out;

	return fd == STDERR_FILENO && fstat(STDOUT_FILENO, &out) == 0 && same_file(&out, st);
}

static ssize_t path_of(int fd, char path[PATH_MAX])
{
	char link[32];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, PATH_MAX - 1);
	path[n < 0 ? 0 : n] = '\0';
	return n;
}

/* ---- keeping ---- */

static int copy(const char *path, int to, uint64_t size)
{
	_cleanup_close_ int from = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t bytes[COPY_BYTES];
	int r = from < 0 ? -errno : 0;

	for (uint64_t at = 0; r == 0 && at < size; at += sizeof(bytes)) {
		size_t n = size - at < sizeof(bytes) ? (size_t)(size - at) : sizeof(bytes);

		r = file_pread_all(from, bytes, n, at);
		if (r == 0)
			r = file_write_all(to, bytes, n);
	}
	return r;
}

static int keep_one(const struct run_output *o, int fd, int images_fd, bool *ret_too_long,
		    struct frem_error *err)
{
	char name[NAME_SIZE], path[PATH_MAX];
	_cleanup_close_ int to = -1;
	struct stat st;
	bool kept;
	int r;

	if (fstat(fd, &st) < 0 || path_of(fd, path) <= 0)
		return 0;
	kept = !is_second(fd, &st) && (uint64_t)st.st_size <= KEPT_MOST;
	*ret_too_long |= !o->appends && (uint64_t)st.st_size > KEPT_MOST;
	name_output(fd, name);
	to = openat(images_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	r = to < 0 ? -errno : file_write_all(to, path, strlen(path) + 1);
	if (r == 0)
		r = file_write_all(to, kept ? (char[]){KEPT} : (char[]){NOT_KEPT}, 1);
	if (r == 0 && kept)
		r = copy(path, to, (uint64_t)st.st_size);
	return r < 0 ? frem_fail(err, FREM_FAILED, -r, "keeping the output in '%s'", path) : 0;
}

int run_outputs_keep(const struct run_output outputs[RUN_OUTPUTS], int images_fd,
		     bool *ret_too_long, struct frem_error *err)
{
	int r = 0;

	for (int fd = STDOUT_FILENO; r == 0 && fd <= STDERR_FILENO; fd++)
		if (outputs[fd].is_file)
			r = keep_one(&outputs[fd], fd, images_fd, ret_too_long, err);
	return r;
}

/* ---- giving back ---- */

/* What a checkpoint says of an output. */
struct kept_output {
	struct buffer bytes;
	const char *path;
	const uint8_t *content; /* NULL: not kept */
	size_t size;
};

static int read_kept(int images_fd, int fd, struct kept_output *ret, struct frem_error *err)
{
	char name[NAME_SIZE];
	const char *end;
	int r;

	name_output(fd, name);
	r = file_read_at(images_fd, name, PATH_MAX + 1 + KEPT_MOST, &ret->bytes);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return frem_fail(err, FREM_FAILED, -r, "reading '%s'", name);
	end = memchr(ret->bytes.data, '\0', ret->bytes.len);
	if (!end || (size_t)(end + 1 - (const char *)ret->bytes.data) >= ret->bytes.len)
		return frem_fail(err, FREM_DAMAGED, 0, "head: '%s' is cut short", name);
	ret->path = (const char *)ret->bytes.data;
	if (end[1] == KEPT) {
		ret->content = (const uint8_t *)end + 2;
		ret->size = ret->bytes.len - (size_t)(end + 2 - ret->path);
	}
	return 0;
}

/* frem may have said something in it since: that goes. */
static int write_content(const char *path, const struct kept_output *k, struct frem_error *err)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	int r = fd < 0 || ftruncate(fd, 0) < 0 ? -errno : 0;

	if (r == 0)
		r = file_pwrite_all(fd, k->content, k->size, 0);
	return r < 0 ? frem_fail(err, FREM_FAILED, -r, "writing to '%s' what the job had written",
				 path)
		     : 0;
}

static int give_back_one(const struct run_output *o, int fd, int images_fd,
			 const struct kept_output *k, struct frem_error *err)
{
	struct stat recorded, now;
	bool same = o->is_file && fstat(fd, &now) == 0 && stat(k->path, &recorded) == 0 &&
		    same_file(&now, &recorded);
	char path[PATH_MAX];
	int r = 0;

	if (k->content && o->is_file && o->was_empty && path_of(fd, path) > 0)
		r = write_content(path, k, err);
	if (r < 0 || same)
		return r;
	/* the job goes on there, behind what it had written */
	if (o->is_file)
		lseek(fd, 0, SEEK_END);
	return image_stream_move(images_fd, fd, k->path, err);
}

int run_outputs_give_back(const struct run_output outputs[RUN_OUTPUTS], int images_fd,
			  struct frem_error *err)
{
	int r = 0;

	for (int fd = STDOUT_FILENO; r == 0 && fd <= STDERR_FILENO; fd++) {
		struct kept_output k = {.path = NULL};

		r = read_kept(images_fd, fd, &k, err);
		if (r == 0 && k.path)
			r = give_back_one(&outputs[fd], fd, images_fd, &k, err);
		buffer_done(&k.bytes);
	}
	return r;
}

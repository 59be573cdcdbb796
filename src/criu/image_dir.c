/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "criu/image_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "image_names.h"

#define COPY_BYTES ((size_t)1 << 20)
_Static_assert(COPY_BYTES <= HEAD_RUN_MAX, "a run of eager pages must fit its record");

static int pack_run(struct head_writer *w, const char *name, int fd, const struct image_eager *run,
		    uint8_t *room, struct frem_error *err)
{
	uint64_t offset = run->file_offset, left = run->pages * PAGE_BYTES;

	while (left) {
		size_t n = left < COPY_BYTES ? (size_t)left : COPY_BYTES;
		int r = file_pread_all(fd, room, n, offset);

		if (r < 0)
			return frem_fail(err, FREM_FAILED, -r, "reading image file '%s'", name);
		r = head_add_run(w, name, offset, room, n, err);
		if (r < 0)
			return r;
		offset += n;
		left -= n;
	}
	return 0;
}

static int pack_pages(struct head_writer *w, const char *name, uint32_t id, int fd, uint64_t size,
		      const struct image_map *map, struct frem_error *err)
{
	_cleanup_free_ uint8_t *room = malloc(COPY_BYTES);
	int r = room ? head_add_sparse(w, name, size, err) : frem_oom(err);

	for (size_t i = 0; r == 0 && i < map->n_eager; i++)
		if (map->eager[i].pages_id == id)
			r = pack_run(w, name, fd, &map->eager[i], room, err);
	return r;
}

static int pack_file(struct head_writer *w, const char *name, int fd, uint64_t size,
		     struct frem_error *err)
{
	_cleanup_buffer_ struct buffer data = {0};
	int r;

	if (size > HEAD_FILE_MAX)
		return frem_fail(err, FREM_FAILED, EFBIG, "image file '%s'", name);
	if (buffer_reserve(&data, (size_t)size) < 0)
		return frem_oom(err);
	r = file_pread_all(fd, data.data, (size_t)size, 0);
	if (r < 0)
		return frem_fail(err, FREM_FAILED, -r, "reading image file '%s'", name);
	return head_add_file(w, name, data.data, (size_t)size, err);
}

static int pack_one(struct head_writer *w, int dirfd, const char *name, const struct image_map *map,
		    struct frem_error *err)
{
	_cleanup_close_ int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;
	uint32_t id;

	if (fd < 0 || fstat(fd, &st) < 0)
		return frem_fail(err, FREM_FAILED, errno, "opening image file '%s'", name);
	if (image_is_pages(name, &id))
		return pack_pages(w, name, id, fd, (uint64_t)st.st_size, map, err);
	return pack_file(w, name, fd, (uint64_t)st.st_size, err);
}

int image_dir_pack(int dirfd, const struct image_map *map, const struct frame_index *index,
		   struct buffer *ret, struct frem_error *err)
{
	_cleanup_image_names_ struct image_names names = {0};
	_cleanup_head_writer_ struct head_writer *w = NULL;
	int r;

	if (map->parent_pages)
		return frem_fail(err, FREM_DAMAGED, 0,
				 "%" PRIu64 " pages of the image are in a parent image "
				 "(not supported)",
				 map->parent_pages);
	r = head_writer_new(&w, err);
	if (r == 0)
		r = image_names_read(dirfd, &names, err);
	for (size_t i = 0; r == 0 && i < names.n; i++)
		r = pack_one(w, dirfd, names.list[i], map, err);
	if (r == 0)
		r = head_add_index(w, index, err);
	return r < 0 ? r : head_finish(w, ret, err);
}

struct unpacker {
	int dirfd;
	int fd; /* of the sparse file that runs are written to, or -1 */
	char name[HEAD_NAME_MAX + 1];
	struct frame_index *index;
};

static int write_failed(struct frem_error *err, int r, const char *name)
{
	frem_fail(err, FREM_FAILED, -r, "writing image file '%s'", name);
	if (r == -ENOSPC || r == -EDQUOT)
		frem_hint(err, r, "set FREM_RUN_DIR to a directory with more room");
	return r;
}

static int create(struct unpacker *u, const char *name, struct frem_error *err)
{
	int fd = openat(u->dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	return fd < 0 ? write_failed(err, -errno, name) : fd;
}

static int take_file(void *arg, const char *name, const void *data, size_t n,
		     struct frem_error *err)
{
	_cleanup_close_ int fd = create(arg, name, err);
	int r;

	if (fd < 0)
		return fd;
	r = file_write_all(fd, data, n);
	return r < 0 ? write_failed(err, r, name) : 0;
}

static int take_sparse(void *arg, const char *name, uint64_t size, struct frem_error *err)
{
	struct unpacker *u = arg;
	int fd = create(u, name, err);

	if (fd < 0)
		return fd;
	if (u->fd >= 0)
		close(u->fd);
	u->fd = fd;
	snprintf(u->name, sizeof(u->name), "%s", name);
	if (size > INT64_MAX || ftruncate(fd, (off_t)size) < 0)
		return write_failed(err, size > INT64_MAX ? -EFBIG : -errno, name);
	return 0;
}

static int take_run(void *arg, const char *name, uint64_t offset, const void *data, size_t n,
		    struct frem_error *err)
{
	struct unpacker *u = arg;
	int r;

	if (u->fd < 0 || strcmp(u->name, name) != 0)
		return frem_fail(err, FREM_DAMAGED, 0, "head: pages for '%s' before its size",
				 name);
	r = file_pwrite_all(u->fd, data, n, offset);
	return r < 0 ? write_failed(err, r, name) : 0;
}

static int take_index(void *arg, struct frame_index *x, struct frem_error *err)
{
	struct unpacker *u = arg;

	if (u->index) {
		frame_index_free(x);
		return frem_fail(err, FREM_DAMAGED, 0, "head: two frame indexes");
	}
	u->index = x;
	return 0;
}

int image_dir_unpack(int dirfd, const void *head, size_t n, struct frame_index **ret_index,
		     struct frem_error *err)
{
	struct unpacker u = {.dirfd = dirfd, .fd = -1};
	const struct head_sink sink = {
		.file = take_file,
		.sparse = take_sparse,
		.run = take_run,
		.index = take_index,
		.arg = &u,
	};
	int r = head_read(head, n, &sink, err);

	if (u.fd >= 0)
		close(u.fd);
	if (r == 0 && !u.index)
		r = frem_fail(err, FREM_DAMAGED, 0, "head: no frame index");
	if (r < 0)
		frame_index_free(u.index);
	else
		*ret_index = u.index;
	return r;
}

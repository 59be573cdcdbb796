/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sizes.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "files_img.h"
#include "image_file.h"
#include "images.pb-c.h"

#define SIZES_NAME "frem-sizes.img"
#define SIZES_MAGIC 0x4d455246u /* "FREM" */
#define FILE_REG 1u

int sizes_open_recorded(const char *path, int flags)
{
	/* O_PATH goes with nothing else, and opens nothing that could block */
	int careful = flags & O_PATH ? 0 : O_NONBLOCK | O_NOCTTY;
	struct open_how how = {
		.flags = (uint64_t)(flags | O_CLOEXEC | careful),
		.resolve = RESOLVE_NO_SYMLINKS,
	};

	return (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));
}

uint64_t sizes_mtime(const struct stat *st)
{
	return (uint64_t)st->st_mtim.tv_sec * NSEC_PER_SEC + (uint64_t)st->st_mtim.tv_nsec;
}

static bool is_wanted(const ImageFile *e)
{
	const ImageRegFile *reg = e->type == FILE_REG ? e->reg : NULL;

	return reg && !reg->ext && reg->name && reg->name[0] == '/' && reg->has_mode &&
	       S_ISREG(reg->mode) && !(reg->flags & O_PATH);
}

static int record_one(void *arg, ImageFile *e, const uint8_t *data, size_t n,
		      struct frem_error *err)
{
	struct buffer *out = arg;
	_cleanup_close_ int fd = -1;
	ImageSize entry = IMAGE_SIZE__INIT;
	uint8_t packed[64];
	struct stat st;

	(void)data;
	if (!is_wanted(e))
		return 0;
	fd = sizes_open_recorded(e->reg->name, O_PATH);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return 0;
	entry.has_id = entry.has_size = entry.has_mtime_ns = 1;
	entry.id = e->reg->id;
	entry.size = (uint64_t)st.st_size;
	entry.mtime_ns = sizes_mtime(&st);
	n = image_size__pack(&entry, packed);
	return image_file_add(out, packed, n) < 0 ? frem_oom(err) : 0;
}

int sizes_record(int dirfd, struct frem_error *err)
{
	_cleanup_buffer_ struct buffer out = {0};
	size_t empty;
	int r;

	if (image_file_start(SIZES_MAGIC, &out) < 0)
		return frem_oom(err);
	empty = out.len;
	r = files_img_each(dirfd, record_one, &out, err);
	if (r < 0 || out.len == empty)
		return r;
	return image_file_replace(dirfd, SIZES_NAME, &out, err);
}

static int add_size(struct sizes *ret, const uint8_t *data, size_t n, const struct image_file *f,
		    struct frem_error *err)
{
	ImageSize *e;

	if (ret->n == ret->cap) {
		size_t cap = ret->cap ? 2 * ret->cap : 64;
		void *more = reallocarray(ret->list, cap, sizeof(*ret->list));

		if (!more)
			return frem_oom(err);
		ret->list = more;
		ret->cap = cap;
	}
	e = image_size__unpack(NULL, n, data);
	if (!e)
		return image_file_damaged(f, err, "an unreadable entry");
	ret->list[ret->n++] = (struct size_entry){e->id, e->size, e->mtime_ns};
	image_size__free_unpacked(e, NULL);
	return 0;
}

static int compare_ids(const void *a, const void *b)
{
	const struct size_entry *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

int sizes_read(int dirfd, struct sizes *ret, struct frem_error *err)
{
	_cleanup_image_file_ struct image_file f = {0};
	const uint8_t *data;
	size_t n;
	int r;

	if (faccessat(dirfd, SIZES_NAME, F_OK, 0) < 0)
		return 0;
	r = image_file_read(dirfd, SIZES_NAME, SIZES_MAGIC, &f, err);
	while (r == 0) {
		r = image_file_next(&f, &data, &n, err);
		if (r <= 0)
			break;
		r = add_size(ret, data, n, &f, err);
	}
	if (r == 0 && ret->n)
		qsort(ret->list, ret->n, sizeof(*ret->list), compare_ids);
	return r;
}

const struct size_entry *sizes_find(const struct sizes *s, uint32_t id)
{
	struct size_entry wanted = {.id = id};

	return s->n ? bsearch(&wanted, s->list, s->n, sizeof(wanted), compare_ids) : NULL;
}

void sizes_done(struct sizes *s)
{
	free(s->list);
	*s = (struct sizes){0};
}

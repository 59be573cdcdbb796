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

#include "image_file.h"
#include "images.pb-c.h"

#define SIZES_NAME "frem-sizes.img"
#define SIZES_MAGIC 0x4d455246u /* "FREM" */
#define FILE_REG 1u

int sizes_open_recorded(const char *path, int flags)
{
	struct open_how how = {
		.flags = (uint64_t)(flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY),
		.resolve = RESOLVE_NO_SYMLINKS,
	};

	return (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));
}

/* Is this one of the files whose size CRIU leaves out? */
static bool is_wanted(const ImageFile *e)
{
	const ImageRegFile *reg = e->type == FILE_REG ? e->reg : NULL;

	return reg && !reg->has_size && !reg->ext && reg->name && reg->name[0] == '/' &&
	       reg->has_mode && S_ISREG(reg->mode) && !(reg->flags & O_PATH) &&
	       (reg->flags & O_ACCMODE) != O_RDONLY;
}

static int record_one(struct buffer *out, const ImageFile *e)
{
	_cleanup_close_ int fd = -1;
	ImageRegFile entry = IMAGE_REG_FILE__INIT;
	uint8_t packed[64];
	struct stat st;

	if (!is_wanted(e))
		return 0;
	fd = sizes_open_recorded(e->reg->name, O_RDONLY);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return 0;
	entry.has_id = entry.has_size = 1;
	entry.id = e->reg->id;
	entry.size = (uint64_t)st.st_size;
	return image_file_add(out, packed, image_reg_file__pack(&entry, packed));
}

int sizes_record(int dirfd, struct frem_error *err)
{
	_cleanup_image_file_ struct image_file f = {0};
	_cleanup_buffer_ struct buffer out = {0};
	const uint8_t *data;
	size_t n, empty;
	int r = image_file_read(dirfd, "files.img", IMAGE_MAGIC_FILES, &f, err);

	if (r == 0 && image_file_start(SIZES_MAGIC, &out) < 0)
		r = frem_oom(err);
	empty = out.len;
	while (r == 0) {
		ImageFile *e;

		r = image_file_next(&f, &data, &n, err);
		if (r <= 0)
			break;
		e = image_file__unpack(NULL, n, data);
		if (!e)
			return image_file_damaged(&f, err, "an unreadable entry");
		r = record_one(&out, e);
		image_file__free_unpacked(e, NULL);
		if (r < 0)
			return frem_oom(err);
	}
	if (r < 0 || out.len == empty)
		return r;
	return image_file_replace(dirfd, SIZES_NAME, &out, err);
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
		ImageRegFile *e;
		void *more;

		r = image_file_next(&f, &data, &n, err);
		if (r <= 0)
			break;
		r = 0;
		more = reallocarray(ret->list, ret->n + 1, sizeof(*ret->list));
		if (!more)
			return frem_oom(err);
		ret->list = more;
		e = image_reg_file__unpack(NULL, n, data);
		if (!e)
			return image_file_damaged(&f, err, "an unreadable entry");
		ret->list[ret->n].id = e->id;
		ret->list[ret->n++].size = e->size;
		image_reg_file__free_unpacked(e, NULL);
	}
	return r;
}

bool sizes_find(const struct sizes *s, uint32_t id, uint64_t *ret)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->list[i].id == id) {
			*ret = s->list[i].size;
			return true;
		}
	return false;
}

void sizes_done(struct sizes *s)
{
	free(s->list);
	*s = (struct sizes){0};
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "image_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/file.h"

#define MAGIC_COMMON 0x54564319u
#define MAGIC_SERVICE 0x55105940u
#define IMAGE_FILE_MAX ((size_t)256 << 20)

/* CRIU's inventory has its own magic alone, statistics another common one. */
static size_t magic_bytes(uint32_t magic, uint8_t out[8])
{
	if (magic == IMAGE_MAGIC_INVENTORY) {
		put_le32(out, magic);
		return 4;
	}
	put_le32(out, magic == IMAGE_MAGIC_STATS ? MAGIC_SERVICE : MAGIC_COMMON);
	put_le32(out + 4, magic);
	return 8;
}

static int read_whole(int dirfd, const char *name, struct buffer *out)
{
	_cleanup_close_ int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if (st.st_size < 0 || (uint64_t)st.st_size > IMAGE_FILE_MAX)
		return -EFBIG;
	r = buffer_reserve(out, (size_t)st.st_size);
	if (r < 0)
		return r;
	r = file_pread_all(fd, out->data, (size_t)st.st_size, 0);
	if (r == 0)
		out->len = (size_t)st.st_size;
	return r;
}

int image_file_read(int dirfd, const char *name, uint32_t magic, struct image_file *ret,
		    struct frem_error *err)
{
	_cleanup_image_file_ struct image_file f = {0};
	uint8_t want[8];
	size_t n = magic_bytes(magic, want);
	int r;

	snprintf(f.name, sizeof(f.name), "%s", name);
	r = read_whole(dirfd, name, &f.data);
	if (r == -ENOMEM)
		return frem_oom(err);
	if (r < 0)
		return frem_fail(err, FREM_DAMAGED, -r, "image file '%s'", name);
	if (f.data.len < n || memcmp(f.data.data, want, n) != 0)
		return frem_fail(err, FREM_DAMAGED, 0, "image file '%s': wrong magic", name);
	f.at = n;
	*ret = f;
	memset(&f, 0, sizeof(f));
	return 0;
}

int image_file_next(struct image_file *f, const uint8_t **ret, size_t *ret_n,
		    struct frem_error *err)
{
	size_t left = f->data.len - f->at, n;

	if (left == 0)
		return 0;
	if (left < 4)
		return image_file_damaged(f, err, "a truncated entry");
	n = get_le32(f->data.data + f->at);
	if (n > left - 4)
		return image_file_damaged(f, err, "an entry that ends behind the file");
	*ret = f->data.data + f->at + 4;
	*ret_n = n;
	f->at += 4 + n;
	return 1;
}

void image_file_done(struct image_file *f)
{
	buffer_done(&f->data);
}

int image_file_damaged(const struct image_file *f, struct frem_error *err, const char *why)
{
	return frem_fail(err, FREM_DAMAGED, 0, "image file '%s': %s before offset %zu", f->name,
			 why, f->at);
}

int image_file_start(uint32_t magic, struct buffer *out)
{
	uint8_t bytes[8];
	size_t n = magic_bytes(magic, bytes);

	return buffer_append(out, bytes, n);
}

int image_file_add(struct buffer *out, const void *entry, size_t n)
{
	uint8_t size[4];
	int r;

	if (n > IMAGE_FILE_MAX)
		return -EFBIG;
	put_le32(size, (uint32_t)n);
	r = buffer_append(out, size, sizeof(size));
	return r < 0 ? r : buffer_append(out, entry, n);
}

int image_file_replace(int dirfd, const char *name, const struct buffer *data,
		       struct frem_error *err)
{
	_cleanup_close_ int fd = -1;
	char temp[96];
	int r;

	snprintf(temp, sizeof(temp), "%s.new", name);
	if (unlinkat(dirfd, temp, 0) < 0 && errno != ENOENT)
		return frem_fail(err, FREM_FAILED, errno, "removing '%s'", temp);
	fd = openat(dirfd, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return frem_fail(err, FREM_FAILED, errno, "creating '%s'", temp);
	r = file_write_all(fd, data->data, data->len);
	if (r == 0 && renameat(dirfd, temp, dirfd, name) < 0)
		r = -errno;
	if (r < 0) {
		unlinkat(dirfd, temp, 0);
		return frem_fail(err, FREM_FAILED, -r, "rewriting image file '%s'", name);
	}
	return 0;
}

int image_dir_each(int dirfd, const char *prefix,
		   int (*visit)(void *arg, const char *name, const char *rest,
				struct frem_error *err),
		   void *arg, struct frem_error *err)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r;
	_cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	char rest[64];

	if (!dir) {
		r = frem_fail(err, FREM_FAILED, errno, "opening the image directory");
		if (fd >= 0)
			close(fd);
		return r;
	}
	while ((entry = readdir(dir))) {
		size_t n = strlen(entry->d_name), skip = strlen(prefix);

		if (n < skip + 4 || n - skip - 4 >= sizeof(rest) ||
		    strncmp(entry->d_name, prefix, skip) != 0 ||
		    strcmp(entry->d_name + n - 4, ".img") != 0)
			continue;
		memcpy(rest, entry->d_name + skip, n - skip - 4);
		rest[n - skip - 4] = '\0';
		r = visit(arg, entry->d_name, rest, err);
		if (r < 0)
			return r;
	}
	return 0;
}

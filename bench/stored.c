/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "stored.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/file.h"

int stored_open(struct stored *s, const char *path, struct frem_error *err)
{
	int r;

	*s = (struct stored){.path = path, .fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
	if (s->fd < 0)
		return frem_fail(err, FREM_FAILED, errno, "opening '%s'", path);
	r = stored_read(s, OBJECT_MANIFEST, MANIFEST_MAX, &s->manifest, err);
	if (r == 0)
		manifest_digest(s->manifest.data, s->manifest.len, s->digest);
	return r;
}

void stored_done(struct stored *s)
{
	cleanup_close(&s->fd);
	buffer_done(&s->manifest);
}

int stored_read(const struct stored *s, const char *name, size_t most, struct buffer *out,
		struct frem_error *err)
{
	int r = file_read_at(s->fd, name, most, out);

	return r < 0 ? frem_fail(err, FREM_FAILED, -r, "reading '%s/%s'", s->path, name) : 0;
}

int stored_object(const struct stored *s, const char *name, int *ret, struct frem_error *err)
{
	*ret = openat(s->fd, name, O_RDONLY | O_CLOEXEC);
	return *ret < 0 ? frem_fail(err, FREM_FAILED, errno, "opening '%s/%s'", s->path, name) : 0;
}

int stored_touch(const struct stored *s, int fd, uint64_t lazy_pages, struct touch_set **ret,
		 struct frem_error *err)
{
	_cleanup_buffer_ struct buffer b = {0};
	uint8_t header[TOUCH_HEADER_SIZE];
	uint64_t n;
	int r = file_pread_all(fd, header, sizeof(header), 0);

	if (r < 0)
		return frem_fail(err, FREM_FAILED, -r, "reading '%s/touch'", s->path);
	r = touch_measure(header, sizeof(header), &n, err);
	if (r < 0)
		return r;
	if (buffer_append(&b, NULL, n) < 0)
		return frem_oom(err);
	r = file_pread_all(fd, b.data, n, 0);
	if (r < 0)
		return frem_fail(err, FREM_FAILED, -r, "reading '%s/touch'", s->path);
	r = touch_decode(b.data, n, lazy_pages, ret, err);
	if (r == 0 && memcmp((*ret)->manifest, s->digest, DIGEST_SIZE) != 0)
		r = frem_fail(err, FREM_DAMAGED, 0, "'%s/touch' belongs to another checkpoint",
			      s->path);
	return r;
}

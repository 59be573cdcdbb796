/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "moved.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "criu/image_files.h"

#define NAME_SIZE 32

static void name_note(int number, char name[NAME_SIZE])
{
	snprintf(name, NAME_SIZE, "frem-moved-%d", number);
}

int image_stream_move(int dirfd, int number, const char *path, struct frem_error *err)
{
	_cleanup_close_ int fd = -1;
	char name[NAME_SIZE];

	name_note(number, name);
	fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || file_write_all(fd, path, strlen(path)) < 0)
		return frem_fail(err, FREM_FAILED, errno, "noting what becomes of '%s'", path);
	return 0;
}

int moved_read(int dirfd, struct moved *ret, struct frem_error *err)
{
	struct moved m = {0};

	for (int i = 0; i < MOVED_MOST; i++) {
		_cleanup_buffer_ struct buffer path = {0};
		char name[NAME_SIZE];
		int r;

		name_note(i, name);
		r = file_read_at(dirfd, name, PATH_MAX, &path);
		if (r == -ENOENT)
			continue;
		m.paths[i] = r < 0 ? NULL : strndup((const char *)path.data, path.len);
		if (!m.paths[i]) {
			moved_done(&m);
			return r < 0 ? frem_fail(err, FREM_FAILED, -r, "reading '%s'", name)
				     : frem_oom(err);
		}
	}
	*ret = m;
	return 0;
}

int moved_find(const struct moved *m, const char *path)
{
	for (int i = 0; i < MOVED_MOST; i++)
		if (m->paths[i] && strcmp(m->paths[i], path) == 0)
			return i;
	return -1;
}

void moved_done(struct moved *m)
{
	for (int i = 0; i < MOVED_MOST; i++)
		free(m->paths[i]);
	*m = (struct moved){0};
}

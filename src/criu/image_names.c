/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "image_names.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

#define NAMES_MAX 1000000u

void image_names_done(struct image_names *names)
{
	for (size_t i = 0; i < names->n; i++)
		free(names->list[i]);
	free(names->list);
}

/* What CRIU leaves beside the image: its logs, statistics, sockets, the way to its parent. */
static int is_image(int dirfd, const char *name, struct frem_error *err)
{
	size_t n = strlen(name);
	struct stat st;

	if (!strcmp(name, ".") || !strcmp(name, "..") || !strcmp(name, IMAGE_PARENT) ||
	    !strncmp(name, "stats-", 6) || (n > 4 && !strcmp(name + n - 4, ".log")))
		return 0;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return frem_fail(err, FREM_FAILED, errno, "image file '%s'", name);
	if (S_ISSOCK(st.st_mode))
		return 0;
	if (!S_ISREG(st.st_mode))
		return frem_fail(err, FREM_FAILED, 0, "image file '%s': not a regular file", name);
	return 1;
}

static int add_name(struct image_names *names, const char *name)
{
	if (names->n == names->cap) {
		size_t cap = names->cap ? names->cap * 2 : 64;
		char **more = cap > NAMES_MAX ? NULL : realloc(names->list, cap * sizeof(*more));

		if (!more)
			return -ENOMEM;
		names->list = more;
		names->cap = cap;
	}
	names->list[names->n] = strdup(name);
	if (!names->list[names->n])
		return -ENOMEM;
	names->n++;
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int image_names_read(int dirfd, struct image_names *names, struct frem_error *err)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r;
	_cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir) {
		r = frem_fail(err, FREM_FAILED, errno, "opening the image directory");
		if (fd >= 0)
			close(fd);
		return r;
	}
	while ((entry = readdir(dir))) {
		r = is_image(dirfd, entry->d_name, err);
		if (r > 0 && add_name(names, entry->d_name) < 0)
			r = frem_oom(err);
		if (r < 0)
			return r;
	}
	if (names->n)
		qsort(names->list, names->n, sizeof(*names->list), by_name);
	return 0;
}

bool image_is_pages(const char *name, uint32_t *ret_id)
{
	char again[64];
	uint32_t id;

	if (strncmp(name, "pages-", 6) != 0)
		return false;
	id = (uint32_t)strtoul(name + 6, NULL, 10);
	snprintf(again, sizeof(again), "pages-%" PRIu32 ".img", id);
	*ret_id = id;
	return !strcmp(name, again);
}

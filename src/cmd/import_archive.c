/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "import_archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "format/head.h"
#include "interrupt.h"
#include "units.h"

#define IMAGES "checkpoint/"
#define READ_BYTES ((size_t)1 << 16)
#define ENTRIES_MOST 1000000u

/* What else is kept of a container's archive: what it was, for who unpacks an export. */
static const char *const descriptions[] = {"spec.dump", "config.dump", "network.status"};

struct unpacking {
	struct archive *a;
	int to_fd;
	struct progress *progress;
	uint64_t room; /* bytes that may still be written */
	uint64_t unpacked;
	unsigned entries, left_out; /* files, the latter of those of the container */
	char first_left_out[64];
};

static void unpacking_done(struct unpacking *u)
{
	archive_read_free(u->a);
}

static int damaged(const struct unpacking *u, struct frem_error *err)
{
	const char *why = archive_error_string(u->a);

	return frem_fail(err, FREM_DAMAGED, 0, "archive: %s", why ? why : "unreadable");
}

/* ---- names ---- */

/* Is some part of the path ".."? Or is it absolute? Nobody who means well writes these. */
static bool leads_out(const char *path)
{
	if (*path == '/')
		return true;
	while (*path) {
		size_t n = strcspn(path, "/");

		if (n == 2 && path[0] == '.' && path[1] == '.')
			return true;
		path += n + (path[n] == '/');
	}
	return false;
}

static bool is_description(const char *path)
{
	for (size_t i = 0; i < sizeof(descriptions) / sizeof(*descriptions); i++)
		if (!strcmp(path, descriptions[i]))
			return true;
	return false;
}

static bool is_image(const char *name)
{
	size_t n = strlen(name);

	return n > 4 && !strcmp(name + n - 4, ".img");
}

/* The name that the file of this path gets in the image directory; NULL where it is no part of it.
 */
static const char *name_of(const char *path)
{
	while (path[0] == '.' && path[1] == '/')
		path += 2;
	if (!strncmp(path, IMAGES, strlen(IMAGES)))
		path += strlen(IMAGES);
	else if (!is_image(path) && !is_description(path))
		return NULL;
	return *path && !strchr(path, '/') && strcmp(path, ".") != 0 ? path : NULL;
}

/* Logs and statistics are nobody's loss. */
static void leave_out(struct unpacking *u, const char *path)
{
	size_t n = strlen(path);

	if ((n > 4 && !strcmp(path + n - 4, ".log")) || !strncmp(path, "stats-", 6))
		return;
	if (!u->left_out++)
		snprintf(u->first_left_out, sizeof(u->first_left_out), "%s", path);
}

/* ---- files ---- */

static int write_block(struct unpacking *u, int fd, const char *name, const void *data, size_t n,
		       int64_t offset, struct frem_error *err)
{
	int r;

	if (offset < 0 || n > INT64_MAX - (uint64_t)offset)
		return frem_fail(err, FREM_DAMAGED, EFBIG, "archive: '%s'", name);
	r = file_pwrite_all(fd, data, n, (uint64_t)offset);
	if (r < 0)
		return frem_fail(err, FREM_FAILED, -r, "unpacking '%s'", name);
	u->unpacked += n;
	progress_report(u->progress, "unpacking", u->unpacked, 0);
	return interrupt_check(err);
}

static int take_room(struct unpacking *u, const char *name, int64_t size, struct frem_error *err)
{
	int r;

	if (size < 0)
		return frem_fail(err, FREM_DAMAGED, 0, "archive: '%s' has no size", name);
	if ((uint64_t)size > u->room) {
		r = frem_fail(err, FREM_FAILED, ENOSPC,
			      "unpacking '%s' of %" PRId64 " bytes, with room for %" PRIu64, name,
			      size, u->room);
		return frem_hint(err, r, "set FREM_RUN_DIR to a directory with more room");
	}
	u->room -= (uint64_t)size;
	return 0;
}

/* Its data may come in pieces with holes between them, but never reaches beyond its size. */
static int unpack_file(struct unpacking *u, const char *name, int64_t size, struct frem_error *err)
{
	_cleanup_close_ int fd = -1;
	int r = take_room(u, name, size, err);

	if (r < 0)
		return r;
	fd = openat(u->to_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 && errno == EEXIST)
		return frem_fail(err, FREM_DAMAGED, 0, "archive: '%s' is there twice", name);
	if (fd < 0 || ftruncate(fd, size) < 0)
		return frem_fail(err, FREM_FAILED, errno, "unpacking '%s'", name);
	for (;;) {
		const void *data;
		la_int64_t offset;
		size_t n;

		r = archive_read_data_block(u->a, &data, &n, &offset);
		if (r == ARCHIVE_EOF)
			return 0;
		if (r != ARCHIVE_OK)
			return damaged(u, err);
		if (offset < 0 || offset > size || n > (uint64_t)(size - offset))
			return frem_fail(err, FREM_DAMAGED, 0, "archive: '%s' is larger than told",
					 name);
		r = write_block(u, fd, name, data, n, offset, err);
		if (r < 0)
			return r;
	}
}

static int refuse_link(const char *name, struct frem_error *err)
{
	int r = frem_fail(err, FREM_DAMAGED, 0, "archive: '%s' is not a regular file", name);

	if (strcmp(name, "parent") != 0)
		return r;
	return frem_hint(err, r,
			 "it builds on an earlier checkpoint: unpack both side by side, and import "
			 "the directory");
}

static int take_entry(struct unpacking *u, struct archive_entry *e, struct frem_error *err)
{
	const char *path = archive_entry_pathname(e), *name;
	bool regular = archive_entry_filetype(e) == AE_IFREG && !archive_entry_hardlink(e);

	if (!path || !*path || leads_out(path))
		return frem_fail(err, FREM_DAMAGED, 0, "archive: a file with the path '%s'",
				 path ? path : "");
	if (++u->entries > ENTRIES_MOST)
		return frem_fail(err, FREM_DAMAGED, 0, "archive: over %u files", ENTRIES_MOST);
	name = name_of(path);
	if (!name) {
		if (regular)
			leave_out(u, path);
		return 0;
	}
	if (!regular && archive_entry_filetype(e) == AE_IFDIR && !archive_entry_hardlink(e))
		return 0; /* nothing in it is part of the image */
	if (!regular)
		return refuse_link(name, err);
	if (strlen(name) > HEAD_NAME_MAX)
		return frem_fail(err, FREM_DAMAGED, ENAMETOOLONG, "archive: '%s'", name);
	return unpack_file(u, name, archive_entry_size(e), err);
}

/* ---- the archive ---- */

static int open_archive(struct unpacking *u, int fd, struct frem_error *err)
{
	u->a = archive_read_new();
	if (!u->a)
		return frem_oom(err);
	if (archive_read_support_format_tar(u->a) != ARCHIVE_OK ||
	    archive_read_support_filter_gzip(u->a) != ARCHIVE_OK ||
	    archive_read_support_filter_zstd(u->a) != ARCHIVE_OK)
		return frem_fail(err, FREM_UNABLE, 0, "libarchive lacks tar, gzip or zstd");
	return archive_read_open_fd(u->a, fd, READ_BYTES) == ARCHIVE_OK ? 0 : damaged(u, err);
}

static int find_room(struct unpacking *u, struct frem_error *err)
{
	struct statvfs fs;

	if (fstatvfs(u->to_fd, &fs) < 0)
		return frem_fail(err, FREM_FAILED, errno, "asking for the room on the disk");
	/* some is left to others */
	u->room = (uint64_t)fs.f_bavail * fs.f_frsize / 20 * 19;
	return 0;
}

int import_archive(int fd, int to_fd, struct progress *progress, struct frem_error *err)
{
	_cleanup_(unpacking_done) struct unpacking u = {.to_fd = to_fd, .progress = progress};
	int r = find_room(&u, err);

	if (r == 0)
		r = open_archive(&u, fd, err);
	while (r == 0) {
		struct archive_entry *e;

		r = archive_read_next_header(u.a, &e);
		if (r == ARCHIVE_EOF)
			break;
		/* a warning is of what does not matter here, such as a name's character set */
		r = r == ARCHIVE_OK || r == ARCHIVE_WARN ? take_entry(&u, e, err)
							 : damaged(&u, err);
	}
	if (r < 0)
		return r;
	if (u.left_out)
		log_notice(
			"the image alone is imported: what else is in the archive (%u in number, "
			"such as '%s') stays there",
			u.left_out, u.first_left_out);
	return 0;
}

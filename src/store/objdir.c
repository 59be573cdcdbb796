/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "store/objdir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>

#include "objdir_impl.h"
#include "store_impl.h"
#include "base/file.h"
#include "base/log.h"

#define TMP_PREFIX ".tmp-"
#define TMP_NAME_SIZE (sizeof(TMP_PREFIX) + 16)
/* Written pages are sent to the disk this far apart, so that the sync at the end is short. */
#define WRITEBACK_STEP (UINT64_C(8) << 20)

struct objdir_upload {
	const struct objdir *dir;
	char *key;
	char tmp[TMP_NAME_SIZE];
	int fd;
	bool if_absent;
	bool committed;
	uint64_t written;
	uint64_t written_back;
};

/* ---- keys ---- */

/* Length of the valid UTF-8 sequence at p (RFC 3629), 0 if there is none. */
static size_t utf8_len(const unsigned char *p)
{
	size_t n = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;

	if (n == 0 || p[0] > 0xf4)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
	    (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return n;
}

static bool component_ok(const char *p, size_t n)
{
	if (n == 0 || n > 255 || p[0] == '.')
		return false;
	for (size_t i = 0, step; i < n; i += step) {
		unsigned char c = (unsigned char)p[i];

		if (c < 0x20 || c == 0x7f)
			return false;
		step = utf8_len((const unsigned char *)p + i);
		if (step == 0)
			return false;
	}
	return true;
}

bool objdir_name_ok(const char *name)
{
	return component_ok(name, strlen(name));
}

static bool key_ok(const char *key)
{
	unsigned depth = 0;

	if (strlen(key) > OBJDIR_KEY_MAX)
		return false;
	for (;;) {
		size_t n = strcspn(key, "/");

		if (!component_ok(key, n) || ++depth > OBJDIR_DEPTH_MAX)
			return false;
		if (key[n] == '\0')
			return true;
		key += n + 1;
	}
}

int objdir_check_key(const char *key, struct frem_error *err)
{
	if (!key_ok(key))
		return store_fail(err, FREM_USAGE, EINVAL, "not a valid key");
	return 0;
}

/* ---- the directory ---- */

int objdir_open(const char *root, struct objdir **ret, struct frem_error *err)
{
	struct objdir *d;
	int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0) {
		int r = frem_fail(err, FREM_STORE, errno, "opening the directory");

		return r == -ENOENT ? frem_hint(err, r, "make it first: mkdir '%s'", root) : r;
	}
	d = calloc(1, sizeof(*d));
	if (!d) {
		close(fd);
		return frem_oom(err);
	}
	d->root_fd = fd;
	*ret = d;
	return 0;
}

void objdir_free(struct objdir *d)
{
	if (!d)
		return;
	close(d->root_fd);
	free(d);
}

int objdir_open_subdir(int dirfd, const char *name)
{
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd >= 0)
		return fd;
	if (errno != ENOTDIR)
		return -errno;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode))
		return -ELOOP;
	return -ENOTDIR;
}

/* Makes and opens one directory level; the level above is synced so that the new one lasts. */
static int make_subdir(int dirfd, const char *name)
{
	if (mkdirat(dirfd, name, 0777) < 0) {
		if (errno != EEXIST)
			return -errno;
	} else if (fsync(dirfd) < 0) {
		return -errno;
	}
	return objdir_open_subdir(dirfd, name);
}

/* Opens the directory in which a valid key's file is; *ret_leaf points into key. */
static int open_parent(const struct objdir *d, const char *key, bool create, int *ret_fd,
		       const char **ret_leaf)
{
	_cleanup_close_ int fd = fcntl(d->root_fd, F_DUPFD_CLOEXEC, 3);
	char name[256];

	if (fd < 0)
		return -errno;
	for (;;) {
		size_t n = strcspn(key, "/");
		int sub;

		if (key[n] == '\0')
			break;
		memcpy(name, key, n);
		name[n] = '\0';
		sub = create ? make_subdir(fd, name) : objdir_open_subdir(fd, name);
		if (sub < 0)
			return sub;
		close(fd);
		fd = sub;
		key += n + 1;
	}
	*ret_fd = take_fd(&fd);
	*ret_leaf = key;
	return 0;
}

/* Says why a key could not be reached. */
static int key_error(int r, struct frem_error *err)
{
	if (r == -ELOOP)
		return store_fail(err, FREM_USAGE, EINVAL, "leads through a symbolic link");
	if (r == -ENOENT || r == -ENOTDIR)
		return store_fail_missing(err);
	return frem_fail(err, FREM_STORE, -r, "opening the file");
}

int objdir_get(const struct objdir *d, const char *key, int *ret_fd, struct stat *ret_st,
	       struct frem_error *err)
{
	_cleanup_close_ int parent = -1, fd = -1;
	const char *leaf = "";
	int r = objdir_check_key(key, err);

	if (r < 0)
		return r;
	r = open_parent(d, key, false, &parent, &leaf);
	if (r < 0)
		return key_error(r, err);
	/* O_NONBLOCK: a FIFO somebody put there must not hold us up */
	fd = openat(parent, leaf, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return key_error(errno == ENXIO ? -ENOENT : -errno, err);
	if (fstat(fd, ret_st) < 0)
		return frem_fail(err, FREM_STORE, errno, "looking at the file");
	if (!S_ISREG(ret_st->st_mode))
		return store_fail_missing(err);
	*ret_fd = take_fd(&fd);
	return 0;
}

/* Removes the directories above a key as far as they are empty. */
static void remove_empty_parents(const struct objdir *d, const char *key)
{
	char dir[OBJDIR_KEY_MAX + 1];
	char *slash;

	memcpy(dir, key, strlen(key) + 1);
	while ((slash = strrchr(dir, '/'))) {
		const char *leaf = "";
		int fd = -1, r;

		*slash = '\0';
		if (open_parent(d, dir, false, &fd, &leaf) < 0)
			return;
		r = unlinkat(fd, leaf, AT_REMOVEDIR);
		close(fd);
		if (r < 0)
			return;
	}
}

int objdir_remove(const struct objdir *d, const char *key, struct frem_error *err)
{
	_cleanup_close_ int parent = -1;
	const char *leaf = "";
	struct stat st;
	int r = objdir_check_key(key, err);

	if (r < 0)
		return r;
	r = open_parent(d, key, false, &parent, &leaf);
	if (r < 0)
		return key_error(r, err);
	if (fstatat(parent, leaf, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return key_error(-errno, err);
	if (S_ISLNK(st.st_mode))
		return key_error(-ELOOP, err);
	if (!S_ISREG(st.st_mode))
		return store_fail_missing(err);
	if (unlinkat(parent, leaf, 0) < 0)
		return errno == ENOENT ? store_fail_missing(err)
				       : frem_fail(err, FREM_STORE, errno, "removing the file");
	if (fsync(parent) < 0)
		return frem_fail(err, FREM_STORE, errno, "syncing the directory");
	remove_empty_parents(d, key);
	return 0;
}

/* ---- uploads ---- */

static bool key_taken(const struct objdir *d, const char *key)
{
	_cleanup_close_ int parent = -1;
	const char *leaf = "";
	struct stat st;

	return open_parent(d, key, false, &parent, &leaf) == 0 &&
	       fstatat(parent, leaf, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static int fail_taken(struct frem_error *err)
{
	return store_fail(err, FREM_STORE, EEXIST, "there is such an object already");
}

/* Makes and locks the temporary file. A sweeper may win the race for the lock: then once more. */
static int make_tmp(struct objdir_upload *u)
{
	struct stat st;
	uint64_t id;

	for (unsigned i = 0; i < 100; i++) {
		if (getrandom(&id, sizeof(id), 0) != (ssize_t)sizeof(id))
			return -errno;
		snprintf(u->tmp, sizeof(u->tmp), TMP_PREFIX "%016llx", (unsigned long long)id);
		u->fd = openat(u->dir->root_fd, u->tmp,
			       O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
		if (u->fd < 0 && errno == EEXIST)
			continue;
		if (u->fd < 0)
			return -errno;
		if (flock(u->fd, LOCK_EX | LOCK_NB) == 0 && fstat(u->fd, &st) == 0 && st.st_nlink)
			return 0;
		unlinkat(u->dir->root_fd, u->tmp, 0);
		close(take_fd(&u->fd));
	}
	return -EAGAIN;
}

int objdir_upload_new(const struct objdir *d, const char *key, bool if_absent, uint64_t size,
		      struct objdir_upload **ret, struct frem_error *err)
{
	_cleanup_objdir_upload_ struct objdir_upload *u = NULL;
	int r = objdir_check_key(key, err);

	if (r < 0)
		return r;
	if (if_absent && key_taken(d, key))
		return fail_taken(err);
	if (size != STORE_WHOLE && size > INT64_MAX)
		return frem_fail(err, FREM_STORE, EFBIG, "reserving space");
	u = calloc(1, sizeof(*u));
	if (!u)
		return frem_oom(err);
	u->fd = -1;
	u->dir = d;
	u->if_absent = if_absent;
	u->key = strdup(key);
	if (!u->key)
		return frem_oom(err);
	r = make_tmp(u);
	if (r < 0)
		return frem_fail(err, FREM_STORE, -r, "making a temporary file");
	/* a full disk is better known now; file systems that cannot reserve are left to find out */
	if (size && size != STORE_WHOLE && fallocate(u->fd, 0, 0, (off_t)size) < 0 &&
	    errno != EOPNOTSUPP && errno != ENOSYS && errno != EINTR)
		return frem_fail(err, FREM_STORE, errno, "reserving space");
	*ret = TAKE_PTR(u);
	return 0;
}

int objdir_upload_write(struct objdir_upload *u, const void *data, size_t n, struct frem_error *err)
{
	int r = file_write_all(u->fd, data, n);

	if (r < 0)
		return frem_fail(err, FREM_STORE, -r, "writing the file");
	u->written += n;
	if (u->written - u->written_back >= WRITEBACK_STEP) {
		/* only a start of what fsync() completes, so its result does not matter */
		sync_file_range(u->fd, (off_t)u->written_back,
				(off_t)(u->written - u->written_back), SYNC_FILE_RANGE_WRITE);
		u->written_back = u->written;
	}
	return 0;
}

/* Gives the temporary file its name in the directory parent. */
static int give_name(const struct objdir_upload *u, int parent, const char *leaf)
{
	int root = u->dir->root_fd;

	if (!u->if_absent)
		return renameat(root, u->tmp, parent, leaf) < 0 ? -errno : 0;
	if (renameat2(root, u->tmp, parent, leaf, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	/* the file system cannot do that; a link never replaces anything either */
	if (linkat(root, u->tmp, parent, leaf, 0) < 0)
		return -errno;
	unlinkat(root, u->tmp, 0);
	return 0;
}

static int place(struct objdir_upload *u, int *ret_parent, const char **ret_leaf)
{
	int parent = -1, r = -ENOENT;
	const char *leaf = "";

	/* a removal may take the directory away between its making and its use */
	for (unsigned i = 0; i < 16 && r == -ENOENT; i++) {
		r = open_parent(u->dir, u->key, true, &parent, &leaf);
		if (r < 0)
			continue;
		r = give_name(u, parent, leaf);
		if (r < 0)
			close(parent);
	}
	if (r < 0)
		return r;
	u->committed = true;
	*ret_parent = parent;
	*ret_leaf = leaf;
	return 0;
}

int objdir_upload_commit(struct objdir_upload *u, struct stat *ret_st, struct frem_error *err)
{
	_cleanup_close_ int parent = -1;
	const char *leaf = "";
	struct stat st;
	int r;

	if (fsync(u->fd) < 0 || fstat(u->fd, &st) < 0)
		return frem_fail(err, FREM_STORE, errno, "syncing the file");
	r = place(u, &parent, &leaf);
	if (r < 0)
		remove_empty_parents(u->dir, u->key);
	if (r == -EEXIST)
		return fail_taken(err);
	if (r == -ELOOP)
		return key_error(r, err);
	if (r < 0)
		return frem_fail(err, FREM_STORE, -r, "naming the file");
	if (fsync(parent) < 0) {
		r = frem_fail(err, FREM_STORE, errno, "syncing the directory");
		unlinkat(parent, leaf, 0);
		return r;
	}
	if (ret_st)
		*ret_st = st;
	return 0;
}

void objdir_upload_free(struct objdir_upload *u)
{
	if (!u)
		return;
	if (u->fd >= 0) {
		if (!u->committed)
			unlinkat(u->dir->root_fd, u->tmp, 0);
		close(u->fd);
	}
	free(u->key);
	free(u);
}

static void sweep_one(const struct objdir *d, const char *name)
{
	_cleanup_close_ int fd =
		openat(d->root_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
		return;
	if (unlinkat(d->root_fd, name, 0) == 0)
		log_info("removed the left-over of an upload, '%s'", name);
}

void objdir_sweep(const struct objdir *d)
{
	_cleanup_closedir_ DIR *dir = NULL;
	int fd = openat(d->root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *e;

	if (fd < 0)
		return;
	dir = fdopendir(fd);
	if (!dir) {
		close(fd);
		return;
	}
	while ((e = readdir(dir)))
		if (strncmp(e->d_name, TMP_PREFIX, strlen(TMP_PREFIX)) == 0)
			sweep_one(d, e->d_name);
}

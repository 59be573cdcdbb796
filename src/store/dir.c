/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dir.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

#define COPY_SIZE (size_t)(1 << 20)

static void dir_free(struct store *s)
{
	struct dir_store *d = (struct dir_store *)s;

	objdir_free(d->objdir);
	free(d);
}

static int dir_get(struct store *s, const char *key, uint64_t offset, uint64_t len, uint64_t most,
		   struct buffer *out, struct frem_error *err)
{
	struct dir_store *d = (struct dir_store *)s;
	_cleanup_close_ int fd = -1;
	struct stat st;
	uint64_t left;
	int r = objdir_get(d->objdir, key, &fd, &st, err);

	if (r < 0)
		return r;
	if (offset >= (uint64_t)st.st_size)
		return 0;
	left = (uint64_t)st.st_size - offset;
	if (len < left)
		left = len;
	if (left > most)
		return store_fail_big(err, most);
	if (buffer_reserve(out, left) < 0)
		return frem_oom(err);
	r = file_pread_all(fd, out->data + out->len, left, offset);
	if (r < 0)
		return frem_fail(err, FREM_STORE, -r, "reading the file");
	out->len += left;
	return 0;
}

static int dir_put(struct store *s, const char *key, const struct store_source *source,
		   bool if_absent, struct frem_error *err)
{
	struct dir_store *d = (struct dir_store *)s;
	_cleanup_objdir_upload_ struct objdir_upload *u = NULL;
	_cleanup_free_ void *data = malloc(COPY_SIZE);
	int r;

	if (!data)
		return frem_oom(err);
	if (!d->swept)
		objdir_sweep(d->objdir);
	d->swept = true;
	r = objdir_upload_new(d->objdir, key, if_absent, source->size, &u, err);
	while (r == 0) {
		ssize_t got = source->read(source->arg, data, COPY_SIZE, err);

		if (got <= 0) {
			r = (int)got;
			break;
		}
		r = objdir_upload_write(u, data, (size_t)got, err);
	}
	return r < 0 ? r : objdir_upload_commit(u, NULL, err);
}

static int dir_list(struct store *s, const char *prefix, struct store_list *out,
		    struct frem_error *err)
{
	struct dir_store *d = (struct dir_store *)s;
	_cleanup_store_list_ struct store_list *l = NULL;
	bool more = false;
	int r = objdir_list(d->objdir, prefix, "", STORE_LIST_MAX, &l, &more, err);

	if (r < 0)
		return r;
	if (more)
		return frem_fail(err, FREM_STORE, E2BIG, "more than %d objects", STORE_LIST_MAX);
	*out = *l;
	*l = (struct store_list){0};
	return 0;
}

static int dir_remove(struct store *s, const char *key, struct frem_error *err)
{
	return objdir_remove(((struct dir_store *)s)->objdir, key, err);
}

static int dir_open_file(struct store *s, const char *key, int *ret_fd, uint64_t *ret_size,
			 uint32_t *ret_source, struct frem_error *err)
{
	struct stat st;
	int r = objdir_get(((struct dir_store *)s)->objdir, key, ret_fd, &st, err);

	if (r < 0)
		return r;
	*ret_size = (uint64_t)st.st_size;
	*ret_source = 1;
	return 0;
}

static const struct store_ops dir_ops = {
	.free = dir_free,
	.get = dir_get,
	.put = dir_put,
	.list = dir_list,
	.remove = dir_remove,
	.open_file = dir_open_file,
	.fetcher_new = dir_fetcher_new,
};

int store_dir_open(const char *path, struct store **ret, struct frem_error *err)
{
	struct dir_store *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return frem_oom(err);
	store_init(&d->store, &dir_ops);
	d->store.url = strdup(path);
	r = d->store.url ? objdir_open(path, &d->objdir, err) : frem_oom(err);
	if (r < 0) {
		frem_context(err, r, "store '%s'", path);
		store_free(&d->store);
		return r;
	}
	*ret = &d->store;
	return 0;
}

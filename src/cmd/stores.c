/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "stores.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/cleanup.h"

#define BLANKS " \t\n"
#define FILE_SCHEME "file://"

static int append(struct buffer *b, const char *text, size_t n, struct frem_error *err)
{
	return buffer_append(b, text, n) < 0 ? frem_oom(err) : 0;
}

/* A path with blanks cannot stand in a list: it becomes a URL. */
static int append_encoded(struct buffer *b, const char *path, struct frem_error *err)
{
	int r = append(b, FILE_SCHEME, strlen(FILE_SCHEME), err);

	for (; *path && r == 0; path++) {
		char code[4];

		if (*path != '%' && !strchr(BLANKS, *path)) {
			r = append(b, path, 1, err);
			continue;
		}
		snprintf(code, sizeof(code), "%%%02X", (unsigned char)*path);
		r = append(b, code, 3, err);
	}
	return r;
}

static int append_path(struct buffer *b, const char *path, struct frem_error *err)
{
	_cleanup_free_ char *cwd = NULL, *full = NULL;

	if (*path != '/') {
		cwd = get_current_dir_name();
		if (!cwd)
			return frem_fail(err, FREM_FAILED, errno, "finding the working directory");
		if (asprintf(&full, "%s/%s", cwd, path) < 0) {
			full = NULL;
			return frem_oom(err);
		}
		path = full;
	}
	if (strpbrk(path, BLANKS))
		return append_encoded(b, path, err);
	return append(b, path, strlen(path), err);
}

static int append_store(struct buffer *b, const char *store, struct frem_error *err)
{
	int r = b->len ? append(b, " ", 1, err) : 0;

	if (r < 0)
		return r;
	if (!strstr(store, "://"))
		return append_path(b, store, err);
	if (strpbrk(store, BLANKS))
		return frem_fail(err, FREM_USAGE, 0, "store '%s': a URL has no blanks", store);
	return append(b, store, strlen(store), err);
}

static int append_list(struct buffer *b, const char *env, struct frem_error *err)
{
	_cleanup_free_ char *list = strdup(env);
	char *rest = NULL;
	int r = list ? 0 : frem_oom(err);

	if (r < 0)
		return r;
	for (char *s = strtok_r(list, BLANKS, &rest); s && r == 0;
	     s = strtok_r(NULL, BLANKS, &rest))
		r = append_store(b, s, err);
	return r;
}

int stores_text(const struct globals *g, const char *env, char **ret, struct frem_error *err)
{
	_cleanup_buffer_ struct buffer b = {0};
	int r = 0;

	for (unsigned i = 0; i < g->n_stores && r == 0; i++)
		r = append_store(&b, g->stores[i], err);
	if (r == 0 && !g->n_stores && env)
		r = append_list(&b, env, err);
	if (r < 0 || b.len == 0)
		return r;
	r = append(&b, "", 1, err);
	if (r == 0) {
		*ret = (char *)b.data;
		b = (struct buffer){0};
	}
	return r;
}

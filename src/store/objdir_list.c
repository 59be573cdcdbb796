/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "objdir_impl.h"
#include "store_impl.h"

struct walk {
	const char *prefix;
	const char *after;
	size_t most;
	struct store_list *list;
	size_t cap;
	bool more;
	char path[OBJDIR_KEY_MAX + 2]; /* of what is being looked at; directories end in '/' */
};

struct names {
	char **name; /* directories end in '/', which sorts them as their keys sort */
	size_t n, cap;
};

static void names_done(struct names *v)
{
	for (size_t i = 0; i < v->n; i++)
		free(v->name[i]);
	free(v->name);
}

static int names_add(struct names *v, const char *name, bool is_dir)
{
	char *copy;

	if (v->n == v->cap) {
		size_t cap = v->cap ? v->cap * 2 : 32;
		char **grown = reallocarray(v->name, cap, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		v->name = grown;
		v->cap = cap;
	}
	if (asprintf(&copy, "%s%s", name, is_dir ? "/" : "") < 0)
		return -ENOMEM;
	v->name[v->n++] = copy;
	return 0;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* DT_DIR, DT_REG, or anything else for what is no part of a store. */
static unsigned char entry_type(int fd, const struct dirent *e)
{
	struct stat st;

	if (e->d_type != DT_UNKNOWN)
		return e->d_type;
	if (fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return DT_UNKNOWN;
	return (unsigned char)IFTODT(st.st_mode);
}

static int read_names(int fd, struct names *out)
{
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *e;
	int r = 0;

	if (!dir) {
		r = -errno;
		if (copy >= 0)
			close(copy);
		return r;
	}
	for (errno = 0; r == 0 && (e = readdir(dir)); errno = 0) {
		unsigned char type;

		if (!objdir_name_ok(e->d_name))
			continue;
		type = entry_type(fd, e);
		if (type == DT_DIR || type == DT_REG)
			r = names_add(out, e->d_name, type == DT_DIR);
	}
	if (r == 0 && errno)
		r = -errno;
	if (out->n)
		qsort(out->name, out->n, sizeof(*out->name), compare_names);
	return r;
}

static bool starts_with(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

/* Can there be wanted keys below w->path? */
static bool dir_wanted(const struct walk *w)
{
	if (!starts_with(w->path, w->prefix) && !starts_with(w->prefix, w->path))
		return false;
	return strcmp(w->path, w->after) > 0 || starts_with(w->after, w->path);
}

static int add_file(struct walk *w, int fd, const char *name)
{
	struct stat st;

	if (!starts_with(w->path, w->prefix) || strcmp(w->path, w->after) <= 0)
		return 0;
	if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
		return 0; /* removed meanwhile */
	if (w->list->n == w->most) {
		w->more = true;
		return 0;
	}
	return store_list_add(w->list, &w->cap, w->path, (uint64_t)st.st_size, st.st_mtime);
}

static int walk_dir(struct walk *w, int fd, unsigned depth);

static int walk_subdir(struct walk *w, int fd, const char *name_slash, unsigned depth)
{
	_cleanup_close_ int sub = -1;
	char name[256];
	size_t n = strlen(name_slash) - 1;

	if (depth >= OBJDIR_DEPTH_MAX || !dir_wanted(w))
		return 0;
	memcpy(name, name_slash, n);
	name[n] = '\0';
	sub = objdir_open_subdir(fd, name);
	if (sub < 0) /* gone meanwhile, or no longer a directory */
		return sub == -ENOENT || sub == -ENOTDIR || sub == -ELOOP ? 0 : sub;
	return walk_dir(w, sub, depth + 1);
}

static int walk_dir(struct walk *w, int fd, unsigned depth)
{
	__attribute__((cleanup(names_done))) struct names names = {0};
	size_t len = strlen(w->path);
	int r = read_names(fd, &names);

	for (size_t i = 0; r == 0 && i < names.n && !w->more; i++) {
		size_t n = strlen(names.name[i]);

		if (len + n > OBJDIR_KEY_MAX)
			continue;
		memcpy(w->path + len, names.name[i], n + 1);
		if (names.name[i][n - 1] == '/')
			r = walk_subdir(w, fd, names.name[i], depth);
		else
			r = add_file(w, fd, names.name[i]);
	}
	w->path[len] = '\0';
	return r;
}

int objdir_list(const struct objdir *d, const char *prefix, const char *after, size_t most,
		struct store_list **ret, bool *ret_more, struct frem_error *err)
{
	_cleanup_store_list_ struct store_list *l = calloc(1, sizeof(*l));
	struct walk w = {.prefix = prefix, .after = after, .most = most, .list = l};
	int r;

	if (!l)
		return frem_oom(err);
	r = walk_dir(&w, d->root_fd, 1);
	if (r < 0)
		return frem_fail(err, FREM_STORE, -r, "reading the directory");
	*ret = TAKE_PTR(l);
	*ret_more = w.more;
	return 0;
}

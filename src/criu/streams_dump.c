/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/cleanup.h"
#include "criu/tree.h"
#include "streams.h"
#include "terminals.h"

#define KEYS_MAX 4096u
#define INDEXES_MAX 4096u

/* One look at every descriptor of a frozen tree. */
struct look {
	uint32_t masters[INDEXES_MAX]; /* pseudo-terminals whose master the tree itself holds */
	size_t n_masters;
	struct stream_keys *keys;
};

static bool is_inside(const struct look *l, uint32_t index)
{
	for (size_t i = 0; i < l->n_masters; i++)
		if (l->masters[i] == index)
			return true;
	return false;
}

static int add_key(struct stream_keys *keys, const char *key)
{
	char **more;

	for (size_t i = 0; i < keys->n; i++)
		if (!strcmp(keys->list[i], key))
			return 0;
	if (keys->n == KEYS_MAX)
		return 0; /* CRIU refuses what it is not told about */
	more = realloc(keys->list, (keys->n + 1) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	keys->list = more;
	keys->list[keys->n] = strdup(key);
	if (!keys->list[keys->n])
		return -ENOMEM;
	keys->n++;
	return 0;
}

/* The controlling terminal's device of a process, 0 if it has none. */
static dev_t controlling_terminal(pid_t pid)
{
	long tty = tree_stat_field(pid, 7);

	/* as the kernel packs it (new_encode_dev) */
	return tty <= 0 ? 0
			: makedev((unsigned)(tty >> 8 & 0xfff),
				  (unsigned)((tty & 0xff) | (tty >> 12 & 0xfff00)));
}

static bool is_outside(const struct look *l, pid_t pid, dev_t device)
{
	if (terminal_is_slave(device))
		return !is_inside(l, terminal_index(device));
	if (terminal_is_controlling(device)) {
		dev_t real = controlling_terminal(pid);

		return !terminal_is_slave(real) || !is_inside(l, terminal_index(real));
	}
	return terminal_is_hardware(device);
}

static int look_for_master(struct look *l, pid_t pid, const char *fd, const struct stat *st)
{
	_cleanup_fclose_ FILE *f = NULL;
	char path[64], line[256];

	if (!S_ISCHR(st->st_mode) || !terminal_is_master(st->st_rdev))
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%.16s", pid, fd);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, "tty-index:", 10) && l->n_masters < INDEXES_MAX)
			l->masters[l->n_masters++] = (uint32_t)strtoul(line + 10, NULL, 10);
	return 0;
}

static int look_for_outside(struct look *l, pid_t pid, const char *fd, const struct stat *st)
{
	char key[80];

	if (S_ISCHR(st->st_mode) && is_outside(l, pid, st->st_rdev)) {
		snprintf(key, sizeof(key), "tty[%" PRIx64 ":%" PRIx64 "]", (uint64_t)st->st_rdev,
			 (uint64_t)st->st_dev);
		return add_key(l->keys, key);
	}
	/* a service manager's or an editor's socket; CRIU heeds the key only if the peer is out */
	if (S_ISSOCK(st->st_mode) && strlen(fd) == 1 && fd[0] <= '2') {
		snprintf(key, sizeof(key), "unix[%" PRIu64 "]", (uint64_t)st->st_ino);
		return add_key(l->keys, key);
	}
	return 0;
}

static int look_at_process(struct look *l, pid_t pid,
			   int (*visit)(struct look *l, pid_t pid, const char *fd,
					const struct stat *st))
{
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *entry;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		struct stat st;
		int r;

		if (entry->d_name[0] == '.' || fstatat(dirfd(dir), entry->d_name, &st, 0) < 0)
			continue;
		r = visit(l, pid, entry->d_name, &st);
		if (r < 0)
			return r;
	}
	return 0;
}

int streams_find_external(pid_t root, struct stream_keys *ret, struct frem_error *err)
{
	_cleanup_free_ struct look *l = calloc(1, sizeof(*l));
	_cleanup_tree_ struct tree t = {0};
	int r;

	if (!l)
		return frem_oom(err);
	r = tree_read(root, &t, err);
	if (r < 0)
		return r;
	l->keys = ret;
	for (size_t i = 0; r == 0 && i < t.n; i++)
		r = look_at_process(l, t.pids[i], look_for_master);
	for (size_t i = 0; r == 0 && i < t.n; i++)
		r = look_at_process(l, t.pids[i], look_for_outside);
	return r < 0 ? frem_oom(err) : 0;
}

void stream_keys_done(struct stream_keys *keys)
{
	for (size_t i = 0; i < keys->n; i++)
		free(keys->list[i]);
	free(keys->list);
	*keys = (struct stream_keys){0};
}

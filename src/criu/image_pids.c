/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "criu/image_files.h"
#include "criu/tree.h"
#include "image_file.h"
#include "images.pb-c.h"
#include "namespaces.h"
#include "pids.h"

#define IDS_MAX (1u << 22) /* PID_MAX_LIMIT of the kernel */
#define NEAR 512	   /* more processes than a restore starts */

/* What is wanted of pstree.img: pids, also those of threads, also those of groups and sessions. */
enum wanted {
	PROCESSES,
	THREADS,
	GROUPS,
};

struct ids {
	int32_t *list;
	size_t n, cap;
};

static int add(struct ids *ids, uint32_t id)
{
	if (id == 0 || id > IDS_MAX)
		return 0;
	if (ids->n == ids->cap) {
		size_t cap = ids->cap ? ids->cap * 2 : 64;
		int32_t *more =
			cap > (size_t)2 * IDS_MAX ? NULL : reallocarray(ids->list, cap, sizeof(id));

		if (!more)
			return -ENOMEM;
		ids->list = more;
		ids->cap = cap;
	}
	ids->list[ids->n++] = (int32_t)id;
	return 0;
}

static int add_task(struct ids *ids, const ImagePstree *e, enum wanted wanted)
{
	int r = add(ids, e->pid);

	for (size_t i = 0; r == 0 && wanted >= THREADS && i < e->n_threads; i++)
		if (e->threads[i] != e->pid)
			r = add(ids, e->threads[i]);
	if (r == 0 && wanted == GROUPS)
		r = add(ids, e->pgid);
	if (r == 0 && wanted == GROUPS)
		r = add(ids, e->sid);
	return r;
}

static int read_ids(int dirfd, enum wanted wanted, struct ids *ids, struct frem_error *err)
{
	_cleanup_image_file_ struct image_file f = {0};
	const uint8_t *data;
	size_t n;
	int r = image_file_read(dirfd, "pstree.img", IMAGE_MAGIC_PSTREE, &f, err);

	while (r == 0) {
		ImagePstree *e;

		r = image_file_next(&f, &data, &n, err);
		if (r <= 0)
			break;
		e = image_pstree__unpack(NULL, n, data);
		if (!e)
			return image_file_damaged(&f, err, "an unreadable entry");
		r = add_task(ids, e, wanted);
		image_pstree__free_unpacked(e, NULL);
		if (r < 0)
			return frem_oom(err);
	}
	return r;
}

int image_pids_read(int dirfd, int32_t **ret, size_t *ret_n, struct frem_error *err)
{
	struct ids ids = {0};
	int r = read_ids(dirfd, PROCESSES, &ids, err);

	if (r < 0) {
		free(ids.list);
		return r;
	}
	*ret = ids.list;
	*ret_n = ids.n;
	return 0;
}

/* A job that was dumped together with its pid namespace gets a new one: all pids are free there. */
bool image_pids_bring_namespace(int dirfd, int32_t root)
{
	return image_namespaces_brought(dirfd, root) & IMAGE_NS_PID;
}

int image_pids_free(int dirfd, const struct image_map *map, struct frem_error *err)
{
	struct ids ids = {0};
	int r = read_ids(dirfd, THREADS, &ids, err);

	if (r == 0 && image_pids_bring_namespace(dirfd, map->tasks[0].pid))
		ids.n = 0;
	for (size_t i = 0; r == 0 && i < ids.n; i++) {
		char path[32], comm[17];

		snprintf(path, sizeof(path), "/proc/%" PRId32, ids.list[i]);
		if (access(path, F_OK) < 0)
			continue;
		tree_comm(ids.list[i], comm);
		r = frem_fail(err, FREM_REFUSED, 0, "pid %" PRId32 " is taken by '%s'", ids.list[i],
			      comm);
		frem_hint(err, r,
			  "end that process, or restart in a pid namespace of its own: "
			  "unshare --pid --fork --mount-proc frem restart ...");
	}
	free(ids.list);
	return r;
}

static int by_number(const void *a, const void *b)
{
	int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;

	return x < y ? -1 : x > y;
}

void image_pids_avoid(int dirfd)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/sys/kernel/ns_last_pid", "r+e");
	struct ids ids = {0};
	char line[32];
	long last, next;

	if (!f || !fgets(line, sizeof(line), f) || read_ids(dirfd, GROUPS, &ids, NULL) < 0) {
		free(ids.list);
		return;
	}
	if (ids.n)
		qsort(ids.list, ids.n, sizeof(*ids.list), by_number);
	next = last = strtol(line, NULL, 10);
	for (size_t i = 0; i < ids.n; i++)
		if (ids.list[i] > next && ids.list[i] - next <= NEAR)
			next = ids.list[i];
	if (next != last) {
		rewind(f);
		fprintf(f, "%ld", next);
	}
	free(ids.list);
}

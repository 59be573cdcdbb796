/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "criu/image_map.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "format/frame.h"
#include "image_file.h"
#include "images.pb-c.h"
#include "pagemap.h"

/* States of a task in its core image (compel/include/uapi/task-state.h). */
#define STATE_ALIVE 1u
#define STATE_STOPPED 3u

#define TASKS_MAX 65536u
#define THREADS_MAX (1u << 22) /* PID_MAX_LIMIT of the kernel */

static void *grown(void *array, size_t n, size_t *cap, size_t size)
{
	size_t want = *cap ? *cap * 2 : 64;
	void *more;

	if (n < *cap)
		return array;
	if (want > SIZE_MAX / size)
		return NULL;
	more = realloc(array, want * size);
	if (more)
		*cap = want;
	return more;
}

struct reader {
	int dirfd;
	struct image_map *map;
	size_t cap_tasks, cap_eager, cap_extents;
	uint64_t budget;	 /* pages of any kind that may still come */
	struct image_task *task; /* whose map is read; NULL: that of shared memory, never lazy */
};

static int add_eager(struct reader *rd, uint32_t pages_id, const struct pagemap_entry *e,
		     struct frem_error *err)
{
	struct image_map *m = rd->map;
	struct image_eager *last = m->n_eager ? &m->eager[m->n_eager - 1] : NULL, *more;

	m->eager_pages += e->pages;
	if (last && last->pages_id == pages_id &&
	    last->file_offset + last->pages * PAGE_BYTES == e->offset) {
		last->pages += e->pages;
		return 0;
	}
	more = grown(m->eager, m->n_eager, &rd->cap_eager, sizeof(*more));
	if (!more)
		return frem_oom(err);
	m->eager = more;
	m->eager[m->n_eager++] = (struct image_eager){
		.pages_id = pages_id,
		.file_offset = e->offset,
		.pages = e->pages,
	};
	return 0;
}

static int add_lazy(struct reader *rd, const struct pagemap_entry *e, struct frem_error *err)
{
	struct image_task *t = rd->task;
	struct image_extent *last = t->n_extents ? &t->extents[t->n_extents - 1] : NULL, *more;
	uint64_t first = rd->map->lazy_pages;

	rd->map->lazy_pages += e->pages;
	t->lazy_pages += e->pages;
	if (last && last->address + last->pages * PAGE_BYTES == e->address &&
	    last->file_offset + last->pages * PAGE_BYTES == e->offset) {
		last->pages += e->pages;
		return 0;
	}
	more = grown(t->extents, t->n_extents, &rd->cap_extents, sizeof(*more));
	if (!more)
		return frem_oom(err);
	t->extents = more;
	t->extents[t->n_extents++] = (struct image_extent){
		.address = e->address,
		.pages = e->pages,
		.first = first,
		.file_offset = e->offset,
	};
	return 0;
}

static int take_entry(void *arg, uint32_t pages_id, const struct pagemap_entry *e,
		      struct frem_error *err)
{
	struct reader *rd = arg;

	if (e->flags == PE_PARENT) {
		rd->map->parent_pages += e->pages;
		return 0;
	}
	return rd->task && (e->flags & PE_LAZY) ? add_lazy(rd, e, err)
						: add_eager(rd, pages_id, e, err);
}

/* The map of a task, or, with NULL, of shared memory. */
static int read_pagemap(struct reader *rd, const char *name, struct image_task *t,
			struct frem_error *err)
{
	uint32_t pages_id = 0;
	int r;

	rd->task = t;
	r = pagemap_read(rd->dirfd, name, &rd->budget, &pages_id, take_entry, rd, err);
	if (r == 0 && t)
		t->pages_id = pages_id;
	return r;
}

static int read_core(struct reader *rd, struct image_task *t, struct frem_error *err)
{
	_cleanup_image_file_ struct image_file f = {0};
	ImageCore *core = NULL;
	const uint8_t *data = NULL;
	char name[64];
	size_t n = 0;
	int r;

	snprintf(name, sizeof(name), "core-%" PRId32 ".img", t->pid);
	r = image_file_read(rd->dirfd, name, IMAGE_MAGIC_CORE, &f, err);
	if (r == 0)
		r = image_file_next(&f, &data, &n, err);
	if (r < 0)
		return r;
	core = r ? image_core__unpack(NULL, n, data) : NULL;
	if (!core || !core->tc || !core->tc->has_task_state || !core->tc->comm) {
		if (core)
			image_core__free_unpacked(core, NULL);
		return image_file_damaged(&f, err, "no description of the task");
	}
	snprintf(t->comm, sizeof(t->comm), "%.16s", core->tc->comm);
	t->alive = core->tc->task_state == STATE_ALIVE || core->tc->task_state == STATE_STOPPED;
	image_core__free_unpacked(core, NULL);
	return 0;
}

static int add_task(struct reader *rd, const struct image_file *f, const ImagePstree *e,
		    struct frem_error *err)
{
	struct image_map *m = rd->map;
	struct image_task *more;

	if (!e->has_pid || e->pid == 0 || e->pid > THREADS_MAX || e->ppid > THREADS_MAX ||
	    e->n_threads > THREADS_MAX)
		return image_file_damaged(f, err, "a task with an impossible pid");
	if (m->n_tasks == TASKS_MAX)
		return image_file_damaged(f, err, "too many tasks");
	more = grown(m->tasks, m->n_tasks, &rd->cap_tasks, sizeof(*more));
	if (!more)
		return frem_oom(err);
	m->tasks = more;
	m->tasks[m->n_tasks++] = (struct image_task){
		.pid = (int32_t)e->pid,
		.ppid = (int32_t)e->ppid,
		.threads = (uint32_t)e->n_threads,
	};
	return 0;
}

static int by_pid(const void *a, const void *b)
{
	int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;

	return x < y ? -1 : x > y;
}

static int check_pids(const struct image_map *m, const struct image_file *f, struct frem_error *err)
{
	_cleanup_free_ int32_t *pids = calloc(m->n_tasks, sizeof(*pids));

	if (!pids)
		return frem_oom(err);
	for (size_t i = 0; i < m->n_tasks; i++)
		pids[i] = m->tasks[i].pid;
	qsort(pids, m->n_tasks, sizeof(*pids), by_pid);
	for (size_t i = 1; i < m->n_tasks; i++)
		if (pids[i] == pids[i - 1])
			return image_file_damaged(f, err, "two tasks with one pid");
	return 0;
}

static int read_pstree(struct reader *rd, struct frem_error *err)
{
	_cleanup_image_file_ struct image_file f = {0};
	const uint8_t *data = NULL;
	size_t n;
	int r = image_file_read(rd->dirfd, "pstree.img", IMAGE_MAGIC_PSTREE, &f, err);

	while (r == 0) {
		ImagePstree *e;

		r = image_file_next(&f, &data, &n, err);
		if (r <= 0)
			break;
		e = image_pstree__unpack(NULL, n, data);
		r = e ? add_task(rd, &f, e, err)
		      : image_file_damaged(&f, err, "an unreadable entry");
		if (e)
			image_pstree__free_unpacked(e, NULL);
	}
	if (r < 0)
		return r;
	if (rd->map->n_tasks == 0)
		return image_file_damaged(&f, err, "no task");
	return check_pids(rd->map, &f, err);
}

static int read_tasks(struct reader *rd, struct frem_error *err)
{
	char name[64];

	for (size_t i = 0; i < rd->map->n_tasks; i++) {
		struct image_task *t = &rd->map->tasks[i];
		int r = read_core(rd, t, err);

		if (r < 0)
			return r;
		t->first = rd->map->lazy_pages;
		if (!t->alive)
			continue;
		snprintf(name, sizeof(name), "pagemap-%" PRId32 ".img", t->pid);
		rd->cap_extents = 0;
		r = read_pagemap(rd, name, t, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int visit_shmem(void *arg, const char *name, const char *rest, struct frem_error *err)
{
	(void)rest;
	return read_pagemap(arg, name, NULL, err);
}

static int by_place(const void *a, const void *b)
{
	const struct image_eager *x = a, *y = b;

	if (x->pages_id != y->pages_id)
		return x->pages_id < y->pages_id ? -1 : 1;
	return x->file_offset < y->file_offset ? -1 : x->file_offset > y->file_offset;
}

/* Each pages file belongs to one map: two that share one would overlap at offset 0. */
static int check_places(const struct image_map *m, struct frem_error *err)
{
	_cleanup_free_ int32_t *ids = calloc(m->n_tasks + 1, sizeof(*ids));
	size_t n = 0;

	if (!ids)
		return frem_oom(err);
	for (size_t i = 0; i < m->n_tasks; i++)
		if (m->tasks[i].alive)
			ids[n++] = (int32_t)m->tasks[i].pages_id;
	qsort(ids, n, sizeof(*ids), by_pid);
	for (size_t i = 1; i < n; i++)
		if (ids[i] == ids[i - 1])
			return frem_fail(err, FREM_DAMAGED, 0,
					 "image: two tasks share 'pages-%" PRIu32 ".img'",
					 (uint32_t)ids[i]);
	for (size_t i = 1; i < m->n_eager; i++) {
		const struct image_eager *a = &m->eager[i - 1], *b = a + 1;

		if (a->pages_id == b->pages_id &&
		    a->file_offset + a->pages * PAGE_BYTES > b->file_offset)
			return frem_fail(err, FREM_DAMAGED, 0,
					 "image: two maps share 'pages-%" PRIu32 ".img'",
					 a->pages_id);
	}
	return 0;
}

static int check_inventory(int dirfd, struct frem_error *err)
{
	_cleanup_image_file_ struct image_file f = {0};
	ImageInventory *inventory;
	uint32_t version;
	const uint8_t *data = NULL;
	size_t n = 0;
	int r = image_file_read(dirfd, "inventory.img", IMAGE_MAGIC_INVENTORY, &f, err);

	if (r == 0)
		r = image_file_next(&f, &data, &n, err);
	if (r < 0)
		return r;
	inventory = r ? image_inventory__unpack(NULL, n, data) : NULL;
	if (!inventory)
		return image_file_damaged(&f, err, "no inventory");
	version = inventory->img_version;
	image_inventory__free_unpacked(inventory, NULL);
	if (version != 2) /* CRTOOLS_IMAGES_V1_1: what every CRIU since 1.4 writes */
		return image_file_damaged(&f, err, "an unknown image version");
	return 0;
}

int image_map_read(int dirfd, struct image_map **ret, struct frem_error *err)
{
	_cleanup_image_map_ struct image_map *m = calloc(1, sizeof(*m));
	struct reader rd = {.dirfd = dirfd, .map = m, .budget = FRAME_PAGES_LIMIT};
	int r;

	if (!m)
		return frem_oom(err);
	r = check_inventory(dirfd, err);
	if (r == 0)
		r = read_pstree(&rd, err);
	if (r == 0)
		r = read_tasks(&rd, err);
	if (r == 0)
		r = image_dir_each(dirfd, "pagemap-shmem-", visit_shmem, &rd, err);
	if (r < 0)
		return r;
	if (m->n_eager)
		qsort(m->eager, m->n_eager, sizeof(*m->eager), by_place);
	r = check_places(m, err);
	if (r == 0)
		*ret = TAKE_PTR(m);
	return r;
}

void image_map_free(struct image_map *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->n_tasks; i++)
		free(m->tasks[i].extents);
	free(m->tasks);
	free(m->eager);
	free(m);
}

const struct image_task *image_map_task(const struct image_map *m, int32_t pid)
{
	for (size_t i = 0; i < m->n_tasks; i++)
		if (m->tasks[i].pid == pid)
			return &m->tasks[i];
	return NULL;
}

const struct image_extent *image_task_find(const struct image_task *t, uint64_t address)
{
	size_t low = 0, high = t->n_extents;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct image_extent *x = &t->extents[mid];

		if (address < x->address)
			high = mid;
		else if (address - x->address >= x->pages * PAGE_BYTES)
			low = mid + 1;
		else
			return x;
	}
	return NULL;
}

/* The last of n sorted things that does not start behind number. */
static const struct image_task *task_of(const struct image_map *m, uint64_t number)
{
	size_t low = 0, high = m->n_tasks;

	while (high - low > 1) {
		size_t mid = low + (high - low) / 2;

		if (m->tasks[mid].first <= number)
			low = mid;
		else
			high = mid;
	}
	return &m->tasks[low];
}

void image_map_locate(const struct image_map *m, uint64_t number,
		      const struct image_task **ret_task, const struct image_extent **ret_extent)
{
	const struct image_task *t = task_of(m, number);
	size_t low = 0, high = t->n_extents;

	while (high - low > 1) {
		size_t mid = low + (high - low) / 2;

		if (t->extents[mid].first <= number)
			low = mid;
		else
			high = mid;
	}
	*ret_task = t;
	*ret_extent = &t->extents[low];
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What memory a CRIU image directory holds, and the numbering of its lazy pages.
 *
 * Lazy pages (pagemap entries with PE_LAZY | PE_PRESENT) are numbered from 0: tasks in the order of
 * pstree.img, within a task by address. This lazy page number is their place in the `pages` object
 * and their name in the touch set. All other present pages are eager. Pages of a parent image
 * (PE_PARENT) are never lazy: CRIU takes them from there. Addresses are bytes.
 */
#ifndef FREM_CRIU_IMAGE_MAP_H
#define FREM_CRIU_IMAGE_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/error.h"

/* A run of lazy pages that are contiguous in address, number and file offset. */
struct image_extent {
	uint64_t address;
	uint64_t pages;
	uint64_t first;	      /* lazy page number of the first page */
	uint64_t file_offset; /* in the task's pages file */
};

/* A run of eager pages in a pages file, for whoever copies them. */
struct image_eager {
	uint32_t pages_id;
	uint64_t file_offset;
	uint64_t pages;
};

struct image_task {
	int32_t pid; /* in its own pid namespace: the N of pagemap-N.img */
	int32_t ppid;
	char comm[17];
	uint32_t threads;
	int alive;	   /* 0: a zombie, without memory */
	uint32_t pages_id; /* pages-ID.img holds its pages */
	uint64_t first;	   /* lazy page number of its first page */
	uint64_t lazy_pages;
	struct image_extent *extents; /* by address */
	size_t n_extents;
};

struct image_map {
	struct image_task *tasks; /* the root first */
	size_t n_tasks;
	struct image_eager *eager; /* also of shared memory; by pages_id, then offset */
	size_t n_eager;
	uint64_t lazy_pages;
	uint64_t eager_pages;
	uint64_t parent_pages; /* not in this image but in its parent */
};

/* Reads pstree.img, core-*.img and every pagemap-*.img below dirfd. Error: FREM_DAMAGED, naming the
 * image file. */
int image_map_read(int dirfd, struct image_map **ret, struct frem_error *err);
void image_map_free(struct image_map *m);

/* The task with this pid, or NULL. */
const struct image_task *image_map_task(const struct image_map *m, int32_t pid);
/* The extent of the task that holds address, or NULL. O(log n). */
const struct image_extent *image_task_find(const struct image_task *t, uint64_t address);
/* The task and extent that hold lazy page `number`, which must be below m->lazy_pages. O(log n). */
void image_map_locate(const struct image_map *m, uint64_t number,
		      const struct image_task **ret_task, const struct image_extent **ret_extent);

FREM_CLEANUP(struct image_map *, cleanup_image_map, image_map_free)
#define _cleanup_image_map_ _cleanup_(cleanup_image_map)

#endif

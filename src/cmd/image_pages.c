/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "image_pages.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

struct image_pages {
	const struct image_map *map;
	int *fds; /* pages-N.img of each task, -1 where it has no lazy pages */
};

int image_pages_open(int images_fd, const struct image_map *map, struct image_pages **ret,
		     struct frem_error *err)
{
	_cleanup_image_pages_ struct image_pages *p = calloc(1, sizeof(*p));
	size_t size = (map->n_tasks + 1) * sizeof(*p->fds);

	if (!p)
		return frem_oom(err);
	p->map = map;
	p->fds = malloc(size);
	if (!p->fds)
		return frem_oom(err);
	memset(p->fds, -1, size);
	for (size_t i = 0; i < map->n_tasks; i++) {
		char name[32];

		if (!map->tasks[i].lazy_pages)
			continue;
		snprintf(name, sizeof(name), "pages-%u.img", map->tasks[i].pages_id);
		p->fds[i] = openat(images_fd, name, O_RDONLY | O_CLOEXEC);
		if (p->fds[i] < 0)
			return frem_fail(err, FREM_FAILED, errno, "opening '%s'", name);
	}
	*ret = TAKE_PTR(p);
	return 0;
}

void image_pages_free(struct image_pages *p)
{
	if (!p)
		return;
	for (size_t i = 0; p->fds && i < p->map->n_tasks; i++)
		cleanup_close(&p->fds[i]);
	free(p->fds);
	free(p);
}

/* The pages may lie in several extents and files. */
static int read_pages(void *arg, uint64_t number, uint64_t pages, uint8_t *out,
		      struct frem_error *err)
{
	const struct image_pages *p = arg;

	while (pages) {
		const struct image_extent *x;
		const struct image_task *t;
		uint64_t skip, n;
		int r;

		image_map_locate(p->map, number, &t, &x);
		skip = number - x->first;
		n = x->pages - skip < pages ? x->pages - skip : pages;
		r = file_pread_all(p->fds[t - p->map->tasks], out, n * PAGE_BYTES,
				   x->file_offset + skip * PAGE_BYTES);
		if (r < 0)
			return frem_fail(err, FREM_FAILED, -r, "reading pages-%u.img", t->pages_id);
		out += n * PAGE_BYTES;
		number += n;
		pages -= n;
	}
	return 0;
}

struct page_source image_pages_source(struct image_pages *p)
{
	return (struct page_source){.read = read_pages, .arg = p};
}

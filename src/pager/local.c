/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "local.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/file.h"
#include "format/frame.h"

struct local {
	const struct image_map *map;
	int *fds; /* of each task's pages file; -1 where it has no lazy pages */
};

static int failed(const struct image_task *t, int r, struct frem_error *err)
{
	return frem_fail(err, r == -ENODATA ? FREM_DAMAGED : FREM_FAILED, -r,
			 "image file 'pages-%" PRIu32 ".img'", t->pages_id);
}

static int open_pages(int dirfd, const struct image_task *t, int *ret_fd, struct frem_error *err)
{
	char name[64];
	int fd;

	snprintf(name, sizeof(name), "pages-%" PRIu32 ".img", t->pages_id);
	fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return failed(t, -errno, err);
	*ret_fd = fd;
	return 0;
}

int local_open_images(int dirfd, const struct image_map *map, struct local **ret,
		      struct frem_error *err)
{
	_cleanup_local_ struct local *l = calloc(1, sizeof(*l));
	int r = 0;

	if (!l)
		return frem_oom(err);
	l->map = map;
	l->fds = calloc(map->n_tasks, sizeof(*l->fds));
	if (!l->fds)
		return frem_oom(err);
	for (size_t i = 0; i < map->n_tasks; i++)
		l->fds[i] = -1;
	for (size_t i = 0; i < map->n_tasks && r == 0; i++)
		if (map->tasks[i].lazy_pages)
			r = open_pages(dirfd, &map->tasks[i], &l->fds[i], err);
	if (r == 0)
		*ret = TAKE_PTR(l);
	return r;
}

void local_free(struct local *l)
{
	if (!l)
		return;
	for (size_t i = 0; l->fds && i < l->map->n_tasks; i++)
		cleanup_close(&l->fds[i]);
	free(l->fds);
	free(l);
}

/* A file is the one that it was if it has the same number and has not come into being since. */
static int digest_file(const struct local *l, size_t task, struct digest_stream *s,
		       struct frem_error *err)
{
	struct statx st;
	uint64_t is[5];

	if (l->fds[task] < 0)
		return 0;
	if (statx(l->fds[task], "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &st) < 0)
		return failed(&l->map->tasks[task], -errno, err);
	is[0] = (uint64_t)st.stx_dev_major << 32 | st.stx_dev_minor;
	is[1] = st.stx_ino;
	is[2] = st.stx_mask & STATX_BTIME ? (uint64_t)st.stx_btime.tv_sec : 0;
	is[3] = st.stx_mask & STATX_BTIME ? st.stx_btime.tv_nsec : 0;
	is[4] = l->map->tasks[task].n_extents;
	digest_update(s, is, sizeof(is));
	return 0;
}

int local_digest(const struct local *l, uint8_t ret[DIGEST_SIZE], struct frem_error *err)
{
	struct digest_stream s;
	int r = 0;

	digest_start(&s);
	for (size_t i = 0; i < l->map->n_tasks && r == 0; i++) {
		const struct image_task *t = &l->map->tasks[i];

		digest_update(&s, &t->pid, sizeof(t->pid));
		r = digest_file(l, i, &s, err);
		digest_update(&s, t->extents, t->n_extents * sizeof(*t->extents));
	}
	if (r == 0)
		digest_finish(&s, ret);
	return r;
}

/* Reads what lies in one piece in the file from page `number` on, up to `most` pages. */
static int read_piece(const struct local *l, uint64_t number, uint64_t most, uint8_t *raw,
		      uint64_t *ret_pages, struct frem_error *err)
{
	const struct image_task *t;
	const struct image_extent *x, *end;
	uint64_t pages, offset;
	int r;

	image_map_locate(l->map, number, &t, &x);
	end = t->extents + t->n_extents;
	pages = x->first + x->pages - number;
	offset = x->file_offset + (number - x->first) * PAGE_BYTES;
	for (; pages < most && x + 1 < end; x++) {
		if (x[1].file_offset != x->file_offset + x->pages * PAGE_BYTES)
			break;
		pages += x[1].pages;
	}
	if (pages > most)
		pages = most;
	r = file_pread_all(l->fds[t - l->map->tasks], raw, (size_t)pages * PAGE_BYTES, offset);
	if (r < 0)
		return failed(t, r, err);
	*ret_pages = pages;
	return 0;
}

int local_read(const struct local *l, size_t frame, uint8_t *raw, uint32_t *ret_zero,
	       struct frem_error *err)
{
	uint64_t at = (uint64_t)frame * FRAME_PAGES, end = at + FRAME_PAGES, pages = 0;

	if (end > l->map->lazy_pages)
		end = l->map->lazy_pages;
	for (; at < end; at += pages, raw += pages * PAGE_BYTES) {
		int r = read_piece(l, at, end - at, raw, &pages, err);

		if (r < 0)
			return r;
	}
	*ret_zero = 0;
	return 0;
}

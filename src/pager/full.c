/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PAGER_FULL: all lazy pages go into the image directory, as if CRIU had written them there. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/file.h"
#include "engine_impl.h"

bool full_wanted(const struct engine *e, size_t frame)
{
	return !(e->written[frame / 64] >> frame % 64 & 1);
}

bool full_complete(const struct engine *e)
{
	return e->stats->pages_in == e->loaded.index->pages;
}

static int write_failed(struct frem_error *err, int r, uint32_t id)
{
	r = frem_fail(err, FREM_FAILED, -r, "writing pages-%" PRIu32 ".img", id);
	if (r == -ENOSPC)
		frem_hint(err, r,
			  "--resume full needs room for the whole image: "
			  "FREM_RUN_DIR names another place for run directories");
	return r;
}

/* A run of pages that are contiguous in the file too. */
static int write_run(struct engine *e, const struct image_task *t, const struct image_extent *x,
		     uint64_t number, unsigned pages, const uint8_t *raw, struct frem_error *err)
{
	_cleanup_close_ int fd = -1;
	char name[64];
	int r;

	snprintf(name, sizeof(name), "pages-%" PRIu32 ".img", t->pages_id);
	fd = openat(e->o->images_fd, name, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return write_failed(err, -errno, t->pages_id);
	r = file_pwrite_all(fd, raw, (size_t)pages * PAGE_BYTES,
			    x->file_offset + (number - x->first) * PAGE_BYTES);
	return r < 0 ? write_failed(err, r, t->pages_id) : 0;
}

static int write_pages(struct engine *e, const struct batch *b, struct frem_error *err)
{
	int r = 0;

	for (unsigned i = 0; i < b->n && r == 0;) {
		const struct image_task *t;
		const struct image_extent *x;
		unsigned n = 1;

		if (b->zero >> i & 1) { /* the sparse file has zeros there */
			i++;
			continue;
		}
		image_map_locate(e->loaded.map, b->number[i], &t, &x);
		while (i + n < b->n && !(b->zero >> (i + n) & 1) &&
		       b->number[i + n] < x->first + x->pages)
			n++;
		r = write_run(e, t, x, b->number[i], n, b->raw + (size_t)i * PAGE_BYTES, err);
		i += n;
	}
	return r;
}

int full_put(struct engine *e, size_t frame, const struct batch *b, struct frem_error *err)
{
	int r;

	if (!b->by_worker)
		engine_unlock(e);
	r = write_pages(e, b, err);
	engine_lock(e);
	if (r == 0 && full_wanted(e, frame)) {
		e->written[frame / 64] |= UINT64_C(1) << frame % 64;
		e->stats->pages_in += b->n;
	}
	if (b->by_worker)
		engine_unlock(e);
	return r;
}

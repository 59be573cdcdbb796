/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "record_file.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/file.h"

struct record_file {
	int fd;
	uint64_t pages;
	uint64_t *here, *touched; /* a bit a page */
	uint64_t touches;
};

static bool bit(const uint64_t *map, uint64_t page)
{
	return map[page / 64] >> page % 64 & 1;
}

static void set_bit(uint64_t *map, uint64_t page)
{
	map[page / 64] |= UINT64_C(1) << page % 64;
}

int record_file_new(int fd, uint64_t pages, struct record_file **ret, struct frem_error *err)
{
	_cleanup_record_file_ struct record_file *f = calloc(1, sizeof(*f));

	if (!f)
		return frem_oom(err);
	f->fd = fd;
	f->pages = pages;
	f->here = calloc(record_map_words(pages), sizeof(*f->here));
	f->touched = calloc(record_map_words(pages), sizeof(*f->touched));
	if (!f->here || !f->touched)
		return frem_oom(err);
	/* zero pages are read like all others, the last one too */
	if (ftruncate(fd, (off_t)record_touch_offset(pages, 0)) < 0)
		return frem_fail(err, FREM_FAILED, errno, "making the file of the recording");
	*ret = TAKE_PTR(f);
	return 0;
}

void record_file_free(struct record_file *f)
{
	if (!f)
		return;
	free(f->here);
	free(f->touched);
	free(f);
}

bool record_file_has(const struct record_file *f, uint64_t page)
{
	return bit(f->here, page);
}

bool record_file_has_room(const struct record_file *f)
{
	struct statvfs st;

	return fstatvfs(f->fd, &st) == 0 &&
	       (uint64_t)st.f_bavail * st.f_frsize / 2 >= f->pages * PAGE_BYTES;
}

int record_file_keep(struct record_file *f, uint64_t first, uint64_t pages, const void *data)
{
	int r = data ? file_pwrite_all(f->fd, data, (size_t)pages * PAGE_BYTES, first * PAGE_BYTES)
		     : 0;

	for (uint64_t i = 0; r == 0 && i < pages; i++)
		set_bit(f->here, first + i);
	return r;
}

int record_file_read(const struct record_file *f, uint64_t first, uint64_t pages, void *out)
{
	return file_pread_all(f->fd, out, (size_t)pages * PAGE_BYTES, first * PAGE_BYTES);
}

int record_file_touch(struct record_file *f, uint64_t page, uint64_t ns)
{
	struct record_touch t = {.page = page, .ns = ns};
	int r;

	if (bit(f->touched, page))
		return 0;
	r = file_pwrite_all(f->fd, &t, sizeof(t), record_touch_offset(f->pages, f->touches));
	if (r < 0)
		return r;
	set_bit(f->touched, page);
	f->touches++;
	return 1;
}

int record_file_finish(struct record_file *f)
{
	return file_pwrite_all(f->fd, f->here, record_map_words(f->pages) * sizeof(*f->here),
			       record_map_offset(f->pages));
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Each map is walked by address. A page that is elsewhere is looked for in the map of the same name
 * in the parent, then in that one's parent, as CRIU's own restore does; one that is in none of them
 * is an error, never a zero page. Holes that others have punched into a pages file lie where a
 * younger image has the page, so they are not read.
 */
#include "criu/image_join.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "format/frame.h"
#include "format/head.h"
#include "image_file.h"
#include "image_names.h"
#include "image_vmas.h"
#include "pagemap.h"

#define PARENTS_MAX 256u /* more are taken for a circle */
#define COPY_BYTES ((size_t)1 << 20)

/* One image of the chain, and its map of the name at hand. */
struct level {
	int dirfd;
	bool loaded;
	struct pagemap_entry *entries;
	size_t n, cap;
	int pages_fd;
};

struct join {
	struct level *levels; /* the image itself first */
	size_t n;
	int to_fd;
	struct progress *progress;
	int (*check)(struct frem_error *err);
	uint8_t *room;
	uint64_t copied; /* bytes, in all */
	uint64_t budget;

	/* of the map at hand */
	const char *name;
	struct image_vmas vmas; /* empty for shared memory */
	int out_fd;
	struct buffer out;
	struct pagemap_entry last; /* not in `out` yet; without pages at first */
};

/* ---- the chain ---- */

static void forget_map(struct level *l)
{
	free(l->entries);
	l->entries = NULL;
	l->n = l->cap = 0;
	cleanup_close(&l->pages_fd);
	l->pages_fd = -1;
	l->loaded = false;
}

static void join_done(struct join *j)
{
	for (size_t i = 0; i < j->n; i++) {
		forget_map(&j->levels[i]);
		close(j->levels[i].dirfd);
	}
	free(j->levels);
	free(j->room);
	image_vmas_done(&j->vmas);
	buffer_done(&j->out);
	cleanup_close(&j->out_fd);
}

bool image_has_parent(int dirfd)
{
	struct stat st;

	return fstatat(dirfd, IMAGE_PARENT, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* The parent of the last image of the chain becomes the last. */
static int add_level(struct join *j, int dirfd, const char *name, struct frem_error *err)
{
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct level *more;

	if (fd < 0) {
		int r = frem_fail(err, FREM_DAMAGED, errno, "opening the parent image, number %zu",
				  j->n);

		frem_hint(err, r, "the link 'parent' in an image leads to it");
		return r;
	}
	more = reallocarray(j->levels, j->n + 1, sizeof(*more));
	if (!more) {
		close(fd);
		return frem_oom(err);
	}
	j->levels = more;
	j->levels[j->n++] = (struct level){.dirfd = fd, .pages_fd = -1};
	return 0;
}

static int open_chain(struct join *j, int dirfd, struct frem_error *err)
{
	int r = add_level(j, dirfd, ".", err);

	while (r == 0 && image_has_parent(j->levels[j->n - 1].dirfd)) {
		if (j->n > PARENTS_MAX)
			return frem_fail(err, FREM_DAMAGED, 0, "over %u parent images",
					 PARENTS_MAX);
		r = add_level(j, j->levels[j->n - 1].dirfd, IMAGE_PARENT, err);
	}
	return r;
}

static int keep_entry(void *arg, uint32_t pages_id, const struct pagemap_entry *e,
		      struct frem_error *err)
{
	struct level *l = arg;

	(void)pages_id;
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 64;
		struct pagemap_entry *more = reallocarray(l->entries, cap, sizeof(*more));

		if (!more)
			return frem_oom(err);
		l->entries = more;
		l->cap = cap;
	}
	l->entries[l->n++] = *e;
	return 0;
}

static int load_map(struct join *j, size_t level, uint32_t *ret_pages_id, struct frem_error *err)
{
	struct level *l = &j->levels[level];
	uint32_t id = 0;
	char name[64];
	int r;

	if (l->loaded)
		return 0;
	r = pagemap_read(l->dirfd, j->name, &j->budget, &id, keep_entry, l, err);
	if (r < 0)
		return level ? frem_context(err, r, "parent image number %zu", level) : r;
	snprintf(name, sizeof(name), "pages-%" PRIu32 ".img", id);
	l->pages_fd = openat(l->dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (l->pages_fd < 0 && errno != ENOENT) /* none is needed for no pages */
		return frem_fail(err, FREM_DAMAGED, errno, "image file '%s'", name);
	l->loaded = true;
	if (ret_pages_id)
		*ret_pages_id = id;
	return 0;
}

static const struct pagemap_entry *find_entry(const struct level *l, uint64_t address)
{
	size_t low = 0, high = l->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct pagemap_entry *e = &l->entries[mid];

		if (address < e->address)
			high = mid;
		else if (address - e->address >= e->pages * PAGE_BYTES)
			low = mid + 1;
		else
			return e;
	}
	return NULL;
}

/* ---- what is written ---- */

static int flush_entry(struct join *j, struct frem_error *err)
{
	return j->last.pages && pagemap_add(&j->out, &j->last) < 0 ? frem_oom(err) : 0;
}

static int put_entry(struct join *j, uint64_t address, uint64_t pages, uint32_t flags,
		     struct frem_error *err)
{
	struct pagemap_entry *last = &j->last;
	uint64_t end = last->offset + last->pages * PAGE_BYTES;
	int r;

	if (last->pages && last->flags == flags &&
	    last->address + last->pages * PAGE_BYTES == address) {
		last->pages += pages;
		return 0;
	}
	r = flush_entry(j, err);
	*last = (struct pagemap_entry){
		.address = address, .pages = pages, .flags = flags, .offset = end};
	return r;
}

static int write_failed(const struct join *j, int r, struct frem_error *err)
{
	frem_fail(err, FREM_FAILED, -r, "writing the pages of '%s'", j->name);
	if (r == -ENOSPC || r == -EDQUOT)
		frem_hint(err, r, "set FREM_RUN_DIR to a directory with more room");
	return r;
}

/* Appends pages to the pages file. */
static int copy_pages(struct join *j, int fd, uint64_t from, uint64_t pages, struct frem_error *err)
{
	uint64_t left = pages * PAGE_BYTES, to = j->last.offset + j->last.pages * PAGE_BYTES;

	while (left) {
		size_t n = left < COPY_BYTES ? (size_t)left : COPY_BYTES;
		int r = j->check ? j->check(err) : 0;

		if (r != 0)
			return r;
		r = file_pread_all(fd, j->room, n, from);
		if (r < 0)
			return frem_fail(err, FREM_DAMAGED, -r, "reading the pages of '%s'",
					 j->name);
		r = file_pwrite_all(j->out_fd, j->room, n, to);
		if (r < 0)
			return write_failed(j, r, err);
		from += n;
		to += n;
		left -= n;
		j->copied += n;
		progress_report(j->progress, "joining images", j->copied, 0);
	}
	return 0;
}

/* Pages of one entry and of one mapping. */
static int put_pages(struct join *j, const struct level *l, const struct pagemap_entry *e,
		     uint64_t address, uint64_t pages, bool may_be_lazy, struct frem_error *err)
{
	uint32_t flags = PE_PRESENT | (may_be_lazy ? e->flags & PE_LAZY : 0);
	int r = copy_pages(j, l->pages_fd, e->offset + (address - e->address), pages, err);

	return r < 0 ? r : put_entry(j, address, pages, flags, err);
}

/*
 * A mapping may have been locked since its parent was dumped: CRIU takes nothing lazily then. Where
 * mappings end, what follows may be different.
 */
static bool mapping_of(const struct join *j, uint64_t address, uint64_t *pages)
{
	const struct image_vma *vma = image_vmas_find(&j->vmas, address);

	if (!vma)
		return false;
	if (*pages > (vma->end - address) / PAGE_BYTES)
		*pages = (vma->end - address) / PAGE_BYTES;
	return vma->lazy && *pages;
}

/* Takes pages from the youngest image that has them, beginning with number `level`. */
static int put_range(struct join *j, size_t level, uint64_t address, uint64_t pages,
		     struct frem_error *err)
{
	int r = level < j->n ? load_map(j, level, NULL, err) : 0;

	while (r == 0 && pages) {
		const struct level *l = level < j->n ? &j->levels[level] : NULL;
		const struct pagemap_entry *e = l ? find_entry(l, address) : NULL;
		uint64_t n;
		bool lazy;

		if (!e)
			return frem_fail(err, FREM_DAMAGED, 0,
					 "image file '%s': a page at 0x%" PRIx64
					 " is in none of the %zu parent images",
					 j->name, address, j->n - 1);
		n = e->pages - (address - e->address) / PAGE_BYTES;
		if (n > pages)
			n = pages;
		lazy = level == 0 || mapping_of(j, address, &n);
		if (n == 0) /* a mapping that is no multiple of a page */
			n = 1;
		r = e->flags & PE_PRESENT ? put_pages(j, l, e, address, n, lazy, err)
					  : put_range(j, level + 1, address, n, err);
		address += n * PAGE_BYTES;
		pages -= n;
	}
	return r;
}

/* ---- the files ---- */

static int create(const struct join *j, const char *name, struct frem_error *err)
{
	int fd = openat(j->to_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	return fd < 0 ? frem_fail(err, FREM_FAILED, errno, "creating image file '%s'", name) : fd;
}

static int open_out(struct join *j, uint32_t pages_id, struct frem_error *err)
{
	char name[64];

	snprintf(name, sizeof(name), "pages-%" PRIu32 ".img", pages_id);
	j->out_fd = create(j, name, err);
	if (j->out_fd < 0)
		return j->out_fd;
	return pagemap_start(pages_id, &j->out) < 0 ? frem_oom(err) : 0;
}

/* The mappings of the task that a map is of; none for shared memory. */
static int read_vmas(struct join *j, struct frem_error *err)
{
	long pid = strtol(j->name + strlen("pagemap-"), NULL, 10);
	char name[64];

	snprintf(name, sizeof(name), "pagemap-%ld.img", pid);
	if (strcmp(j->name, name) != 0)
		return 0;
	snprintf(name, sizeof(name), "mm-%ld.img", pid);
	return image_vmas_read(j->levels[0].dirfd, name, &j->vmas, err);
}

static int join_map(struct join *j, struct frem_error *err)
{
	struct level *l = &j->levels[0];
	uint32_t pages_id = 0;
	int r = load_map(j, 0, &pages_id, err);

	if (r == 0)
		r = read_vmas(j, err);
	if (r == 0)
		r = open_out(j, pages_id, err);
	for (size_t i = 0; r == 0 && i < l->n; i++)
		r = put_range(j, 0, l->entries[i].address, l->entries[i].pages, err);
	if (r == 0)
		r = flush_entry(j, err);
	return r < 0 ? r : image_file_replace(j->to_fd, j->name, &j->out, err);
}

static void end_map(struct join *j)
{
	for (size_t i = 0; i < j->n; i++)
		forget_map(&j->levels[i]);
	image_vmas_done(&j->vmas);
	buffer_done(&j->out);
	cleanup_close(&j->out_fd);
	j->out_fd = -1;
	j->last = (struct pagemap_entry){0};
	j->budget = FRAME_PAGES_LIMIT;
}

static int copy_file(struct join *j, const char *name, struct frem_error *err)
{
	_cleanup_close_ int out = create(j, name, err);
	_cleanup_buffer_ struct buffer data = {0};
	int r;

	if (out < 0)
		return out;
	r = file_read_at(j->levels[0].dirfd, name, HEAD_FILE_MAX, &data);
	if (r < 0)
		return frem_fail(err, FREM_FAILED, -r, "reading image file '%s'", name);
	r = file_write_all(out, data.data, data.len);
	return r < 0 ? frem_fail(err, FREM_FAILED, -r, "writing image file '%s'", name) : 0;
}

static int join_file(struct join *j, const char *name, struct frem_error *err)
{
	uint32_t id;
	int r;

	if (image_is_pages(name, &id))
		return 0;
	if (strncmp(name, "pagemap-", 8) != 0)
		return copy_file(j, name, err);
	j->name = name;
	r = join_map(j, err);
	end_map(j);
	return r;
}

int image_join(int dirfd, int to_fd, struct progress *progress, int (*check)(struct frem_error *),
	       struct frem_error *err)
{
	_cleanup_image_names_ struct image_names names = {0};
	_cleanup_(join_done) struct join j = {.to_fd = to_fd,
					      .progress = progress,
					      .check = check,
					      .budget = FRAME_PAGES_LIMIT,
					      .out_fd = -1};
	int r = open_chain(&j, dirfd, err);

	j.room = malloc(COPY_BYTES);
	if (r == 0 && !j.room)
		r = frem_oom(err);
	if (r == 0)
		r = image_names_read(dirfd, &names, err);
	for (size_t i = 0; r == 0 && i < names.n; i++)
		r = join_file(&j, names.list[i], err);
	return r;
}

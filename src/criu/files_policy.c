/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is done about files that are not as they were at the checkpoint, but for rolling back. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "criu/image_files.h"
#include "files_img.h"
#include "image_file.h"
#include "image_vmas.h"
#include "open_files.h"

#define FILE_REG 1u
#define STATUS_FILE_PRIVATE (1u << 6) /* vma_entry.status (criu/include/image.h) */

/* ---- strict ---- */

static int compare(void *arg, const ImageRegFile *reg, struct frem_error *err)
{
	const struct open_files *o = arg;
	const struct size_entry *noted = sizes_find(&o->sizes, reg->id);
	_cleanup_close_ int fd = -1;
	uint64_t size = noted ? noted->size : reg->size;
	struct stat st;

	if ((!reg->has_size && !noted) || (reg->has_mode && !S_ISREG(reg->mode)))
		return 0;
	fd = sizes_open_recorded(reg->name, O_PATH);
	if (fd < 0 || fstat(fd, &st) < 0)
		return frem_fail(err, FREM_REFUSED, errno, "the job's file '%s'", reg->name);
	if (!S_ISREG(st.st_mode))
		return frem_fail(err, FREM_REFUSED, 0, "the job's file '%s' is no regular file",
				 reg->name);
	if ((uint64_t)st.st_size != size)
		return frem_fail(err, FREM_REFUSED, 0,
				 "the job's file '%s' has %jd bytes, not %" PRIu64
				 " as at the checkpoint",
				 reg->name, (intmax_t)st.st_size, size);
	if (noted && noted->mtime_ns && sizes_mtime(&st) != noted->mtime_ns)
		return frem_fail(err, FREM_REFUSED, 0,
				 "the job's file '%s' was written to after the checkpoint",
				 reg->name);
	return 0;
}

int image_files_compare(int dirfd, struct frem_error *err)
{
	_cleanup_open_files_ struct open_files o = {0};
	int r = open_files_read(dirfd, &o, err);

	if (r == 0)
		r = open_files_each(&o, compare, &o, err);
	if (r < 0 && err && err->code == FREM_REFUSED)
		frem_hint(err, r, "without '--files strict', what has grown is rolled back");
	return r;
}

/* ---- keep ---- */

/* Files of which memory was not saved because it is what the file holds. */
struct mapped {
	int dirfd;
	uint32_t *ids;
	size_t n, cap;
};

static int add_mapped(struct mapped *m, uint64_t id, struct frem_error *err)
{
	if (m->n == m->cap) {
		size_t cap = m->cap ? 2 * m->cap : 64;
		uint32_t *more = reallocarray(m->ids, cap, sizeof(*more));

		if (!more)
			return frem_oom(err);
		m->ids = more;
		m->cap = cap;
	}
	m->ids[m->n++] = (uint32_t)id;
	return 0;
}

static int read_mapped(void *arg, const char *name, const char *rest, struct frem_error *err)
{
	_cleanup_image_file_ struct image_file f = {0};
	struct mapped *m = arg;
	ImageMm *mm = NULL;
	int r = image_mm_read(m->dirfd, name, &f, &mm, err);

	(void)rest;
	if (r < 0)
		return r;
	r = add_mapped(m, mm->exe_file_id, err);
	for (size_t i = 0; r == 0 && i < mm->n_vmas; i++)
		if (mm->vmas[i]->status & STATUS_FILE_PRIVATE)
			r = add_mapped(m, mm->vmas[i]->shmid, err);
	image_mm__free_unpacked(mm, NULL);
	return r;
}

static int compare_ids(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static bool is_mapped(const struct mapped *m, uint32_t id)
{
	return m->n && bsearch(&id, m->ids, m->n, sizeof(id), compare_ids);
}

struct rewritten {
	const struct mapped *mapped;
	struct buffer out;
};

/* CRIU compares only what it has recorded. */
static int add_unchecked(void *arg, ImageFile *e, const uint8_t *data, size_t n,
			 struct frem_error *err)
{
	_cleanup_free_ uint8_t *packed = NULL;
	struct rewritten *w = arg;
	int r = -ENOMEM;

	if (e->type != FILE_REG || !e->reg || !e->reg->has_size ||
	    is_mapped(w->mapped, e->reg->id)) {
		r = image_file_add(&w->out, data, n);
	} else {
		e->reg->has_size = 0;
		packed = malloc(image_file__get_packed_size(e) + 1);
		if (packed)
			r = image_file_add(&w->out, packed, image_file__pack(e, packed));
	}
	return r < 0 ? frem_oom(err) : 0;
}

static int rewrite(int dirfd, const struct mapped *m, struct frem_error *err)
{
	struct rewritten w = {.mapped = m};
	int r = image_file_start(IMAGE_MAGIC_FILES, &w.out) < 0
			? frem_oom(err)
			: files_img_each(dirfd, add_unchecked, &w, err);

	if (r == 0)
		r = image_file_replace(dirfd, "files.img", &w.out, err);
	buffer_done(&w.out);
	return r;
}

int image_files_uncheck(int dirfd, struct frem_error *err)
{
	struct mapped m = {.dirfd = dirfd};
	int r = image_dir_each(dirfd, "mm-", read_mapped, &m, err);

	if (r == 0 && m.n)
		qsort(m.ids, m.n, sizeof(*m.ids), compare_ids);
	if (r == 0)
		r = rewrite(dirfd, &m, err);
	free(m.ids);
	return r;
}

/* ---- missing ---- */

struct search {
	char *path;
	size_t size;
};

static int look(void *arg, const ImageRegFile *reg, struct frem_error *err)
{
	struct search *s = arg;
	struct stat st;

	(void)err;
	if (lstat(reg->name, &st) == 0 || (errno != ENOENT && errno != ENOTDIR))
		return 0;
	snprintf(s->path, s->size, "%s", reg->name);
	return -ENOENT;
}

bool image_files_missing(int dirfd, char *path, size_t size)
{
	_cleanup_open_files_ struct open_files o = {0};
	struct search s = {.path = path, .size = size};

	return open_files_read(dirfd, &o, NULL) == 0 &&
	       open_files_each(&o, look, &s, NULL) == -ENOENT;
}

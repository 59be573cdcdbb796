/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "open_files.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "files_img.h"
#include "image_file.h"

#define FILE_REG 1u

static int add_remapped(struct open_files *o, const uint8_t *data, size_t n,
			const struct image_file *f, struct frem_error *err)
{
	ImageRemap *e = image_remap__unpack(NULL, n, data);
	uint32_t *more;

	if (!e)
		return image_file_damaged(f, err, "an unreadable entry");
	more = reallocarray(o->remapped, o->n_remapped + 1, sizeof(*more));
	if (more) {
		o->remapped = more;
		o->remapped[o->n_remapped++] = e->orig_id;
	}
	image_remap__free_unpacked(e, NULL);
	return more ? 0 : frem_oom(err);
}

static int read_remapped(struct open_files *o, struct frem_error *err)
{
	_cleanup_image_file_ struct image_file f = {0};
	const uint8_t *data;
	size_t n;
	int r;

	if (faccessat(o->dirfd, "remap-fpath.img", F_OK, 0) < 0)
		return 0;
	r = image_file_read(o->dirfd, "remap-fpath.img", IMAGE_MAGIC_REMAP, &f, err);
	while (r == 0) {
		r = image_file_next(&f, &data, &n, err);
		if (r <= 0)
			break;
		r = add_remapped(o, data, n, &f, err);
	}
	return r;
}

int open_files_read(int dirfd, struct open_files *ret, struct frem_error *err)
{
	struct open_files o = {.dirfd = dirfd};
	int r = read_remapped(&o, err);

	if (r == 0)
		r = sizes_read(dirfd, &o.sizes, err);
	if (r == 0)
		r = moved_read(dirfd, &o.moved, err);
	if (r < 0)
		open_files_done(&o);
	else
		*ret = o;
	return r;
}

void open_files_done(struct open_files *o)
{
	free(o->remapped);
	sizes_done(&o->sizes);
	moved_done(&o->moved);
}

bool open_files_is_one(const struct open_files *o, const ImageRegFile *reg)
{
	if (!reg->name || reg->name[0] != '/' || reg->ext || moved_find(&o->moved, reg->name) >= 0)
		return false;
	for (size_t i = 0; i < o->n_remapped; i++)
		if (o->remapped[i] == reg->id)
			return false;
	return true;
}

struct visitor {
	const struct open_files *o;
	int (*visit)(void *arg, const ImageRegFile *reg, struct frem_error *err);
	void *arg;
};

static int visit_one(void *arg, ImageFile *e, const uint8_t *data, size_t n, struct frem_error *err)
{
	const struct visitor *v = arg;

	(void)data;
	(void)n;
	return e->type == FILE_REG && e->reg && open_files_is_one(v->o, e->reg)
		       ? v->visit(v->arg, e->reg, err)
		       : 0;
}

int open_files_each(const struct open_files *o,
		    int (*visit)(void *arg, const ImageRegFile *reg, struct frem_error *err),
		    void *arg, struct frem_error *err)
{
	struct visitor v = {o, visit, arg};

	return files_img_each(o->dirfd, visit_one, &v, err);
}

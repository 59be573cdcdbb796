/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "files_img.h"

#include "image_file.h"

int files_img_each(int dirfd,
		   int (*visit)(void *arg, ImageFile *e, const uint8_t *data, size_t n,
				struct frem_error *err),
		   void *arg, struct frem_error *err)
{
	_cleanup_image_file_ struct image_file f = {0};
	const uint8_t *data;
	size_t n;
	int r = image_file_read(dirfd, "files.img", IMAGE_MAGIC_FILES, &f, err);

	while (r == 0) {
		ImageFile *e;

		r = image_file_next(&f, &data, &n, err);
		if (r <= 0)
			break;
		e = image_file__unpack(NULL, n, data);
		if (!e)
			return image_file_damaged(&f, err, "an unreadable entry");
		r = visit(arg, e, data, n, err);
		image_file__free_unpacked(e, NULL);
	}
	return r;
}

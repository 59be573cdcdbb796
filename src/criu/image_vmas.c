/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "image_vmas.h"

#include <stdlib.h>
#include <sys/mman.h>

/* vma_entry.status (criu/include/image.h): mappings that the kernel makes */
#define STATUS_VSYSCALL (1u << 2)
#define STATUS_VDSO (1u << 3)
#define STATUS_VVAR (1u << 12)

/* vma_entry_can_be_lazy() of CRIU's restorer: what it registers with the userfaultfd. */
static bool is_lazy(const ImageVma *e)
{
	return (e->flags & MAP_ANONYMOUS) && (e->flags & MAP_PRIVATE) &&
	       !(e->flags & (MAP_LOCKED | MAP_HUGETLB)) &&
	       !(e->status & (STATUS_VSYSCALL | STATUS_VDSO | STATUS_VVAR));
}

static int take(const ImageMm *mm, const struct image_file *f, struct image_vmas *ret,
		struct frem_error *err)
{
	ret->list = calloc(mm->n_vmas + 1, sizeof(*ret->list));
	if (!ret->list)
		return frem_oom(err);
	for (size_t i = 0; i < mm->n_vmas; i++) {
		const ImageVma *e = mm->vmas[i];

		if (e->start >= e->end || (i && e->start < ret->list[i - 1].end))
			return image_file_damaged(f, err, "unsorted or overlapping mappings");
		ret->list[i] = (struct image_vma){e->start, e->end, is_lazy(e)};
		ret->n++;
	}
	return 0;
}

int image_mm_read(int dirfd, const char *name, struct image_file *f, ImageMm **ret,
		  struct frem_error *err)
{
	const uint8_t *data = NULL;
	size_t n = 0;
	int r = image_file_read(dirfd, name, IMAGE_MAGIC_MM, f, err);

	if (r == 0)
		r = image_file_next(f, &data, &n, err);
	if (r < 0)
		return r;
	*ret = r ? image_mm__unpack(NULL, n, data) : NULL;
	return *ret ? 0 : frem_negative(image_file_damaged(f, err, "no description of the memory"));
}

int image_vmas_read(int dirfd, const char *name, struct image_vmas *ret, struct frem_error *err)
{
	_cleanup_image_file_ struct image_file f = {0};
	struct image_vmas v = {0};
	ImageMm *mm = NULL;
	int r = image_mm_read(dirfd, name, &f, &mm, err);

	if (r < 0)
		return r;
	r = take(mm, &f, &v, err);
	image_mm__free_unpacked(mm, NULL);
	if (r < 0)
		image_vmas_done(&v);
	else
		*ret = v;
	return r;
}

void image_vmas_done(struct image_vmas *v)
{
	free(v->list);
	*v = (struct image_vmas){0};
}

const struct image_vma *image_vmas_find(const struct image_vmas *v, uint64_t address)
{
	size_t low = 0, high = v->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (address < v->list[mid].start)
			high = mid;
		else if (address >= v->list[mid].end)
			low = mid + 1;
		else
			return &v->list[mid];
	}
	return NULL;
}

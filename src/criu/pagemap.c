/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "pagemap.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "format/frame.h"
#include "image_file.h"
#include "images.pb-c.h"

#define ADDRESS_LIMIT (UINT64_C(1) << 57)
#define ENTRY_MOST 64 /* bytes of a packed entry or header: each field takes 11 at most */

/* One file while it is read. */
struct pagemap {
	struct image_file file;
	uint64_t next_address; /* entries must not start before it */
	uint64_t offset;       /* in the pages file */
	uint64_t *budget;
};

static int check_entry(struct pagemap *pm, const ImagePagemap *e, struct pagemap_entry *ret,
		       struct frem_error *err)
{
	uint64_t pages = e->has_nr_pages ? e->nr_pages : e->compat_nr_pages;
	uint32_t flags = e->has_flags ? e->flags : e->in_parent ? PE_PARENT : PE_PRESENT;

	if (!e->has_vaddr || e->vaddr % PAGE_BYTES || e->vaddr < pm->next_address)
		return image_file_damaged(&pm->file, err,
					  "an unaligned, unsorted or overlapping range");
	if (pages == 0 || pages > *pm->budget || e->vaddr >= ADDRESS_LIMIT ||
	    pages > (ADDRESS_LIMIT - e->vaddr) / PAGE_BYTES)
		return image_file_damaged(&pm->file, err, "a range of impossible size");
	if ((flags & PE_PARENT) && flags != PE_PARENT)
		return image_file_damaged(&pm->file, err, "pages that are here and in a parent");
	if (!(flags & (PE_PRESENT | PE_PARENT)))
		return frem_hint(
			err, image_file_damaged(&pm->file, err, "pages that are not in the image"),
			"the memory of a 'criu dump --lazy-pages' is with its page server");
	*ret = (struct pagemap_entry){
		.address = e->vaddr, .pages = pages, .offset = pm->offset, .flags = flags};
	*pm->budget -= pages;
	pm->next_address = e->vaddr + pages * PAGE_BYTES;
	if (flags & PE_PRESENT)
		pm->offset += pages * PAGE_BYTES;
	return 0;
}

static int read_head(struct pagemap *pm, uint32_t *ret_pages_id, struct frem_error *err)
{
	ImagePagemapHead *head;
	const uint8_t *data = NULL;
	size_t n = 0;
	int r = image_file_next(&pm->file, &data, &n, err);

	if (r < 0)
		return r;
	head = r ? image_pagemap_head__unpack(NULL, n, data) : NULL;
	if (!head || !head->has_pages_id) {
		if (head)
			image_pagemap_head__free_unpacked(head, NULL);
		return image_file_damaged(&pm->file, err, "no header");
	}
	*ret_pages_id = head->pages_id;
	image_pagemap_head__free_unpacked(head, NULL);
	return 0;
}

/* A pages file that is shorter than its map would be read as zeros, or not at all. */
static int check_pages_file(int dirfd, const struct pagemap *pm, uint32_t pages_id,
			    struct frem_error *err)
{
	struct stat st;
	char name[64];

	if (pm->offset == 0)
		return 0;
	snprintf(name, sizeof(name), "pages-%" PRIu32 ".img", pages_id);
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return frem_fail(err, FREM_DAMAGED, errno, "image file '%s'", name);
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size < pm->offset)
		return frem_fail(err, FREM_DAMAGED, 0,
				 "image file '%s': %" PRIu64 " bytes, but its pagemap has %" PRIu64,
				 name, (uint64_t)st.st_size, pm->offset);
	return 0;
}

/* 1, or 0 at the end. */
static int next_entry(struct pagemap *pm, struct pagemap_entry *ret, struct frem_error *err)
{
	const uint8_t *data = NULL;
	ImagePagemap *e;
	size_t n = 0;
	int r = image_file_next(&pm->file, &data, &n, err);

	if (r <= 0)
		return r;
	e = image_pagemap__unpack(NULL, n, data);
	if (!e)
		return image_file_damaged(&pm->file, err, "an unreadable entry");
	r = check_entry(pm, e, ret, err);
	image_pagemap__free_unpacked(e, NULL);
	return r < 0 ? r : 1;
}

int pagemap_read(int dirfd, const char *name, uint64_t *budget, uint32_t *ret_pages_id,
		 int (*visit)(void *arg, uint32_t pages_id, const struct pagemap_entry *e,
			      struct frem_error *err),
		 void *arg, struct frem_error *err)
{
	struct pagemap pm = {.budget = budget};
	struct pagemap_entry e = {0};
	int r = image_file_read(dirfd, name, IMAGE_MAGIC_PAGEMAP, &pm.file, err);

	if (r < 0)
		return r;
	r = read_head(&pm, ret_pages_id, err);
	while (r == 0) {
		r = next_entry(&pm, &e, err);
		if (r <= 0)
			break;
		r = visit(arg, *ret_pages_id, &e, err);
	}
	image_file_done(&pm.file);
	return r < 0 ? r : check_pages_file(dirfd, &pm, *ret_pages_id, err);
}

int pagemap_start(uint32_t pages_id, struct buffer *out)
{
	ImagePagemapHead head = IMAGE_PAGEMAP_HEAD__INIT;
	uint8_t bytes[ENTRY_MOST];
	int r = image_file_start(IMAGE_MAGIC_PAGEMAP, out);

	head.has_pages_id = 1;
	head.pages_id = pages_id;
	return r < 0 ? r : image_file_add(out, bytes, image_pagemap_head__pack(&head, bytes));
}

int pagemap_add(struct buffer *out, const struct pagemap_entry *e)
{
	ImagePagemap entry = IMAGE_PAGEMAP__INIT;
	uint8_t bytes[ENTRY_MOST];

	entry.has_vaddr = entry.has_nr_pages = entry.has_flags = 1;
	entry.has_compat_nr_pages = 1; /* CRIU requires it, and goes by the other */
	entry.compat_nr_pages = (uint32_t)e->pages;
	entry.vaddr = e->address;
	entry.nr_pages = e->pages;
	entry.flags = e->flags;
	return image_file_add(out, bytes, image_pagemap__pack(&entry, bytes));
}

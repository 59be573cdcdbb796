/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One pagemap-*.img: which pages are in a pages-N.img, in what order, and which are elsewhere. */
#ifndef FREM_CRIU_PAGEMAP_H
#define FREM_CRIU_PAGEMAP_H

#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"

/* Flags of an entry (criu/include/pagemap.h). */
#define PE_PARENT 1u
#define PE_LAZY 2u
#define PE_PRESENT 4u

struct pagemap_entry {
	uint64_t address;
	uint64_t pages;
	uint64_t offset; /* in the pages file, where flags has PE_PRESENT */
	uint32_t flags;	 /* PE_PARENT alone, or PE_PRESENT and maybe PE_LAZY */
};

/*
 * Calls visit for each entry, by ascending address without overlap, and checks that the pages file
 * holds them all. *budget, the pages that may still come, is lowered by theirs. *ret_pages_id, the
 * N of the pages file, is set before the first call. Error: FREM_DAMAGED, naming the image file; or
 * what visit returned.
 */
int pagemap_read(int dirfd, const char *name, uint64_t *budget, uint32_t *ret_pages_id,
		 int (*visit)(void *arg, uint32_t pages_id, const struct pagemap_entry *e,
			      struct frem_error *err),
		 void *arg, struct frem_error *err);

/* To write one: start, add entries, image_file_replace(). Each returns 0 or -errno. */
int pagemap_start(uint32_t pages_id, struct buffer *out);
int pagemap_add(struct buffer *out, const struct pagemap_entry *e);

#endif

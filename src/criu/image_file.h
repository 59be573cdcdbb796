/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CRIU's image files: one or two 32-bit magic numbers, then entries, each a 32-bit size and a
 * protobuf of that size; all little-endian. Images come out of a store: every size is checked
 * against what the file really holds, and files are bounded before they are read.
 */
#ifndef FREM_CRIU_IMAGE_FILE_H
#define FREM_CRIU_IMAGE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/error.h"

/* criu/include/magic.h */
#define IMAGE_MAGIC_INVENTORY 0x58313116u
#define IMAGE_MAGIC_PSTREE 0x50273030u
#define IMAGE_MAGIC_CORE 0x55053847u
#define IMAGE_MAGIC_MM 0x57492820u
#define IMAGE_MAGIC_IDS 0x54432030u
#define IMAGE_MAGIC_PAGEMAP 0x56084025u
#define IMAGE_MAGIC_FILES 0x56303138u
#define IMAGE_MAGIC_FDINFO 0x56213732u
#define IMAGE_MAGIC_TTY_INFO 0x59453036u
#define IMAGE_MAGIC_REMAP 0x59133954u
#define IMAGE_MAGIC_STATS 0x57093306u

struct image_file {
	char name[64];
	struct buffer data;
	size_t at; /* of the next entry */
};

/* Reads a whole image file and checks its magic. -ENOENT where it is missing; else FREM_DAMAGED. */
int image_file_read(int dirfd, const char *name, uint32_t magic, struct image_file *ret,
		    struct frem_error *err);
/* The next entry: 1, 0 at the end, or negative with FREM_DAMAGED. *ret points into the file. */
int image_file_next(struct image_file *f, const uint8_t **ret, size_t *ret_n,
		    struct frem_error *err);
void image_file_done(struct image_file *f);
/* FREM_DAMAGED "NAME: WHY at offset N" for the entry that was read last. */
int image_file_damaged(const struct image_file *f, struct frem_error *err, const char *why);

/* To write one: start, add entries, replace the file NAME at once. */
int image_file_start(uint32_t magic, struct buffer *out);
int image_file_add(struct buffer *out, const void *entry, size_t n);
int image_file_replace(int dirfd, const char *name, const struct buffer *data,
		       struct frem_error *err);

/* Calls visit for each name in dirfd that starts with prefix and ends with ".img", in no order;
 * rest is what stands between them. A negative return ends the walk. */
int image_dir_each(int dirfd, const char *prefix,
		   int (*visit)(void *arg, const char *name, const char *rest,
				struct frem_error *err),
		   void *arg, struct frem_error *err);

#define _cleanup_image_file_ __attribute__((cleanup(image_file_done)))

#endif

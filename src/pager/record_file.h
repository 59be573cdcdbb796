/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The file of a recorded restart, without a name, shared by the caller and the pager process. It
 * holds three things, one behind the other, each in a place of its own:
 *
 *   pages    the content of lazy page N at N * PAGE_BYTES; sparse, zero pages are holes
 *   map      a bit for each lazy page: its content is here; little-endian words of 64 bits
 *   touches  struct record_touch, in the order in which the faults were answered
 *
 * Pages and touches are written as they come, the map once, by record_file_finish(). Each page that
 * a touch names is there before the touch is. One thread at a time.
 */
#ifndef FREM_PAGER_RECORD_FILE_H
#define FREM_PAGER_RECORD_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "format/frame.h"

struct record_touch {
	uint64_t page;
	uint64_t ns; /* clock_ns() when the fault was read */
};

static inline size_t record_map_words(uint64_t pages)
{
	return (size_t)(pages / 64 + 1);
}

static inline uint64_t record_map_offset(uint64_t pages)
{
	return pages * PAGE_BYTES;
}

static inline uint64_t record_touch_offset(uint64_t pages, uint64_t i)
{
	return record_map_offset(pages) + record_map_words(pages) * sizeof(uint64_t) +
	       i * sizeof(struct record_touch);
}

struct record_file;

/* fd: an empty file, which stays the caller's; pages: lazy pages of the image. */
int record_file_new(int fd, uint64_t pages, struct record_file **ret, struct frem_error *err);
void record_file_free(struct record_file *f);
bool record_file_has(const struct record_file *f, uint64_t page);
/* Whether the file system has room for all pages, and as much again for others. */
bool record_file_has_room(const struct record_file *f);

/* Each returns 0 or -errno. keep: data NULL for zeros. */
int record_file_keep(struct record_file *f, uint64_t first, uint64_t pages, const void *data);
int record_file_read(const struct record_file *f, uint64_t first, uint64_t pages, void *out);
/* The page, which is here, is touched; the first time counts. Returns 1 then. */
int record_file_touch(struct record_file *f, uint64_t page, uint64_t ns);
/* Writes the map. */
int record_file_finish(struct record_file *f);

FREM_CLEANUP(struct record_file *, cleanup_record_file, record_file_free)
#define _cleanup_record_file_ _cleanup_(cleanup_record_file)

#endif

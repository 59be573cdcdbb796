/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The `head` object: everything of an image but its lazy pages. It holds CRIU's small image files,
 * the eager pages (runs within otherwise sparse pages-N.img files) and the frame index of `pages`.
 * A fixed header is followed by one zstd frame of records; see docs/format.md. Pure: no I/O.
 */
#ifndef FREM_FORMAT_HEAD_H
#define FREM_FORMAT_HEAD_H

#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "format/frame.h"

#define HEAD_NAME_MAX 255 /* of an image file: plain UTF-8, no '/', not "." or ".." */
#define HEAD_FILE_MAX (UINT64_C(1) << 30)  /* a small image file */
#define HEAD_RUN_MAX (UINT64_C(16) << 20)  /* bytes in one run of eager pages */
#define HEAD_INDEX_MAX (UINT64_C(1) << 30) /* bytes of a frame index: 5.3 TiB of pages */
#define HEAD_FILES_MAX (UINT64_C(1) << 20) /* image files in one head */

struct head_writer;

int head_writer_new(struct head_writer **ret, struct frem_error *err);
void head_writer_free(struct head_writer *w);
/* A whole image file. Every name is used for one file only. */
int head_add_file(struct head_writer *w, const char *name, const void *data, size_t n,
		  struct frem_error *err);
/* A sparse file of the given size; must come before its runs. */
int head_add_sparse(struct head_writer *w, const char *name, uint64_t size, struct frem_error *err);
/*
 * n bytes (a multiple of PAGE_BYTES, at most HEAD_RUN_MAX) at offset (likewise a multiple) of the
 * sparse file NAME. The runs of one file come in ascending order and do not overlap.
 */
int head_add_run(struct head_writer *w, const char *name, uint64_t offset, const void *data,
		 size_t n, struct frem_error *err);
/* The frame index of `pages`; exactly once. */
int head_add_index(struct head_writer *w, const struct frame_index *x, struct frem_error *err);
/* Ends the object and hands its bytes over; w can only be freed afterwards. */
int head_finish(struct head_writer *w, struct buffer *ret, struct frem_error *err);

/* Receives the records in their order. A callback's failure ends the reading with its error. */
struct head_sink {
	int (*file)(void *arg, const char *name, const void *data, size_t n,
		    struct frem_error *err);
	int (*sparse)(void *arg, const char *name, uint64_t size, struct frem_error *err);
	int (*run)(void *arg, const char *name, uint64_t offset, const void *data, size_t n,
		   struct frem_error *err);
	/* x becomes the sink's, to be freed by it */
	int (*index)(void *arg, struct frame_index *x, struct frem_error *err);
	void *arg;
};

/*
 * Reads a whole head object. Its own digest is checked before the first callback. NULL callbacks
 * skip their records. The data given to a callback is gone when it returns; memory is only
 * allocated as bytes really arrive, whatever the records announce. On failure, what the sink got so
 * far must be dropped. Error: FREM_DAMAGED "head: ... at offset N", or the callback's.
 */
int head_read(const void *data, size_t n, const struct head_sink *sink, struct frem_error *err);

FREM_CLEANUP(struct head_writer *, cleanup_head_writer, head_writer_free)
#define _cleanup_head_writer_ _cleanup_(cleanup_head_writer)

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A checkpoint as it lies in a directory NAME/N of a store on this machine, for the benchmarks'
 * tools. Nothing is verified but what the formats' decoders do.
 */
#ifndef FREM_BENCH_STORED_H
#define FREM_BENCH_STORED_H

#include "base/buffer.h"
#include "base/error.h"
#include "format/manifest.h"
#include "format/touch.h"

struct stored {
	const char *path; /* the caller's */
	int fd;		  /* of the directory; -1: none */
	struct buffer manifest;
	uint8_t digest[DIGEST_SIZE]; /* of the manifest */
};

/* Opens a checkpoint and reads its manifest; stored_done() in any case. Error: FREM_FAILED. */
int stored_open(struct stored *s, const char *path, struct frem_error *err);
void stored_done(struct stored *s);

/* Appends an object to out. Error: FREM_FAILED, as it is if the object has more than `most` bytes.
 */
int stored_read(const struct stored *s, const char *name, size_t most, struct buffer *out,
		struct frem_error *err);

/* Opens an object for reading; the caller closes it. Error: FREM_FAILED (-ENOENT: there is none).
 */
int stored_object(const struct stored *s, const char *name, int *ret, struct frem_error *err);

/*
 * Decodes the touch set of an open touch object (stored_object()). lazy_pages: of the image.
 * Errors: FREM_FAILED, FREM_DAMAGED (one of another checkpoint, too).
 */
int stored_touch(const struct stored *s, int fd, uint64_t lazy_pages, struct touch_set **ret,
		 struct frem_error *err);

#endif

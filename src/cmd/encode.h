/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Encodes lazy pages of an image into frames, in a given order, on every core, as an upload
 * asks for them. The same encoder makes the `pages` object (all pages, in image order) and the
 * frames of the `touch` object (the touch set, in first-touch order).
 */
#ifndef FREM_CMD_ENCODE_H
#define FREM_CMD_ENCODE_H

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/progress.h"
#include "format/frame.h"
#include "store/store.h"

/* Consecutive lazy pages. */
struct page_run {
	uint64_t first; /* lazy page number */
	uint64_t pages;
};

/* Where the content of pages comes from. */
struct page_source {
	/* Reads consecutive lazy pages into out. Called from several threads at once. */
	int (*read)(void *arg, uint64_t first, uint64_t pages, uint8_t *out,
		    struct frem_error *err);
	void *arg;
};

struct page_encoder;

/* runs: what to encode, in this order; copied. Starts worker threads of low priority. */
int page_encoder_new(struct page_source from, const struct page_run *runs, size_t n_runs,
		     struct page_encoder **ret, struct frem_error *err);
void page_encoder_free(struct page_encoder *e);

/* The payload bytes of the frames, in order; progress (may be NULL) counts raw bytes. */
struct store_source page_encoder_source(struct page_encoder *e, struct progress *progress,
					const char *what);

/* Once the source has given its last byte: */
const struct frame_index *page_encoder_index(struct page_encoder *e); /* sealed */
void page_encoder_digest(struct page_encoder *e, uint64_t *ret_size, uint8_t out[DIGEST_SIZE]);

FREM_CLEANUP(struct page_encoder *, cleanup_page_encoder, page_encoder_free)
#define _cleanup_page_encoder_ _cleanup_(cleanup_page_encoder)

#endif

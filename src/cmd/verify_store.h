/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads all bytes of a checkpoint in one store and holds them against its digests. */
#ifndef FREM_CMD_VERIFY_STORE_H
#define FREM_CMD_VERIFY_STORE_H

#include <stdint.h>

#include "base/error.h"
#include "format/name.h"
#include "store/store.h"

/* What was found; calls come in the order of the objects: manifest, head, pages, touch. */
struct verify_sink {
	/* One object, or one of its frames, is not what was written: err names object, frame and
	 * offset. frame and offset are -1 where it is the object as a whole. */
	void (*damaged)(void *arg, const char *object, int64_t frame, int64_t offset,
			const struct frem_error *err);
	void *arg;
};

struct verify_totals {
	uint64_t bytes;	 /* read */
	uint64_t frames; /* whose pages were looked at */
	unsigned objects;
};

/*
 * Returns 0 also where there is damage, which the sink is told of. Memory is bounded by the head
 * object, which a restart holds as well; `pages` and `touch` stream through, with as many requests
 * under way as fill the link. Errors: FREM_NOT_FOUND with -ENOENT where there is no such
 * checkpoint, FREM_STORE.
 */
int verify_checkpoint(struct store *s, const struct checkpoint_name *id,
		      const struct verify_sink *sink, struct verify_totals *ret,
		      struct frem_error *err);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writing the `touch` object of a checkpoint. Shared by checkpoints and by recorded restarts. */
#ifndef FREM_CMD_TOUCH_OBJECT_H
#define FREM_CMD_TOUCH_OBJECT_H

#include <stdint.h>

#include "base/error.h"
#include "encode.h"
#include "format/name.h"
#include "format/touch.h"
#include "store/store.h"

enum touch_object_mode {
	TOUCH_OBJECT_NEW,     /* -EEXIST where there is one */
	TOUCH_OBJECT_REPLACE, /* takes the place of the one that is there */
};

/* Encodes the pages of the set into fd, an empty file, and makes t->index of them. The object
 * itself has the index first. */
int touch_object_encode(struct touch_set *t, struct page_source from, int fd,
			struct frem_error *err);
/* Uploads the complete set, its frames from fd. *ret_size: of the object. */
int touch_object_put(struct store *s, const struct checkpoint_name *id, const struct touch_set *t,
		     int fd, enum touch_object_mode mode, uint64_t *ret_size,
		     struct frem_error *err);

#endif

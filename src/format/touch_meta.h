/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How a touch set came to be: the JSON object at the start of a touch descriptor. */
#ifndef FREM_FORMAT_TOUCH_META_H
#define FREM_FORMAT_TOUCH_META_H

#include "format/touch.h"
#include "wire.h"

#define TOUCH_META_MAX (1u << 20)

int touch_meta_encode(const struct touch_info *info, struct buffer *out, struct frem_error *err);
int touch_meta_decode(struct wire *w, struct touch_info *ret);

#endif

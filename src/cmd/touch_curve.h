/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How many pages of a touch set had been touched by when: as points, and as a line of text. Pure.
 */
#ifndef FREM_CMD_TOUCH_CURVE_H
#define FREM_CMD_TOUCH_CURVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "format/touch.h"

#define TOUCH_CURVE_MAX 60 /* points, and columns */

struct touch_point {
	uint32_t ms;
	uint64_t pages; /* touched by then */
};

/* Points by time, the last one at the window's end; between neighbours there is either little time
 * or few pages. */
int touch_curve(const struct touch_set *t, struct touch_point out[TOUCH_CURVE_MAX], size_t *ret_n,
		struct frem_error *err);

#define TOUCH_PICTURE_SIZE (3 * TOUCH_CURVE_MAX + 16)

/*
 * The points as a row of blocks, ten to each power of ten in time, the highest being all pages; and
 * the times below it. A window whose row would be too wide begins later.
 */
void touch_curve_picture(const struct touch_point *points, size_t n, bool utf8,
			 char blocks[TOUCH_PICTURE_SIZE], char times[TOUCH_PICTURE_SIZE]);

#endif

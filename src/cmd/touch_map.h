/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where in the memory of each process its touch set lies, as rows of text. Pure. */
#ifndef FREM_CMD_TOUCH_MAP_H
#define FREM_CMD_TOUCH_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "format/touch.h"

#define TOUCH_MAP_COLUMNS_MAX 200u
#define TOUCH_MAP_ROW_SIZE (3 * TOUCH_MAP_COLUMNS_MAX + 1)

/*
 * One row: `pages` lazy pages from page `first` on, which are in the order of their addresses, in
 * `columns` equal parts (fewer where there are fewer pages), each as high as the part of it that is
 * touched: an eighth where it is one page, full only where it is all.
 */
void touch_map_row(const struct touch_set *t, uint64_t first, uint64_t pages, unsigned columns,
		   bool utf8, char out[TOUCH_MAP_ROW_SIZE]);

#endif

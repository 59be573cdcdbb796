/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between a page's place in the touch order, O(log n), and its lazy page number, O(1). Pure. */
#ifndef FREM_PAGER_TOUCH_ORDER_H
#define FREM_PAGER_TOUCH_ORDER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "format/touch.h"

struct touch_order;

/* t must outlive the order. */
int touch_order_new(const struct touch_set *t, struct touch_order **ret, struct frem_error *err);
void touch_order_free(struct touch_order *o);
/* The lazy page at a place below t->pages. */
uint64_t touch_order_number(const struct touch_order *o, uint64_t place);
/* Where page `number` comes in the touch order; false: it is not in the set. */
bool touch_order_place(const struct touch_order *o, uint64_t number, uint64_t *ret_place);

FREM_CLEANUP(struct touch_order *, cleanup_touch_order, touch_order_free)
#define _cleanup_touch_order_ _cleanup_(cleanup_touch_order)

#endif

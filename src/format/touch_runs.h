/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The runs of a touch descriptor. */
#ifndef FREM_FORMAT_TOUCH_RUNS_H
#define FREM_FORMAT_TOUCH_RUNS_H

#include "format/touch.h"
#include "wire.h"

/*
 * Checks that every run has a page, that no page is named twice or is lazy_pages or more, and that
 * there are `pages` of them; w only says where the runs are.
 */
int touch_runs_check(const struct wire *w, const struct touch_run *runs, size_t n, uint64_t pages,
		     uint64_t lazy_pages);
int touch_runs_encode(const struct touch_run *runs, size_t n, struct buffer *out,
		      struct frem_error *err);
/* *ret_runs is the caller's. */
int touch_runs_decode(struct wire *w, uint64_t lazy_pages, struct touch_run **ret_runs,
		      size_t *ret_n, uint64_t *ret_pages);

#endif

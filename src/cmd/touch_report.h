/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How a touch set is shown: by `frem show`, and by `frem checkpoint --json`. */
#ifndef FREM_CMD_TOUCH_REPORT_H
#define FREM_CMD_TOUCH_REPORT_H

#include <stdint.h>

#include <jansson.h>

#include "base/error.h"
#include "format/manifest.h"
#include "format/touch.h"

/* All but where it is stored; NULL is an allocation failure. */
json_t *touch_set_json(const struct touch_set *t, uint64_t lazy_pages);
/* The lines of `frem show`; stored: bytes of the object. */
int touch_set_print(const struct touch_set *t, uint64_t lazy_pages, uint64_t stored,
		    struct frem_error *err);
/* Where in the memory of each process it lies, as wide as the terminal. */
void touch_set_print_map(const struct touch_set *t, const struct manifest *m);
/* How many pages of each task are in the set; out has room for m->n_tasks. */
int touch_set_by_task(const struct touch_set *t, const struct manifest *m, uint64_t *out,
		      struct frem_error *err);

#endif

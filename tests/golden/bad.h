/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The bad golden files: how each is made from the good ones, and how it is refused. */
#ifndef FREM_TESTS_BAD_H
#define FREM_TESTS_BAD_H

#include "base/buffer.h"

struct good_files {
	struct buffer head, pages, touch, manifest, index;
};

/* A bad file is named OBJECT-WHAT, and read as the object it is named after. */
struct bad_file {
	const char *name;
	/* out starts as a copy of the good file of that object */
	void (*make)(struct buffer *out, const struct good_files *good);
	const char *message;
};

extern const struct bad_file bad_files[]; /* ends with a NULL name */

#endif

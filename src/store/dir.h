/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The dir store and its fetcher. */
#ifndef FREM_STORE_DIR_H
#define FREM_STORE_DIR_H

#include "store_impl.h"
#include "store/objdir.h"

struct dir_store {
	struct store store;
	struct objdir *objdir;
	bool swept; /* left-overs of dead uploads were removed by this handle */
};

int dir_fetcher_new(struct store *s, struct fetcher **ret, struct frem_error *err);

#endif

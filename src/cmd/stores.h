/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The stores that the command line or the environment names, as one text for store_open(). */
#ifndef FREM_CMD_STORES_H
#define FREM_CMD_STORES_H

#include "options.h"

/*
 * *ret is NULL where none is named. Each --store is one store, whose path may have blanks; env (may
 * be NULL) is only looked at where there is no --store, and has several separated by blanks.
 * Relative paths are made absolute: processes that outlive the command leave its working directory.
 */
int stores_text(const struct globals *g, const char *env, char **ret, struct frem_error *err);

#endif

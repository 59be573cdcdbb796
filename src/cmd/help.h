/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Help, from the tables of commands and options. */
#ifndef FREM_CMD_HELP_H
#define FREM_CMD_HELP_H

#include <stdbool.h>

#include "base/error.h"
#include "options_table.h"

/* The name of a kind: "duration". */
const char *help_kind(enum argument_kind kind);

/* Of one verb, or of the whole (NULL); json: the tables themselves, as the answer. */
int help(const char *verb, bool json, struct frem_error *err);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The configuration files: values for options that the command line leaves out. An INI file, as
 * frem.conf(5) says: keys are the options' own names, global ones before all sections, those of a
 * command, and global ones for it alone, in the section of its name.
 */
#ifndef FREM_CMD_CONFIG_H
#define FREM_CMD_CONFIG_H

#include "base/cleanup.h"
#include "base/error.h"
#include "options.h"

struct config;

/*
 * Reads /etc/frem.conf and the user's own file, whose values win; or `only`, which has to be there,
 * in their place. Every key and value is checked, of whatever command. Error: FREM_USAGE with file
 * and line, or FREM_FAILED where a file cannot be read.
 */
int config_read(const char *only, struct config **ret, struct frem_error *err);
void config_free(struct config *c);

/* The i-th file that was read, in that order; NULL: there are no more. */
const char *config_file(const struct config *c, size_t i);

/* Makes its values, for this verb, the defaults of *g and of the verb that is parsed next. */
void config_apply(struct config *c, const char *verb, struct globals *g);

FREM_CLEANUP(struct config *, cleanup_config, config_free)
#define _cleanup_config_ _cleanup_(cleanup_config)

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The command line of `frem lazy-pages`, which is that of `criu lazy-pages`. CRIU has one parser
 * for all its commands, and scripts give them all the same options: those that mean nothing here
 * are accepted, those that ask for something that is not done here are refused.
 */
#ifndef FREM_CMD_LAZY_PAGES_OPTIONS_H
#define FREM_CMD_LAZY_PAGES_OPTIONS_H

#include <stdbool.h>

#include "base/error.h"

struct lazy_pages_options {
	const char *images, *work; /* directories */
	const char *log;	   /* relative to work; NULL: standard error */
	const char *pidfile;	   /* relative to work, or NULL */
	int status_fd;		   /* -1: none */
	int verbosity;		   /* CRIU's: 1 errors, 2 warnings, 3 information, 4 everything */
	bool daemon;
	bool auto_dedup; /* asked for, and not done */
};

/* verbose: how many -v were given. */
int lazy_pages_parse(int argc, char **argv, int verbose, struct lazy_pages_options *ret,
		     struct frem_error *err);

#endif

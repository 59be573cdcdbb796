/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Options: the global ones, taken out of the command line in one place wherever they stand, and
 * those of a verb, by getopt_long() with errors of our own. Both go by the rows of options_table.h.
 * Not thread-safe, like getopt.
 */
#ifndef FREM_CMD_OPTIONS_H
#define FREM_CMD_OPTIONS_H

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "options_table.h"

#define OPTIONS_STORES_MOST 32u

struct globals {
	const char *stores[OPTIONS_STORES_MOST]; /* --store, each time it is given */
	unsigned n_stores;
	const char *store_timeout; /* --store-timeout, or NULL */
	const char *log_level;	   /* and so on; NULL: not given */
	const char *color;
	const char *criu;
	const char *run_dir;
	const char *config_file;
	bool json;
	bool help;
	bool version;
	int verbose;	/* how many -v, less the -q */
	unsigned given; /* a bit for each id: on the command line, the others are defaults */
};

/* An option that has a value without being on the command line. */
struct option_setting {
	const struct option_row *row;
	const char *value; /* as for take() of options_parse() */
	const char *where; /* for errors: "FILE:LINE" */
};

/*
 * Takes the options of options_global out of argv, up to "--", and lowers *argc; what is left
 * begins with the program's name and the verb. Values of a verb's options are not told apart from
 * options: "--name --json" is --json. Everything before the verb has to be global. All that could
 * be understood is in *ret even on failure. Error: FREM_USAGE.
 */
int options_globals(int *argc, char **argv, struct globals *ret, struct frem_error *err);

/* Keeps defaults away from a global option as if it were on the command line. */
void options_no_default(struct globals *g, int id);
/* A default for a global option, of no effect where the command line has it. */
void options_default_global(struct globals *g, const struct option_setting *s);
/*
 * Defaults for the verb that is parsed next: options_parse() takes those of its rows first. The
 * list is not copied.
 */
void options_set_defaults(const struct option_setting *list, size_t n);
/* The defaults that are of these rows, as options_parse() takes them; for a verb with a parser of
 * its own. */
int options_take_defaults(const struct option_row *rows,
			  int (*take)(const struct option_row *row, const char *value, void *arg,
				      struct frem_error *err),
			  void *arg, struct frem_error *err);

/* Whether a value is of the row's kind; what is left is up to take(). Error: FREM_USAGE. */
int options_check_value(const struct option_row *row, const char *value, struct frem_error *err);

/* Starts over; to be called before the first options_next(). */
void options_start(void);
/*
 * The next option of a verb, as its val in longs (to be above 0); its value is in optarg. 0: there
 * are no more, operands start at optind. Error: FREM_USAGE. shorts: as for getopt(), or "".
 */
int options_next(int argc, char **argv, const char *shorts, const struct option *longs,
		 struct frem_error *err);
/*
 * All options of a verb, from the start, as its rows say. take() gets each one's row, with its
 * value and the arg; a flag's value is "", and NULL where it is turned off: every flag can be, as
 * --no-NAME. A failure ends it. Returns what take() returned, or FREM_USAGE.
 */
int options_parse(int argc, char **argv, const struct option_row *rows,
		  int (*take)(const struct option_row *row, const char *value, void *arg,
			      struct frem_error *err),
		  void *arg, struct frem_error *err);
/* options_parse() of a verb that has no options. */
int options_parse_none(int argc, char **argv, struct frem_error *err);
/* Checks that there are least to most operands from optind on; `what` names them: "NAME@N". */
int options_operands(int argc, char **argv, int least, int most, const char *what,
		     struct frem_error *err);

#endif

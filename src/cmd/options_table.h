/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every option of every command, in one place: the command line is parsed by these rows, and the
 * help texts, the completions and the configuration file's keys come from them. Pure data.
 */
#ifndef FREM_CMD_OPTIONS_TABLE_H
#define FREM_CMD_OPTIONS_TABLE_H

/* What an option's value, or an operand, is: what completion can offer for it. */
enum argument_kind {
	ARG_NONE,     /* a flag takes no value; a command takes no operand */
	ARG_TEXT,     /* nothing to offer but the row's words */
	ARG_NUMBER,   /* a whole number */
	ARG_DURATION, /* units_parse_duration() */
	ARG_RATE,     /* units_parse_rate() */
	ARG_SIZE,     /* units_parse_size() */
	ARG_FILE,
	ARG_DIR,
	ARG_STORE, /* a directory or a URL */
	ARG_PID,
	ARG_NAME,	/* of a job */
	ARG_CHECKPOINT, /* NAME@N, or NAME for the latest */
	ARG_VERB,	/* of frem */
	ARG_PROGRAM,	/* a command line to run */
};

/* An option that means the same in several commands has one id. */
enum option_id {
	OPT_STORE = 256, /* above all characters */
	OPT_STORE_TIMEOUT,
	OPT_JSON,
	OPT_VERBOSE,
	OPT_QUIET,
	OPT_LOG_LEVEL,
	OPT_COLOR,
	OPT_CRIU,
	OPT_RUN_DIR,
	OPT_CONFIG_FILE,
	OPT_HELP,
	OPT_VERSION,

	OPT_ALL,
	OPT_CHECKPOINT_ON_TERM,
	OPT_CLEAN,
	OPT_DAEMON,
	OPT_DETACH,
	OPT_DOWNTIME,
	OPT_DRY_RUN,
	OPT_EVERY,
	OPT_FILES,
	OPT_IMAGE,
	OPT_IMAGES_DIR,
	OPT_INTERVAL,
	OPT_KEEP,
	OPT_LEFTOVERS,
	OPT_LINK,
	OPT_LISTEN,
	OPT_LOG_FILE,
	OPT_MAX_OBJECT,
	OPT_MTBF,
	OPT_NAME,
	OPT_OLDER_THAN,
	OPT_OVERLAP,
	OPT_PARALLEL,
	OPT_PAUSE,
	OPT_PID,
	OPT_PIDFILE,
	OPT_RECORD,
	OPT_RESUME,
	OPT_ROOT,
	OPT_STATS,
	OPT_STATUS_FD,
	OPT_STOP,
	OPT_TCP,
	OPT_TOUCH,
	OPT_TRACKING,
	OPT_VERBOSITY,
	OPT_WINDOW,
	OPT_WORK_DIR,
};

struct option_row {
	int id;
	char letter; /* the short form, or 0 */
	const char *name;
	enum argument_kind kind;
	const char *value; /* what help calls the value; NULL for a flag */
	const char *words; /* the words that it can be, "auto|off"; NULL: none is special */
	const char *help;  /* '\n' where a line ends */
};

#define OPTIONS_MOST 32u /* rows of a table, without the last, whose name is NULL */

extern const struct option_row options_global[]; /* stand before or after any command */
extern const struct option_row options_none[];
extern const struct option_row options_checkpoint[];
extern const struct option_row options_import[];
extern const struct option_row options_lazy_pages[]; /* CRIU's other options are not for people */
extern const struct option_row options_plan[];
extern const struct option_row options_prune[];
extern const struct option_row options_remove[];
extern const struct option_row options_restart[];
extern const struct option_row options_run[];
extern const struct option_row options_serve[];
extern const struct option_row options_verify[];

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The command line: one verb per file, one table of them in cmd.c. This room alone prints.
 *
 * A verb fills *err and returns its negative code; main() prints the error once and turns its code
 * into the exit code. Results go to stdout, everything else to stderr.
 */
#ifndef FREM_CMD_CMD_H
#define FREM_CMD_CMD_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#include "base/error.h"
#include "base/progress.h"
#include "options_table.h"

struct config;

struct cmd_context {
	const char *store; /* --store, else $FREM_STORE, for store_open(); NULL: none */
	bool store_timeout_set;
	unsigned store_timeout_ms; /* --store-timeout */
	bool json;
	int verbose; /* see ui_init() */
	const struct config *config;
};

struct cmd {
	const char *name;
	int (*run)(struct cmd_context *c, int argc, char **argv, struct frem_error *err);
	const char *usage; /* what follows the name */
	const char *help;  /* one line; NULL: not for people */
	const struct option_row *options;
	enum argument_kind
		operands[2]; /* for completion; the last one stands for all that follow */
};

/* All that frem can do, ended by a row without a name. */
extern const struct cmd cmd_table[];

/* NULL, and FREM_USAGE, where there is none of this name. */
const struct cmd *cmd_find(const char *name, struct frem_error *err);

int cmd_check(struct cmd_context *c, int argc, char **argv, struct frem_error *err);
int cmd_checkpoint(struct cmd_context *c, int argc, char **argv, struct frem_error *err);
int cmd_completion(struct cmd_context *c, int argc, char **argv, struct frem_error *err);
int cmd_export(struct cmd_context *c, int argc, char **argv, struct frem_error *err);
int cmd_import(struct cmd_context *c, int argc, char **argv, struct frem_error *err);
int cmd_lazy_pages(struct cmd_context *c, int argc, char **argv, struct frem_error *err);
int cmd_list(struct cmd_context *c, int argc, char **argv, struct frem_error *err);
int cmd_plan(struct cmd_context *c, int argc, char **argv, struct frem_error *err);
int cmd_prune(struct cmd_context *c, int argc, char **argv, struct frem_error *err);
int cmd_remove(struct cmd_context *c, int argc, char **argv, struct frem_error *err);
int cmd_restart(struct cmd_context *c, int argc, char **argv, struct frem_error *err);
int cmd_run(struct cmd_context *c, int argc, char **argv, struct frem_error *err);
int cmd_serve(struct cmd_context *c, int argc, char **argv, struct frem_error *err);
int cmd_show(struct cmd_context *c, int argc, char **argv, struct frem_error *err);
int cmd_verify(struct cmd_context *c, int argc, char **argv, struct frem_error *err);

#endif

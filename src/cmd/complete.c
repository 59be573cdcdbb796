/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * frem completion, which is for shells and no part of the help: prints a completion script, or what
 * could stand where the cursor is, going by the line so far.
 */
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "completion.h"
#include "find_checkpoint.h"
#include "inventory.h"
#include "options.h"
#include "stores.h"
#include "ui.h"

/* Names come in order, each with all of its checkpoints. */
static void print_names(const struct inventory *v, bool checkpoints)
{
	const char *last = "";
	char text[CHECKPOINT_TEXT_SIZE];

	for (size_t i = 0; i < v->n; i++) {
		const struct inventory_entry *e = &v->entries[i];

		if (e->manifest == INVENTORY_NONE)
			continue;
		checkpoint_text(&e->id, text);
		if (strcmp(e->id.name, last) != 0)
			ui_print("%s\n", e->id.name);
		if (checkpoints)
			ui_print("%s\n", text);
		last = e->id.name;
	}
}

/* line: the words of the command line so far, which may name a store. */
static int complete_names(const struct cmd_context *c, int n, char **line, bool checkpoints,
			  struct frem_error *err)
{
	struct cmd_context here = *c;
	struct frem_error unfinished = {0}; /* of a line that is still being written */
	struct globals g = {0};
	_cleanup_inventory_ struct inventory *v = NULL;
	_cleanup_store_ struct store *s = NULL;
	_cleanup_free_ char *stores = NULL;
	int r = 0;

	if (n > 0)
		options_globals(&n, line, &g, &unfinished);
	if (g.n_stores)
		r = stores_text(&g, NULL, &stores, err);
	if (stores)
		here.store = stores;
	here.store_timeout_ms = 0; /* somebody waits at the keyboard */
	here.store_timeout_set = true;
	if (r == 0)
		r = checkpoint_open_store(&here, &s, err);
	if (r == 0)
		r = inventory_read(s, NULL, &v, err);
	if (r == 0)
		print_names(v, checkpoints);
	return r;
}

int cmd_completion(struct cmd_context *c, int argc, char **argv, struct frem_error *err)
{
	const char *what;
	int r = options_parse_none(argc, argv, err);

	if (r == 0)
		r = options_operands(argc, argv, 1, argc, "shell", err);
	if (r < 0)
		return r;
	what = argv[optind];
	if (strcmp(what, "names") == 0 || strcmp(what, "checkpoints") == 0)
		return complete_names(c, argc - optind - 1, argv + optind + 1,
				      strcmp(what, "names") != 0, err);
	if (strcmp(what, "bash") == 0)
		completion_bash();
	else if (strcmp(what, "zsh") == 0)
		completion_zsh();
	else
		return frem_fail(err, FREM_USAGE, 0,
				 "no completion for '%s': bash and zsh have one", what);
	return 0;
}

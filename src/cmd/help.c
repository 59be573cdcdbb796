/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "help.h"

#include <stdio.h>
#include <string.h>

#include "cmd.h"
#include "ui.h"

#define COLUMN 20 /* where the words of an option begin */

const char *help_kind(enum argument_kind kind)
{
	static const char *const names[] = {
		[ARG_NONE] = "none",	 [ARG_TEXT] = "text",
		[ARG_NUMBER] = "number", [ARG_DURATION] = "duration",
		[ARG_RATE] = "rate",	 [ARG_SIZE] = "size",
		[ARG_FILE] = "file",	 [ARG_DIR] = "directory",
		[ARG_STORE] = "store",	 [ARG_PID] = "pid",
		[ARG_NAME] = "name",	 [ARG_CHECKPOINT] = "checkpoint",
		[ARG_VERB] = "command",	 [ARG_PROGRAM] = "program",
	};

	return names[kind];
}

static void print_option(const struct option_row *row)
{
	char left[80];
	int n = snprintf(left, sizeof(left), "  %s%.1s%s--%s%s%s", row->letter ? "-" : "",
			 row->letter ? &row->letter : "", row->letter ? ", " : "", row->name,
			 row->value ? " " : "", row->value ? row->value : "");
	const char *line = row->help;

	ui_print("%s", left);
	if (n > COLUMN - 2) {
		ui_print("\n");
		n = 0;
	}
	while (*line) {
		int len = (int)strcspn(line, "\n");

		ui_print("%*s%.*s\n", COLUMN - n, "", len, line);
		line += len + (line[len] == '\n');
		n = 0;
	}
}

static void print_options(const struct option_row *rows)
{
	for (; rows->name; rows++)
		print_option(rows);
}

static void print_all(void)
{
	ui_print("frem: fast restart from a checkpoint over a network\n\n"
		 "usage: frem [--store URL] [--json] [-v] COMMAND ...\n\ncommands:\n");
	for (const struct cmd *cmd = cmd_table; cmd->name; cmd++)
		if (cmd->help)
			ui_print("  %-16s  %s\n", cmd->name, cmd->help);
	ui_print("\noptions, before or after the command:\n");
	print_options(options_global);
	ui_print("\n'frem COMMAND --help' says more about a command.\n");
}

static void print_command(const struct cmd *cmd)
{
	ui_print("usage: frem [--store URL] [--json] [-v] %s%s%s\n\n%s\n\noptions:\n", cmd->name,
		 *cmd->usage ? " " : "", cmd->usage, cmd->help);
	print_options(cmd->options);
	print_options(options_global);
}

static json_t *words_json(const char *words)
{
	json_t *list = json_array();

	while (words && *words) {
		size_t n = strcspn(words, "|");

		json_array_append_new(list, json_stringn(words, n));
		words += n + (words[n] == '|');
	}
	return list;
}

static json_t *options_json(const struct option_row *rows)
{
	json_t *list = json_array();

	for (; rows->name; rows++) {
		const char letter[] = {rows->letter, '\0'};

		json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s?, s:o, s:s}", "name",
						      rows->name, "letter", letter, "kind",
						      help_kind(rows->kind), "value", rows->value,
						      "words", words_json(rows->words), "help",
						      rows->help));
	}
	return list;
}

static json_t *command_json(const struct cmd *cmd)
{
	json_t *operands = json_array();

	for (size_t i = 0; i < 2 && cmd->operands[i] != ARG_NONE; i++)
		json_array_append_new(operands, json_string(help_kind(cmd->operands[i])));
	return json_pack("{s:s, s:s, s:s, s:o, s:o}", "name", cmd->name, "usage", cmd->usage,
			 "help", cmd->help, "options", options_json(cmd->options), "operands",
			 operands);
}

static json_t *all_json(void)
{
	json_t *commands = json_array();

	for (const struct cmd *cmd = cmd_table; cmd->name; cmd++)
		if (cmd->help)
			json_array_append_new(commands, command_json(cmd));
	return json_pack("{s:o, s:o}", "commands", commands, "options",
			 options_json(options_global));
}

int help(const char *verb, bool json, struct frem_error *err)
{
	const struct cmd *cmd = verb ? cmd_find(verb, err) : NULL;

	if (verb && !cmd)
		return -EINVAL;
	if (cmd && !cmd->help)
		cmd = NULL;
	if (json)
		return ui_answer(cmd ? command_json(cmd) : all_json(), err);
	if (cmd)
		print_command(cmd);
	else
		print_all();
	return 0;
}

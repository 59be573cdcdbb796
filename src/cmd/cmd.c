/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of verbs. */
#include "cmd.h"

#include <string.h>

const struct cmd cmd_table[] = {
	{"check",
	 cmd_check,
	 "",
	 "say what this machine can do, and what to do about what it cannot",
	 options_none,
	 {ARG_NONE}},
	{"serve",
	 cmd_serve,
	 "--root DIR --listen ADDR:PORT [--max-object BYTES]",
	 "serve a directory as a store over HTTP",
	 options_serve,
	 {ARG_NONE}},
	{"checkpoint",
	 cmd_checkpoint,
	 "--pid PID --name NAME [options]",
	 "checkpoint a running program into a store and record its touch set",
	 options_checkpoint,
	 {ARG_NONE}},
	{"restart",
	 cmd_restart,
	 "NAME[@N] [options]",
	 "restart a program from its checkpoint, fetching its memory while it runs",
	 options_restart,
	 {ARG_CHECKPOINT}},
	{"run",
	 cmd_run,
	 "--name NAME [options] -- CMD...",
	 "start a job, or restart it from its latest checkpoint, and checkpoint it",
	 options_run,
	 {ARG_PROGRAM, ARG_PROGRAM}},
	{"import",
	 cmd_import,
	 "DIR|ARCHIVE --name NAME [--tcp MODE]",
	 "take a plain CRIU image, or a container's checkpoint archive, into a store",
	 options_import,
	 {ARG_FILE}},
	{"export",
	 cmd_export,
	 "NAME[@N] DIR",
	 "write a checkpoint as a plain CRIU image directory",
	 options_none,
	 {ARG_CHECKPOINT, ARG_DIR}},
	{"lazy-pages",
	 cmd_lazy_pages,
	 "-D DIR [-W DIR] [options]",
	 "bring memory into what 'criu restore --lazy-pages' restores from a directory",
	 options_lazy_pages,
	 {ARG_NONE}},
	{"list",
	 cmd_list,
	 "[NAME]",
	 "list the checkpoints that a store holds",
	 options_none,
	 {ARG_NAME}},
	{"show",
	 cmd_show,
	 "NAME[@N]",
	 "show all about a checkpoint and its touch set",
	 options_none,
	 {ARG_CHECKPOINT}},
	{"plan",
	 cmd_plan,
	 "[NAME[@N]] --mtbf DUR --interval DUR --link RATE ...",
	 "say what fast restarts gain a job, and how often to checkpoint it",
	 options_plan,
	 {ARG_CHECKPOINT}},
	{"remove",
	 cmd_remove,
	 "NAME@N... | --all NAME...",
	 "remove checkpoints from a store",
	 options_remove,
	 {ARG_CHECKPOINT, ARG_CHECKPOINT}},
	{"completion", cmd_completion, "", NULL, options_none, {ARG_NONE}},
	{NULL, NULL, NULL, NULL, NULL, {ARG_NONE}},
};

const struct cmd *cmd_find(const char *name, struct frem_error *err)
{
	for (const struct cmd *cmd = cmd_table; cmd->name; cmd++)
		if (strcmp(cmd->name, name) == 0)
			return cmd;
	frem_fail(err, FREM_USAGE, 0, "unknown command '%s'", name);
	frem_hint(err, 0, "'frem --help' lists the commands");
	return NULL;
}

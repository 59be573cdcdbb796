/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <string.h>

#include "cmd.h"
#include "completion.h"

/* Text within single quotes and an argument of _arguments, up to the first of `end`. */
static void print_text(const char *text, const char *end)
{
	for (; *text && !strchr(end, *text); text++) {
		if (*text == '\'')
			fputs("'\\''", stdout);
		else if (strchr("[]:\\", *text))
			printf("\\%c", *text);
		else
			putchar(*text);
	}
}

static const char *action_of(enum argument_kind kind)
{
	switch (kind) {
	case ARG_FILE:
		return "_files";
	case ARG_DIR:
	case ARG_STORE:
		return "_files -/";
	case ARG_PID:
		return "_frem_pids";
	case ARG_NAME:
		return "_frem_names";
	case ARG_CHECKPOINT:
		return "_frem_checkpoints";
	case ARG_PROGRAM:
		return "_normal";
	default:
		return " ";
	}
}

static void print_argument(const char *name, enum argument_kind kind, const char *words)
{
	putchar(':');
	print_text(name, "");
	putchar(':');
	if (words)
		putchar('(');
	for (; words && *words; words++)
		putchar(*words == '|' ? ' ' : *words);
	fputs(words ? ")" : action_of(kind), stdout);
}

static void print_option(const struct option_row *row, const char *form, const char *before_value)
{
	printf("\t\t'%s%s%s[", row->id == OPT_STORE || row->id == OPT_VERBOSE ? "*" : "", form,
	       row->kind == ARG_NONE ? "" : before_value);
	print_text(row->help, "\n");
	putchar(']');
	if (row->kind != ARG_NONE)
		print_argument(row->value, row->kind, row->words);
	fputs("'\n", stdout);
}

static void print_options(const struct option_row *rows)
{
	for (; rows->name; rows++) {
		char form[80];

		snprintf(form, sizeof(form), "--%s", rows->name);
		print_option(rows, form, "=");
		snprintf(form, sizeof(form), "-%c", rows->letter);
		if (rows->letter)
			print_option(rows, form, "+");
	}
}

static void print_operand(const char *where, enum argument_kind kind)
{
	if (kind == ARG_NONE)
		return;
	printf("\t\t'%s", where);
	print_argument("operand", kind, NULL);
	fputs("'\n", stdout);
}

static void print_command(const struct cmd *cmd)
{
	printf("\t%s) arguments=(\n", cmd->name);
	print_options(cmd->options);
	print_operand("1", cmd->operands[0]);
	print_operand("*", cmd->operands[1]);
	printf("\t) ;;\n");
}

static const char functions[] =
	"\n"
	"_frem_offer() { # names|checkpoints, options for compadd\n"
	"\tlocal -a found\n"
	"\tfound=(${(f)\"$(timeout 2 $_frem_line[1] -qq completion $1 -- $_frem_line 2>/dev/null)\"})\n"
	"\tcompadd \"${(@)argv[2,-1]}\" -a found\n"
	"}\n"
	"_frem_pids() { compadd \"$@\" -- /proc/<->(N:t) }\n"
	"_frem_names() { _frem_offer names \"$@\" }\n"
	"_frem_checkpoints() { _frem_offer checkpoints \"$@\" }\n"
	"\n"
	"_frem() {\n"
	"\tlocal -a _frem_line commands global arguments\n"
	"\tlocal curcontext=$curcontext state line\n"
	"\tlocal -A opt_args\n"
	"\t_frem_line=(\"${(@)words[1,CURRENT-1]}\")\n";

static const char ending[] = "\tesac\n"
			     "\t_arguments -S : $global $arguments\n"
			     "}\n"
			     "\n"
			     "if [[ $funcstack[1] == _frem ]]; then\n"
			     "\t_frem \"$@\"\n"
			     "else\n"
			     "\tcompdef _frem frem\n"
			     "fi\n";

void completion_zsh(void)
{
	printf("#compdef frem\n# zsh completion for frem; made by 'frem completion zsh'\n%s",
	       functions);
	printf("\tcommands=(\n");
	for (const struct cmd *cmd = cmd_table; cmd->name; cmd++) {
		if (!cmd->help)
			continue;
		printf("\t\t'%s:", cmd->name);
		print_text(cmd->help, "\n");
		printf("'\n");
	}
	printf("\t\t'help:show help on a command'\n\t)\n\tglobal=(\n");
	print_options(options_global);
	printf("\t)\n"
	       "\t_arguments -C -S : $global '1:command:->command' '*::argument:->arguments' && return\n"
	       "\tcase $state in\n"
	       "\tcommand) _describe command commands; return ;;\n"
	       "\targuments) ;;\n"
	       "\t*) return 1 ;;\n"
	       "\tesac\n"
	       "\tcase $words[1] in\n"
	       "\thelp) _describe command commands; return ;;\n");
	for (const struct cmd *cmd = cmd_table; cmd->name; cmd++)
		if (cmd->help)
			print_command(cmd);
	fputs(ending, stdout);
}

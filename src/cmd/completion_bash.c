/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>

#include "cmd.h"
#include "completion.h"
#include "help.h"

/* A row: command, empty for all of them; what is matched; kind; words. */
static void print_options(const char *command, const struct option_row *rows)
{
	for (; rows->name; rows++) {
		printf("%s|--%s", command, rows->name);
		if (rows->letter)
			printf(" -%c", rows->letter);
		printf("|%s|%s\n", help_kind(rows->kind), rows->words ? rows->words : "");
	}
}

static void print_table(void)
{
	printf("_frem_table='\n");
	print_options("", options_global);
	printf("help|operand1|command|\n");
	for (const struct cmd *cmd = cmd_table; cmd->name; cmd++) {
		if (!cmd->help)
			continue;
		printf("%s|command||\n", cmd->name);
		print_options(cmd->name, cmd->options);
		for (int i = 0; i < 2; i++)
			printf("%s|operand%d|%s|\n", cmd->name, i + 1, help_kind(cmd->operands[i]));
	}
	printf("'\n");
}

/*
 * Words are taken from the line itself: how bash has split it depends on COMP_WORDBREAKS, which
 * usually has '=' and '@' in it, and what is offered must leave out what is before the last of
 * them.
 */
static const char functions[] =
	"\n"
	"# What the table says of $2 within the command $1: into kind and words\n"
	"_frem_find() {\n"
	"\tlocal command names\n"
	"\twhile IFS='|' read -r command names kind words; do\n"
	"\t\t[[ ( -z $command || $command == \"$1\" ) && \" $names \" == *\" $2 \"* ]] && return\n"
	"\tdone <<<\"$_frem_table\"\n"
	"\tkind= words=\n"
	"\treturn 1\n"
	"}\n"
	"\n"
	"_frem_commands() {\n"
	"\tlocal command names rest\n"
	"\twhile IFS='|' read -r command names rest; do\n"
	"\t\t[[ $names == command ]] && found+=(\"$command\")\n"
	"\tdone <<<\"$_frem_table\"\n"
	"}\n"
	"\n"
	"_frem_options() { # COMMAND\n"
	"\tlocal command names rest\n"
	"\twhile IFS='|' read -r command names rest; do\n"
	"\t\t[[ ( -z $command || $command == \"$1\" ) && $names == --* ]] && found+=(\"${names%% *}\")\n"
	"\tdone <<<\"$_frem_table\"\n"
	"}\n"
	"\n"
	"# What there is of kind $1, into found; the rest is the line so far\n"
	"_frem_values() {\n"
	"\tcase $1 in\n"
	"\tcommand) _frem_commands ;;\n"
	"\tname | checkpoint)\n"
	"\t\tmapfile -t found < <(timeout 2 \"$2\" -qq completion \"$1s\" -- \"${@:2}\" 2>/dev/null) ;;\n"
	"\tpid) mapfile -t found < <(cd /proc && printf '%s\\n' [0-9]*) ;;\n"
	"\tfile | directory | store | program)\n"
	"\t\tlocal -A action=([file]=-f [directory]=-d [store]=-d [program]=-c)\n"
	"\t\tmapfile -t found < <(compgen \"${action[$1]}\" -- \"$cur\")\n"
	"\t\t[[ $1 == program ]] || compopt -o filenames 2>/dev/null ;;\n"
	"\tesac\n"
	"}\n"
	"\n"
	"_frem() {\n"
	"\tlocal line=${COMP_LINE:0:COMP_POINT} cur= command= option= plain= operands=0 word\n"
	"\tlocal kind= words= prefix= breaks=${COMP_WORDBREAKS//[^=@:]/}\n"
	"\tlocal -a before=() found=()\n"
	"\tread -ra before <<<\"$line\"\n"
	"\tif [[ $line != *[[:blank:]] ]]; then\n"
	"\t\tcur=${before[-1]}\n"
	"\t\tunset 'before[-1]'\n"
	"\tfi\n"
	"\tfor word in \"${before[@]:1}\"; do\n"
	"\t\tif [[ -n $option ]]; then\n"
	"\t\t\toption=\n"
	"\t\telif [[ $word == -- ]]; then\n"
	"\t\t\tplain=1\n"
	"\t\telif [[ -z $plain && $word == -* ]]; then\n"
	"\t\t\t_frem_find \"$command\" \"$word\" && [[ $kind != none ]] && option=$word\n"
	"\t\telif [[ -z $command ]]; then\n"
	"\t\t\tcommand=$word\n"
	"\t\telse\n"
	"\t\t\toperands=$((operands + 1))\n"
	"\t\tfi\n"
	"\tdone\n"
	"\tif [[ -z $option && -z $plain && $cur == --*=* ]]; then\n"
	"\t\toption=${cur%%=*} cur=${cur#*=}\n"
	"\t\t[[ $breaks == *=* ]] || prefix=$option=\n"
	"\tfi\n"
	"\tif [[ -n $option ]]; then\n"
	"\t\t_frem_find \"$command\" \"$option\"\n"
	"\telif [[ -z $plain && $cur == -* ]]; then\n"
	"\t\t_frem_options \"$command\"\n"
	"\telif [[ -z $command ]]; then\n"
	"\t\tkind=command\n"
	"\t\tfound=(help)\n"
	"\telse\n"
	"\t\t_frem_find \"$command\" \"operand$((operands ? 2 : 1))\"\n"
	"\tfi\n"
	"\t_frem_values \"$kind\" \"${before[@]}\"\n"
	"\tfound+=(${words//|/ })\n"
	"\tlocal rest=$cur\n"
	"\t[[ -z $breaks ]] || rest=${cur##*[$breaks]}\n"
	"\tlocal skip=$((${#cur} - ${#rest}))\n"
	"\tCOMPREPLY=()\n"
	"\tfor word in \"${found[@]}\"; do\n"
	"\t\t[[ $word == \"$cur\"* ]] || continue\n"
	"\t\tword=${word:skip}\n"
	"\t\t[[ $kind == name || $kind == checkpoint ]] && printf -v word %q \"$word\"\n"
	"\t\tCOMPREPLY+=(\"$prefix$word\")\n"
	"\tdone\n"
	"}\n"
	"\n"
	"complete -F _frem frem\n";

void completion_bash(void)
{
	printf("# bash completion for frem; made by 'frem completion bash'\n\n");
	print_table();
	fputs(functions, stdout);
}

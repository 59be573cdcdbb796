/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of verbs, the global options, help, and the one place where an error is shown. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cmd.h"
#include "options.h"
#include "stores.h"
#include "ui.h"
#include "units.h"

static const struct cmd commands[] = {
	{"check", cmd_check, "",
	 "say what this machine can do, and what to do about what it cannot", ""},
	{"serve", cmd_serve, "--root DIR --listen ADDR:PORT [--max-object BYTES]",
	 "serve a directory as a store over HTTP",
	 "  --root DIR        an existing directory\n"
	 "  --listen ADDR:PORT\n"
	 "                    the address to listen on; port 0 takes a free one\n"
	 "  --max-object BYTES\n"
	 "                    refuse larger uploads (default: no limit but the disk)\n"},
	{"checkpoint", cmd_checkpoint, "--pid PID --name NAME [options]",
	 "checkpoint a running program into a store and record its touch set",
	 "  --pid PID         the root of the process tree\n"
	 "  --name NAME       the job's name; checkpoints are numbered NAME@1, NAME@2, ...\n"
	 "  --stop            end the program once the checkpoint is in the store\n"
	 "  --window DUR      how long to record its touch set: auto (default), off, or 10s, 2m\n"
	 "  --link RATE       the rate that a restart can expect, for auto: 7MB/s, 200Mbit/s\n"
	 "  --tcp MODE        connections: close (default) or established\n"},
	{"restart", cmd_restart, "NAME[@N] [options]",
	 "restart a program from its checkpoint, fetching its memory while it runs",
	 "  --resume MODE     when the program runs: now (default), touch-set or full\n"
	 "  --record WHEN     record a touch set: auto (default), off, or a time like 30s\n"
	 "  --detach          leave the program running in the background\n"
	 "  --stats FILE      write times and counters as JSON\n"
	 "  --tcp MODE        connections: close or established (default: as checkpointed)\n"},
	{"lazy-pages", cmd_lazy_pages, "-D DIR [-W DIR] [options]",
	 "bring memory into what 'criu restore --lazy-pages' restores from a directory",
	 "  -D, --images-dir DIR\n"
	 "                    the image (default: .)\n"
	 "  -W, --work-dir DIR\n"
	 "                    where the socket, the log and the pid file are (default: as -D)\n"
	 "  -o, --log-file FILE\n"
	 "                    the log (default: standard error); '-' is standard output\n"
	 "  -vN, --verbosity=N\n"
	 "                    how much is logged: 1 to 4 (default: 2)\n"
	 "  -d, --daemon      go into the background once listening\n"
	 "  --pidfile FILE    with -d: the daemon's pid\n"
	 "  --status-fd FD    write a NUL byte there once listening\n"},
	{"list", cmd_list, "[NAME]", "list the checkpoints that a store holds", ""},
	{"show", cmd_show, "NAME[@N]", "show all about a checkpoint and its touch set", ""},
	{"plan", cmd_plan, "[NAME[@N]] --mtbf DUR --interval DUR --link RATE ...",
	 "say what fast restarts gain a job that fails now and then, and how often to checkpoint",
	 "  --mtbf DUR        mean time between failures of one process\n"
	 "  --interval DUR    work between two checkpoints\n"
	 "  --link RATE[,RTT] what a restart fetches over: 7MB/s,200ms\n"
	 "  --parallel N      processes that fail and restart together (default: 1)\n"
	 "  --image SIZE      what a classic restart fetches (default: as NAME was stored)\n"
	 "  --touch SIZE      what a fast restart fetches first (default: NAME's touch set)\n"
	 "  --tracking DUR    what tracking costs a checkpoint (default: as NAME's did)\n"
	 "  --pause DUR       how long a checkpoint stops the job (default: image at 1 GB/s)\n"
	 "  --overlap DUR     what fetching beside it costs a restarted job (default: 0)\n"
	 "  --downtime DUR    from a failure until a restart begins (default: 0)\n"},
	{"remove", cmd_remove, "NAME@N... | --all NAME...", "remove checkpoints from a store",
	 "  --all             all checkpoints of each NAME, and what interrupted uploads left\n"},
};

#define N_COMMANDS (sizeof(commands) / sizeof(*commands))

static const char global_options[] =
	"  --store URL       the store: a directory, file://DIR or http[s]://HOST:PORT; given more\n"
	"                    than once, replicas (default: $FREM_STORE)\n"
	"  --store-timeout DUR\n"
	"                    how long a store may be unreachable (default: 60s; 1s at first)\n"
	"  --json            print the result, or the error, as JSON\n"
	"  -v, --verbose     say more; twice: everything\n"
	"  -h, --help        show this help\n"
	"  --version         show the version\n";

static const struct cmd *find_command(const char *name, struct frem_error *err)
{
	for (size_t i = 0; i < N_COMMANDS; i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	frem_fail(err, FREM_USAGE, 0, "unknown command '%s'", name);
	frem_hint(err, 0, "'frem --help' lists the commands");
	return NULL;
}

static void print_help(void)
{
	ui_print("frem: fast restart from a checkpoint over a network\n\n"
		 "usage: frem [--store URL] [--json] [-v] COMMAND ...\n\ncommands:\n");
	for (size_t i = 0; i < N_COMMANDS; i++)
		ui_print("  %-16s  %s\n", commands[i].name, commands[i].help);
	ui_print("\noptions, before or after the command:\n%s\n", global_options);
	ui_print("'frem COMMAND --help' says more about a command.\n");
}

static void print_command_help(const struct cmd *cmd)
{
	ui_print("usage: frem [--store URL] [--json] [-v] %s%s%s\n\n%s\n\noptions:\n%s%s",
		 cmd->name, *cmd->usage ? " " : "", cmd->usage, cmd->help, cmd->options,
		 global_options);
}

/* `verb` may be NULL: the whole. */
static int help(const char *verb, struct frem_error *err)
{
	const struct cmd *cmd;

	if (!verb) {
		print_help();
		return 0;
	}
	cmd = find_command(verb, err);
	if (!cmd)
		return -EINVAL;
	print_command_help(cmd);
	return 0;
}

static int settle_store_timeout(const struct globals *g, struct cmd_context *c,
				struct frem_error *err)
{
	uint64_t ms;
	int r;

	if (!g->store_timeout)
		return 0;
	r = units_parse_duration(g->store_timeout, &ms, err);
	if (r < 0)
		return frem_context(err, r, "--store-timeout");
	c->store_timeout_ms = ms < UINT_MAX ? (unsigned)ms : UINT_MAX;
	c->store_timeout_set = true;
	return 0;
}

static int run(const struct globals *g, int argc, char **argv, struct frem_error *err)
{
	struct cmd_context c = {.json = g->json, .verbose = g->verbose};
	_cleanup_free_ char *stores = NULL;
	const struct cmd *cmd;
	int r;

	if (argc < 2) {
		frem_fail(err, FREM_USAGE, 0, "no command given");
		return frem_hint(err, -EINVAL, "'frem --help' lists the commands");
	}
	cmd = find_command(argv[1], err);
	if (!cmd)
		return -EINVAL;
	r = stores_text(g, getenv("FREM_STORE"), &stores, err);
	c.store = stores;
	if (r == 0)
		r = settle_store_timeout(g, &c, err);
	return r < 0 ? r : cmd->run(&c, argc - 1, argv + 1, err);
}

/*
 * A standard stream that was closed would be taken by the next file opened, and what is printed
 * would go into it. /dev/null for reading takes its place, so that printing fails as it should.
 */
static void open_standard_streams(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDONLY) < 0)
			_exit(FREM_FAILED);
}

int main(int argc, char **argv)
{
	struct globals g = {0};
	struct frem_error err = {0};
	bool json;
	int r;

	open_standard_streams();
	signal(SIGPIPE, SIG_IGN);
	r = options_globals(&argc, argv, &g, &err);
	ui_init(g.verbose);
	json = g.json;
	if (r == 0 && g.version) {
		ui_print("frem " FREM_VERSION "\n");
		json = false;
	} else if (r == 0 && (g.help || (argc > 1 && strcmp(argv[1], "help") == 0))) {
		int at = argc > 1 && strcmp(argv[1], "help") == 0 ? 2 : 1;

		r = help(argc > at ? argv[at] : NULL, &err);
		json = json && r < 0;
	} else if (r == 0) {
		r = run(&g, argc, argv, &err);
	}
	return ui_finish(r, json, &err);
}

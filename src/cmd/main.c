/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From the command line to the verb, and the one place where an error is shown. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cmd.h"
#include "help.h"
#include "options.h"
#include "stores.h"
#include "ui.h"
#include "units.h"

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
	cmd = cmd_find(argv[1], err);
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

		r = help(argc > at ? argv[at] : NULL, json, &err);
	} else if (r == 0) {
		r = run(&g, argc, argv, &err);
	}
	return ui_finish(r, json, &err);
}

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
#include "config.h"
#include "help.h"
#include "options.h"
#include "stores.h"
#include "ui.h"
#include "units.h"
#include "version.h"

/* 0 is the default; see ui_init(). */
static int level_of(const struct globals *g)
{
	static const char *const names[] = {"error", "warning", "notice", "info", "debug"};

	for (int i = 0; g->log_level && i < 5; i++)
		if (strcmp(g->log_level, names[i]) == 0)
			return i - 2;
	return g->verbose;
}

static enum ui_colours colours_of(const struct globals *g)
{
	if (!g->color || strcmp(g->color, "auto") == 0)
		return UI_COLOURS_AUTO;
	return strcmp(g->color, "always") == 0 ? UI_COLOURS_ALWAYS : UI_COLOURS_NEVER;
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

static int run(const struct cmd *cmd, const struct globals *g, const struct config *config,
	       int argc, char **argv, struct frem_error *err)
{
	struct cmd_context c = {.json = g->json, .verbose = level_of(g), .config = config};
	_cleanup_free_ char *stores = NULL;
	int r = stores_text(g, getenv("FREM_STORE"), &stores, err);

	c.store = stores;
	if (r == 0)
		r = settle_store_timeout(g, &c, err);
	return r < 0 ? r : cmd->run(&c, argc, argv, err);
}

/* Library rooms look for these, and so do the processes that are started. */
static void settle_environment(const struct globals *g)
{
	if (g->criu)
		setenv("FREM_CRIU", g->criu, 1);
	if (g->run_dir)
		setenv("FREM_RUN_DIR", g->run_dir, 1);
}

/* A variable is weaker than the command line and stronger than a file; so is -v. */
static void prefer_environment(struct globals *g)
{
	static const struct {
		const char *variable;
		int id;
	} all[] = {
		{"FREM_STORE", OPT_STORE},
		{"FREM_CRIU", OPT_CRIU},
		{"FREM_RUN_DIR", OPT_RUN_DIR},
		{"NO_COLOR", OPT_COLOR},
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		const char *value = getenv(all[i].variable);

		if (value && *value)
			options_no_default(g, all[i].id);
	}
	if (g->verbose)
		options_no_default(g, OPT_LOG_LEVEL);
}

/* Reads the configuration, and gives each global option its value before the verb runs. */
static int settle(const struct cmd *cmd, struct globals *g, struct config **ret,
		  struct frem_error *err)
{
	const char *file = g->config_file ? g->config_file : getenv("FREM_CONFIG");
	int r = config_read(file && *file ? file : NULL, ret, err);

	if (r < 0)
		return r;
	prefer_environment(g);
	config_apply(*ret, cmd->name, g);
	ui_init(level_of(g), colours_of(g));
	for (size_t i = 0; config_file(*ret, i); i++)
		log_info("read the configuration '%s'", config_file(*ret, i));
	settle_environment(g);
	return 0;
}

static int settle_and_run(struct globals *g, int argc, char **argv, struct frem_error *err)
{
	_cleanup_config_ struct config *config = NULL;
	const struct cmd *cmd;
	int r;

	if (argc < 2) {
		frem_fail(err, FREM_USAGE, 0, "no command given");
		return frem_hint(err, -EINVAL, "'frem --help' lists the commands");
	}
	cmd = cmd_find(argv[1], err);
	r = cmd ? settle(cmd, g, &config, err) : -EINVAL;
	return r < 0 ? r : run(cmd, g, config, argc - 1, argv + 1, err);
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
	bool asked;
	int r;

	open_standard_streams();
	signal(SIGPIPE, SIG_IGN);
	r = options_globals(&argc, argv, &g, &err);
	ui_init(level_of(&g), colours_of(&g));
	asked = argc > 1 && strcmp(argv[1], "help") == 0;
	if (r == 0 && g.version)
		r = version(g.json, &err);
	else if (r == 0 && (g.help || asked))
		r = help(argc > 1 + asked ? argv[1 + asked] : NULL, g.json, &err);
	else if (r == 0)
		r = settle_and_run(&g, argc, argv, &err);
	return ui_finish(r, g.json, &err);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* frem serve: the embedded HTTP store, in the foreground until SIGINT or SIGTERM. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "cmd.h"
#include "options.h"
#include "server/server.h"
#include "ui.h"
#include "units.h"

static int take_option(const struct option_row *row, const char *value, void *arg,
		       struct frem_error *err)
{
	struct server_options *o = arg;

	if (row->id == OPT_ROOT)
		o->root = value;
	else if (row->id == OPT_LISTEN)
		o->listen = value;
	else
		return units_parse_number(value, "--max-object", 1, INT64_MAX, &o->max_object, err);
	return 0;
}

static int parse(int argc, char **argv, struct server_options *o, struct frem_error *err)
{
	int r = options_parse(argc, argv, options_serve, take_option, o, err);

	if (r == 0)
		r = options_operands(argc, argv, 0, 0, "", err);
	if (r == 0 && (!o->root || !o->listen))
		r = frem_fail(err, FREM_USAGE, 0, "serve: %s is missing",
			      o->root ? "--listen ADDR:PORT" : "--root DIR");
	return r;
}

static int announce(const struct cmd_context *c, const struct server_options *o,
		    const struct server *s, struct frem_error *err)
{
	int r;

	log_notice("serving %s on %s", o->root, server_url(s));
	if (!c->json)
		return 0;
	r = ui_answer(
		json_pack("{s:s, s:o}", "url", server_url(s), "root", ui_json_string(o->root)),
		err);
	return r < 0 ? r : ui_answer_now(err);
}

int cmd_serve(struct cmd_context *c, int argc, char **argv, struct frem_error *err)
{
	_cleanup_server_ struct server *s = NULL;
	struct server_options o = {0};
	sigset_t end, old;
	int r, sig;

	r = parse(argc, argv, &o, err);
	if (r < 0)
		return r;
	file_raise_nofile();
	/* before the server's threads start: they inherit the mask, so the signal comes here */
	sigemptyset(&end);
	sigaddset(&end, SIGINT);
	sigaddset(&end, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &end, &old);
	r = server_start(&o, &s, err);
	if (r < 0)
		frem_context(err, r, "serve");
	else
		r = announce(c, &o, s, err);
	if (r == 0)
		sigwait(&end, &sig);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return r;
}

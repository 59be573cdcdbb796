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

enum option_id { OPT_ROOT = 1, OPT_LISTEN, OPT_MAX_OBJECT };

static const struct option longs[] = {{"root", required_argument, NULL, OPT_ROOT},
				      {"listen", required_argument, NULL, OPT_LISTEN},
				      {"max-object", required_argument, NULL, OPT_MAX_OBJECT},
				      {NULL, 0, NULL, 0}};

static int parse_bytes(const char *text, uint64_t *ret, struct frem_error *err)
{
	unsigned long long v;
	char *end;

	errno = 0;
	v = strtoull(text, &end, 10);
	if (errno || *end || *text < '0' || *text > '9' || v == 0)
		return frem_fail(err, FREM_USAGE, 0, "--max-object '%s': not a number of bytes",
				 text);
	*ret = v;
	return 0;
}

static int parse(int argc, char **argv, struct server_options *o, struct frem_error *err)
{
	int id, r = 0;

	options_start();
	while (r == 0 && (id = options_next(argc, argv, "", longs, err)) != 0) {
		if (id < 0)
			return id;
		if (id == OPT_ROOT)
			o->root = optarg;
		else if (id == OPT_LISTEN)
			o->listen = optarg;
		else
			r = parse_bytes(optarg, &o->max_object, err);
	}
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

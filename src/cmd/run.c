/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * frem run: starts a job, or restarts it from its latest checkpoint that can be restarted, and
 * checkpoints it while it runs. The same command line does both, so that it can stand in a batch
 * script or a unit file as it is.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "checkpoint.h"
#include "checks.h"
#include "interrupt.h"
#include "options.h"
#include "process.h"
#include "run.h"
#include "run_lock.h"
#include "run_namespace.h"
#include "run_store.h"
#include "run_streams.h"
#include "supervise.h"
#include "tcp.h"
#include "ui.h"
#include "units.h"

#define KEEP_MOST 1000000

/* ---- the command line ---- */

static int parse_name(const char *text, struct run_options *o, struct frem_error *err)
{
	o->name = text;
	return name_check(text, err);
}

static int parse_every(const char *text, struct run_options *o, struct frem_error *err)
{
	int r = units_parse_duration(text, &o->every_ms, err);

	if (r == 0 && o->every_ms == 0)
		r = frem_fail(err, FREM_USAGE, 0, "'%s' is no time between two checkpoints", text);
	return frem_context(err, r, "--every");
}

static int parse_keep(const char *text, struct run_options *o, struct frem_error *err)
{
	uint64_t v;
	int r = units_parse_number(text, "--keep", 1, KEEP_MOST, &v, err);

	if (r == 0)
		o->keep = (unsigned)v;
	return r;
}

static int parse_tcp(const char *text, struct run_options *o, struct frem_error *err)
{
	int r = tcp_parse(text, &o->checkpoint.tcp, err);

	o->restart.tcp = o->checkpoint.tcp;
	o->restart.tcp_given = true;
	return r;
}

static int take_option(const struct option_row *row, const char *value, void *arg,
		       struct frem_error *err)
{
	struct run_options *o = arg;

	switch (row->id) {
	case OPT_NAME:
		return parse_name(value, o, err);
	case OPT_EVERY:
		return parse_every(value, o, err);
	case OPT_KEEP:
		return parse_keep(value, o, err);
	case OPT_CLEAN:
		o->clean = value != NULL;
		return 0;
	case OPT_CHECKPOINT_ON_TERM:
		o->checkpoint_on_term = value != NULL;
		return 0;
	case OPT_WINDOW:
		return checkpoint_parse_window(value, &o->checkpoint, err);
	case OPT_LINK:
		return frem_context(err, units_parse_rate(value, &o->checkpoint.link, err),
				    "--link");
	case OPT_RESUME:
		return restart_parse_mode(value, &o->restart.mode, err);
	case OPT_FILES:
		return files_parse(value, &o->restart.files, err);
	case OPT_TCP:
		return parse_tcp(value, o, err);
	case OPT_STATS:
		o->stats = value;
		return 0;
	default:
		return -EINVAL;
	}
}

/* The command stands behind "--", so that its options are never taken for ours. Returns how many
 * arguments are before it. */
static int cut_command(int argc, char **argv, struct run_options *o)
{
	int i = 1;

	while (i < argc && strcmp(argv[i], "--") != 0)
		i++;
	if (i < argc && i + 1 < argc)
		o->command = &argv[i + 1];
	argv[i] = NULL;
	return i;
}

static int parse(int argc, char **argv, struct run_options *o, struct frem_error *err)
{
	int own = cut_command(argc, argv, o);
	int r = options_parse(own, argv, options_run, take_option, o, err);

	if (r < 0)
		return r;
	if (!o->command || optind < own) {
		frem_fail(err, FREM_USAGE, 0, "no command given");
		return frem_hint(err, -EINVAL,
				 "it stands behind '--': frem run --name NAME -- CMD...");
	}
	if (!o->name)
		return frem_fail(err, FREM_USAGE, 0, "--name is missing");
	if (!o->cmd->store) {
		r = frem_fail(err, FREM_USAGE, 0, "no store given");
		frem_hint(err, r, "name it with --store URL or in FREM_STORE");
	}
	return r;
}

/* ---- inside ---- */

/* The job keeps the environment that frem was given; frem's helpers have their run directories in
 * that of the outside, which outlives the namespace. */
static int set_environment(struct run *run, struct frem_error *err)
{
	size_t n = 0;

	while (environ[n])
		n++;
	run->environment = calloc(n + 1, sizeof(*run->environment));
	if (!run->environment)
		return frem_oom(err);
	memcpy(run->environment, environ, n * sizeof(*environ));
	if (setenv("FREM_RUN_DIR", rundir_path(run->dir), 1) < 0)
		return frem_oom(err);
	return 0;
}

/* A signal that would end frem breaks off what is under way; what is meant for the job waits. */
static void let_signals_interrupt(void)
{
	static const int ending[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGCHLD, SIGCONT, SIGWINCH};
	sigset_t set;

	interrupt_catch();
	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(ending) / sizeof(ending[0]); i++)
		sigaddset(&set, ending[i]);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

/* Whether an earlier checkpoint may do where this one does not. */
static bool is_its_fault(const struct frem_error *err)
{
	return err->code == FREM_DAMAGED || err->code == FREM_REFUSED ||
	       err->code == FREM_NOT_FOUND;
}

static int follow_restart(struct run *run, uint32_t seq, struct frem_error *err)
{
	int r;

	let_signals_interrupt();
	r = run_restart(run, seq, err);
	if (r == 0) {
		if (run->latest < seq)
			run->latest = seq;
		r = run_loop(run, err);
	}
	if (r < 0) {
		restart_job_free(run->restart);
		run->restart = NULL;
	}
	return r;
}

static void pass_over(struct run *run, uint32_t seq, uint32_t next, const struct frem_error *err)
{
	const char *before = run->passed_over ? run->passed_over : "";
	char *all = NULL;

	if (asprintf(&all, "%s%scheckpoint %s@%u cannot be restarted: %s; %s@%u is taken instead",
		     before, *before ? "\n" : "", run->o->name, seq, err->text, run->o->name,
		     next) < 0)
		return;
	free(run->passed_over);
	run->passed_over = all;
}

/* The latest checkpoint that can be restarted: what is wrong with those after it is said. */
static int restart_and_follow(struct run *run, const struct run_candidates *c,
			      struct frem_error *err)
{
	int r = -ENOENT;

	for (size_t i = 0; i < c->n; i++) {
		frem_error_reset(err);
		r = follow_restart(run, c->seqs[i], err);
		if (r >= 0 || !is_its_fault(err))
			return r;
		if (i + 1 < c->n)
			pass_over(run, c->seqs[i], c->seqs[i + 1], err);
	}
	run_say_passed_over(run);
	frem_hint(err, r, "'frem remove --all %s' lets the next run start from the beginning",
		  run->o->name);
	return frem_context(err, r, "no checkpoint of '%s' can be restarted", run->o->name);
}

static int start_and_follow(struct run *run, const struct run_candidates *c, struct frem_error *err)
{
	int r;

	if (c->ended)
		log_notice("'%s' has ended well after checkpoint %s@%u: it starts from the "
			   "beginning",
			   run->o->name, run->o->name, c->ended);
	r = run_watch_signals(run, err);
	if (r == 0)
		r = run_start(run, err);
	return r < 0 ? r : run_loop(run, err);
}

/* Of a job that has ended well no later run may go on from the middle. */
static void note_end(const struct run *run)
{
	const struct run_options *o = run->o;
	struct frem_error err = {0};

	if (o->clean && run_store_clean(o->cmd, o->name, &err) == 0)
		return;
	if (err.code)
		log_warning("removing the checkpoints of '%s': %s, ignoring", o->name, err.text);
	frem_error_reset(&err);
	if (run->latest && run_store_ended(o->cmd, o->name, run->latest, &err) < 0)
		log_warning("noting the end of '%s': %s, ignoring: the next run would go on from "
			    "checkpoint %s@%u",
			    o->name, err.text, o->name, run->latest);
}

static json_t *totals_json(const struct run *run, int status)
{
	const struct run_totals *t = &run->totals;
	json_t *out =
		json_pack("{s:s, s:b, s:i, s:i, s:I, s:f, s:f, s:f, s:I}", "name", run->o->name,
			  "stopped", run->stopped, "checkpoints", (int)t->checkpoints,
			  "failed_checkpoints", (int)t->failed, "latest", (json_int_t)run->latest,
			  "frozen_ms", t->frozen_ms, "frozen_most_ms", t->frozen_most_ms,
			  "upload_ms", t->upload_ms, "stored_bytes", (json_int_t)t->stored_bytes);

	if (!out)
		return NULL;
	json_object_set_new(out, "ran_ms", json_real(clock_ms_since(run->started_ns)));
	json_object_set_new(out, "restarted_from",
			    t->restarted_from ? json_integer(t->restarted_from) : json_null());
	json_object_set_new(out, "resumed_ms",
			    t->restarted_from ? json_real(t->resumed_ms) : json_null());
	json_object_set_new(out, "status", json_integer(status));
	return out;
}

static int account(const struct run *run, int status, struct frem_error *err)
{
	json_t *json = totals_json(run, status);
	int r = 0;

	if (!json)
		return frem_oom(err);
	if (run->o->stats && json_dump_file(json, run->o->stats, JSON_INDENT(2)) < 0)
		log_warning("statistics: writing '%s': %s, ignoring: the job is not affected",
			    run->o->stats, strerror(errno));
	if (run->o->cmd->json)
		r = ui_answer(json, err);
	else
		json_decref(json);
	return r < 0 ? r : status;
}

static int follow(struct run *run, struct frem_error *err)
{
	struct run_candidates c = {0};
	int r = run_store_look(run->o->cmd, run->o->name, &c, err);

	run->highest_before = c.highest;
	if (r == 0 && c.n)
		run->latest = c.seqs[0];
	if (r == 0)
		r = interrupt_check(err);
	if (r == 0)
		r = c.n ? restart_and_follow(run, &c, err) : start_and_follow(run, &c, err);
	run_candidates_done(&c);
	return r;
}

static int inside(void *arg, struct frem_error *err)
{
	struct run *run = arg;
	int r = set_environment(run, err);

	if (r < 0)
		return r;
	run_streams_reopen(run->outputs);
	let_signals_interrupt();
	r = interrupt_explain(follow(run, err), err);
	if (r == -EINTR && run->latest && run->o->checkpoint_on_term &&
	    interrupt_signal() == SIGTERM) {
		/* before it ran: the checkpoint that it was to go on from is still the latest */
		frem_error_reset(err);
		r = RUN_STOPPED;
	}
	if (r == 0)
		note_end(run);
	run_streams_catch_up();
	return r < 0 ? frem_context(err, r, "run of '%s'", run->o->name) : account(run, r, err);
}

/* ---- outside ---- */

static int run_outside(struct run *run, struct frem_error *err)
{
	struct namespace_plan plan = {.inside = inside, .arg = run, .json = run->o->cmd->json};
	_cleanup_rundir_ struct rundir *dir = NULL;
	_cleanup_close_ int lock = -1;
	int r = rundir_new(NULL, &dir, err);

	if (r == 0)
		r = run_lock_take(dir, run->o->cmd->store, run->o->name, &lock, err);
	if (r < 0)
		return r;
	run->dir = dir;
	r = namespace_run(&plan, err);
	run_streams_catch_up();
	return r;
}

int cmd_run(struct cmd_context *c, int argc, char **argv, struct frem_error *err)
{
	struct run_options o = {
		.cmd = c,
		.checkpoint = {.window = WINDOW_AUTO, .tcp = CRIU_TCP_CLOSE},
		/* it would keep memory back, and checkpoints wait for that */
		.restart = {.record = PAGER_RECORD_OFF},
	};
	struct criu_program criu;
	struct run run = {.o = &o, .started_ns = clock_ns(), .signals = -1};
	int r = parse(argc, argv, &o, err);

	if (r == 0)
		r = process_need_root(err);
	if (r == 0)
		r = check_need(check_privileges, err);
	if (r == 0)
		r = criu_find(&criu,
			      err); /* a job that could never be checkpointed is not started */
	if (r < 0)
		return r;
	sigprocmask(SIG_SETMASK, NULL, &run.mask);
	r = run_outside(&run, err);
	if (r >= 0)
		_exit(r); /* what there was to say was said inside */
	return frem_context(err, r, "run of '%s'", o.name);
}

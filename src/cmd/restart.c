/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * frem restart: fetch, CRIU restore, and the time until the job's memory is all in.
 *
 * In the foreground this process becomes the job's parent. With --detach a child of it does all the
 * work, reports how the restart went, and stays until all memory is in.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "cmd.h"
#include "find_checkpoint.h"
#include "interrupt.h"
#include "options.h"
#include "record.h"
#include "restart_job.h"
#include "supervise.h"
#include "tcp.h"
#include "ui.h"
#include "units.h"

#define RECORD_MOST_MS UINT64_C(3600000)

int restart_parse_mode(const char *text, enum pager_mode *ret, struct frem_error *err)
{
	static const struct {
		const char *name;
		enum pager_mode mode;
	} modes[] = {{"now", PAGER_NOW}, {"touch-set", PAGER_TOUCH_SET}, {"full", PAGER_FULL}};

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (!strcmp(text, modes[i].name)) {
			*ret = modes[i].mode;
			return 0;
		}
	}
	return frem_fail(err, FREM_USAGE, 0, "--resume '%s': not one of now, touch-set, full",
			 text);
}

static int parse_record(const char *text, struct restart_options *o, struct frem_error *err)
{
	uint64_t ms;

	if (!strcmp(text, "auto")) {
		o->record = PAGER_RECORD_AUTO;
		return 0;
	}
	if (!strcmp(text, "off")) {
		o->record = PAGER_RECORD_OFF;
		return 0;
	}
	if (units_parse_duration(text, &ms, NULL) < 0 || ms == 0 || ms > RECORD_MOST_MS)
		return frem_fail(err, FREM_USAGE, 0,
				 "--record '%s': neither 'auto', 'off' nor a duration like 10s, "
				 "of at most 1h",
				 text);
	o->record = PAGER_RECORD_FOR;
	o->record_ms = (unsigned)ms;
	return 0;
}

static int take_option(const struct option_row *row, const char *value, void *arg,
		       struct frem_error *err)
{
	struct restart_options *o = arg;

	switch (row->id) {
	case OPT_RESUME:
		return restart_parse_mode(value, &o->mode, err);
	case OPT_DETACH:
		o->detach = value != NULL;
		return 0;
	case OPT_STATS:
		o->stats = value;
		return 0;
	case OPT_TCP:
		o->tcp_given = true;
		return tcp_parse(value, &o->tcp, err);
	case OPT_FILES:
		return files_parse(value, &o->files, err);
	case OPT_RECORD:
		return parse_record(value, o, err);
	default:
		return -EINVAL;
	}
}

static int parse(int argc, char **argv, struct restart_options *o, struct frem_error *err)
{
	int r = options_parse(argc, argv, options_restart, take_option, o, err);

	if (r == 0)
		r = options_operands(argc, argv, 1, 1, "NAME[@N]", err);
	if (r == 0 && o->record == PAGER_RECORD_FOR && o->mode != PAGER_NOW)
		r = frem_fail(err, FREM_USAGE, 0,
			      "--record for a time goes with --resume now only: else memory is in "
			      "place before the program can touch it");
	return r < 0 ? r : name_parse(argv[optind], &o->id, err);
}

static json_t *answer(const struct checkpoint_name *id, pid_t root, double resumed_ms)
{
	return json_pack("{s:s, s:I, s:I, s:f}", "name", id->name, "seq", (json_int_t)id->seq,
			 "pid", (json_int_t)root, "resumed_ms", resumed_ms);
}

/* Returns the job's exit status. */
static int restart_foreground(const struct cmd_context *c, const struct restart_options *o,
			      uint64_t started, struct frem_error *err)
{
	_cleanup_restart_job_ struct restart_job *job = NULL;
	json_t *json;
	int r, status;

	supervise_hold_signals();
	r = restart_job_new(o, started, &job, err);
	if (r == 0)
		r = restart_job_restore(job, err);
	ui_progress_done();
	if (r < 0)
		return r;
	status = supervise_job(job, err);
	if (status < 0 || !c->json)
		return status;
	json = answer(&job->id, job->root, job->resumed_ms);
	json_object_set_new(json, "status", json_integer(status));
	r = ui_answer(json, err);
	return r < 0 ? r : status;
}

/* ---- --detach ---- */

/* What the process that does the work tells the one that the user waits for. */
struct detach_report {
	int result;
	struct frem_error err;
	struct checkpoint_name id;
	pid_t root;
	double resumed_ms;
};

static _Noreturn void restart_background(const struct restart_options *o, uint64_t started,
					 int report_fd)
{
	struct detach_report report = {0};
	struct restart_job *job = NULL;
	int r;

	setsid();
	report.result = restart_job_new(o, started, &job, &report.err);
	if (report.result == 0)
		report.result = restart_job_restore(job, &report.err);
	ui_progress_done();
	if (job) {
		report.id = job->id;
		report.root = job->root;
		report.resumed_ms = job->resumed_ms;
	}
	if (report.result < 0) {
		/* clean up first: when the user hears of it, it is over */
		restart_job_free(job);
		file_write_all(report_fd, &report, sizeof(report));
		_exit(1);
	}
	file_write_all(report_fd, &report, sizeof(report));
	close(report_fd);
	file_let_go_of_streams(); /* the job has its own by now */
	r = supervise_drain(job, &report.err);
	if (r >= 0)
		record_here(job);
	restart_job_free(job);
	_exit(r < 0);
}

static int answer_detached(const struct cmd_context *c, const struct detach_report *report,
			   struct frem_error *err)
{
	if (!c->json) {
		ui_print("%s@%u runs as process %d\n", report->id.name, report->id.seq,
			 (int)report->root);
		return 0;
	}
	return ui_answer(answer(&report->id, report->root, report->resumed_ms), err);
}

/* Waits for the report; a Ctrl-C meant for this process is passed on to the one that works. */
static int await_report(pid_t worker, int fd, struct detach_report *ret, struct frem_error *err)
{
	size_t got = 0;

	while (got < sizeof(*ret)) {
		ssize_t n = read(fd, (char *)ret + got, sizeof(*ret) - got);

		if (n < 0 && errno == EINTR) {
			kill(worker, interrupted() ? interrupt_signal() : SIGCONT);
			continue;
		}
		if (n <= 0)
			return frem_fail(err, FREM_FAILED, 0, "the restarting process died");
		got += (size_t)n;
	}
	if (ret->result < 0)
		*err = ret->err;
	return ret->result;
}

static int restart_detached(const struct cmd_context *c, const struct restart_options *o,
			    uint64_t started, struct frem_error *err)
{
	struct detach_report report;
	pid_t worker;
	int ends[2], r;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return frem_fail(err, FREM_FAILED, errno, "making a pipe");
	worker = fork();
	if (worker < 0) {
		r = frem_fail(err, FREM_FAILED, errno, "starting a process");
		close(ends[0]);
		close(ends[1]);
		return r;
	}
	if (worker == 0) {
		close(ends[0]);
		restart_background(o, started, ends[1]);
	}
	close(ends[1]);
	r = await_report(worker, ends[0], &report, err);
	close(ends[0]);
	if (r < 0)
		waitpid(worker, NULL, 0);
	return r < 0 ? r : answer_detached(c, &report, err);
}

int cmd_restart(struct cmd_context *c, int argc, char **argv, struct frem_error *err)
{
	struct restart_options o = {.cmd = c, .record = PAGER_RECORD_AUTO};
	uint64_t started = clock_ns();
	char text[CHECKPOINT_TEXT_SIZE];
	int r = parse(argc, argv, &o, err);

	if (r < 0)
		return r;
	interrupt_catch();
	r = o.detach ? restart_detached(c, &o, started, err)
		     : restart_foreground(c, &o, started, err);
	r = interrupt_explain(r, err);
	if (r >= 0)
		return r;
	checkpoint_text(&o.id, text);
	return frem_context(err, r, "restart of '%s'", text);
}

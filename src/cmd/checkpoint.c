/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * frem checkpoint: CRIU dump, upload, tracking, touch set.
 *
 * The program is frozen for the dump only. What is uploaded is CRIU's image in the run directory,
 * while the program runs on and is tracked; the manifest is written last. With --stop the upload
 * happens inside CRIU's post-dump notification, so that the program ends only once the checkpoint
 * is in the store, and runs on if that fails.
 */
#include <errno.h>
#include <getopt.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "checkpoint_job.h"
#include "cmd.h"
#include "find_checkpoint.h"
#include "interrupt.h"
#include "options.h"
#include "tcp.h"
#include "ui.h"
#include "units.h"

#define WINDOW_LEAST_MS UINT64_C(1000)
#define WINDOW_MOST_MS UINT64_C(600000)
#define WINDOW_POLL_MS 50

enum { OPT_PID = 256, OPT_NAME, OPT_STOP, OPT_WINDOW, OPT_LINK, OPT_TCP };

static const struct option longs[] = {
	{"pid", required_argument, NULL, OPT_PID},
	{"name", required_argument, NULL, OPT_NAME},
	{"stop", no_argument, NULL, OPT_STOP},
	{"window", required_argument, NULL, OPT_WINDOW},
	{"link", required_argument, NULL, OPT_LINK},
	{"tcp", required_argument, NULL, OPT_TCP},
	{NULL, 0, NULL, 0},
};

static int parse_pid(const char *text, pid_t *ret, struct frem_error *err)
{
	uint64_t v;
	int r = units_parse_number(text, "--pid", 1, INT32_MAX, &v, err);

	if (r == 0)
		*ret = (pid_t)v;
	return r;
}

static int parse_window(const char *text, struct checkpoint_options *o, struct frem_error *err)
{
	uint64_t ms;

	if (!strcmp(text, "auto")) {
		o->window = WINDOW_AUTO;
		return 0;
	}
	if (!strcmp(text, "off")) {
		o->window = WINDOW_OFF;
		return 0;
	}
	if (units_parse_duration(text, &ms, NULL) < 0 || ms == 0)
		return frem_fail(err, FREM_USAGE, 0,
				 "--window '%s': neither 'auto', 'off' nor a duration like 10s",
				 text);
	o->window = WINDOW_FIXED;
	o->window_ms = ms;
	return 0;
}

static int take_option(int opt, void *arg, struct frem_error *err)
{
	struct checkpoint_options *o = arg;

	switch (opt) {
	case OPT_PID:
		return parse_pid(optarg, &o->pid, err);
	case OPT_NAME:
		o->name = optarg;
		return name_check(optarg, err);
	case OPT_STOP:
		o->stop = true;
		return 0;
	case OPT_WINDOW:
		return parse_window(optarg, o, err);
	case OPT_LINK:
		return frem_context(err, units_parse_rate(optarg, &o->link, err), "--link");
	case OPT_TCP:
		return tcp_parse(optarg, &o->tcp, err);
	default:
		return -EINVAL;
	}
}

static int parse(int argc, char **argv, struct checkpoint_options *o, struct frem_error *err)
{
	int r = options_parse(argc, argv, longs, take_option, o, err);

	if (r == 0)
		r = options_operands(argc, argv, 0, 0, "", err);
	if (r < 0)
		return r;
	if (!o->pid)
		return frem_fail(err, FREM_USAGE, 0, "--pid is missing");
	if (!o->name)
		return frem_fail(err, FREM_USAGE, 0, "--name is missing");
	return 0;
}

/* How long the whole image takes to arrive at the link's rate: what a restart would have to wait.
 */
static uint64_t window_of(const struct checkpoint_options *o, const struct checkpoint_job *job)
{
	uint64_t rate = o->link ? o->link : checkpoint_job_upload_rate(job);
	uint64_t bytes = checkpoint_job_stored_bytes(job), ms;

	if (o->window == WINDOW_FIXED)
		return o->window_ms;
	ms = rate ? bytes / rate * 1000 + bytes % rate * 1000 / rate : WINDOW_MOST_MS;
	if (ms < WINDOW_LEAST_MS)
		return WINDOW_LEAST_MS;
	return ms > WINDOW_MOST_MS ? WINDOW_MOST_MS : ms;
}

/* Waits for the window to close; returns why it did. A signal closes it early, and is used up. */
static const char *watch_window(struct checkpoint_job *job, uint64_t window, bool computed,
				struct progress *progress)
{
	uint64_t pages, elapsed;

	for (;;) {
		struct timespec pause = {.tv_nsec = WINDOW_POLL_MS * (long)NSEC_PER_MSEC};
		enum track_state state = tracker_poll(job->tracker, &pages);

		elapsed = (uint64_t)clock_ms_since(job->resumed_ns);
		if (state == TRACK_SATURATED)
			return "saturated";
		if (state == TRACK_ENDED)
			return "program-ended";
		if (elapsed >= window)
			return computed ? "image-arrived" : "asked";
		if (interrupted()) {
			log_notice("the tracking window is closed early");
			interrupt_clear();
			return "asked";
		}
		progress_report(progress, "tracking", pages * PAGE_BYTES, 0);
		nanosleep(&pause, NULL);
	}
}

static void track_window(struct checkpoint_job *job, const struct checkpoint_options *o,
			 struct progress *progress)
{
	uint64_t window = window_of(o, job);
	struct frem_error err = {0};
	int r;

	tracker_stop(job->tracker, watch_window(job, window, o->window == WINDOW_AUTO, progress));
	r = checkpoint_job_touch(job, window, progress, &err);
	if (r < 0)
		log_warning("storing the touch set: %s, ignoring: a restart of %s@%u will fetch "
			    "without it",
			    err.text, job->id.name, job->id.seq);
}

static json_t *result_json(const struct checkpoint_job *job)
{
	json_t *touch = json_null();
	uint64_t bytes = job->touch ? job->touch->pages * PAGE_BYTES : 0;

	if (job->touch)
		touch = json_pack("{s:I, s:I, s:I, s:I, s:f, s:f, s:s, s:s}", "pages",
				  (json_int_t)job->touch->pages, "bytes", (json_int_t)bytes,
				  "window_ms", (json_int_t)job->touch->info.window_ms, "scans",
				  (json_int_t)job->touch->info.scans, "overhead_ms",
				  job->touch->info.overhead_ms, "frozen_ms",
				  job->touch->info.frozen_ms, "backend", job->touch->info.backend,
				  "ended", job->touch->info.ended);
	return json_pack("{s:s, s:I, s:I, s:I, s:f, s:f, s:o}", "name", job->id.name, "seq",
			 (json_int_t)job->id.seq, "image_bytes",
			 (json_int_t)job->manifest->image_bytes, "stored_bytes",
			 (json_int_t)checkpoint_job_stored_bytes(job), "frozen_ms", job->frozen_ms,
			 "upload_ms", job->upload_ms, "touch", touch);
}

static int checkpoint(struct cmd_context *c, const struct checkpoint_options *o,
		      struct progress *progress, struct frem_error *err)
{
	_cleanup_checkpoint_job_ struct checkpoint_job *job = NULL;
	int r = checkpoint_job_new(c, o, progress, &job, err);

	if (r == 0)
		r = checkpoint_job_dump(job, err);
	if (r == 0 && !o->stop)
		r = checkpoint_job_upload(job, err);
	if (r < 0)
		return r;
	if (!c->json) {
		/* committed: said at once, the window may take long */
		ui_progress_done();
		ui_print("%s@%u\n", job->id.name, job->id.seq);
		fflush(stdout);
	}
	if (job->tracker)
		track_window(job, o, progress);
	return c->json ? ui_answer(result_json(job), err) : 0;
}

int cmd_checkpoint(struct cmd_context *c, int argc, char **argv, struct frem_error *err)
{
	struct checkpoint_options o = {.window = WINDOW_AUTO, .tcp = CRIU_TCP_CLOSE};
	struct progress *progress;
	int r = parse(argc, argv, &o, err);

	if (r < 0)
		return r;
	interrupt_catch();
	progress = ui_progress();
	r = checkpoint(c, &o, progress, err);
	r = interrupt_explain(r, err);
	ui_progress_done();
	return r < 0 ? frem_context(err, r, "checkpoint of process %d", o.pid) : 0;
}

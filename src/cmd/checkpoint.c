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
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "checkpoint.h"
#include "cmd.h"
#include "find_checkpoint.h"
#include "interrupt.h"
#include "options.h"
#include "tcp.h"
#include "touch_report.h"
#include "ui.h"
#include "units.h"

#define WINDOW_LEAST_MS UINT64_C(1000)
#define WINDOW_MOST_MS UINT64_C(600000)

static int parse_pid(const char *text, pid_t *ret, struct frem_error *err)
{
	uint64_t v;
	int r = units_parse_number(text, "--pid", 1, INT32_MAX, &v, err);

	if (r == 0)
		*ret = (pid_t)v;
	return r;
}

int checkpoint_parse_window(const char *text, struct checkpoint_options *o, struct frem_error *err)
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

static int take_option(const struct option_row *row, const char *value, void *arg,
		       struct frem_error *err)
{
	struct checkpoint_options *o = arg;

	switch (row->id) {
	case OPT_PID:
		return parse_pid(value, &o->pid, err);
	case OPT_NAME:
		o->name = value;
		return name_check(value, err);
	case OPT_STOP:
		o->stop = value != NULL;
		return 0;
	case OPT_WINDOW:
		return checkpoint_parse_window(value, o, err);
	case OPT_LINK:
		return frem_context(err, units_parse_rate(value, &o->link, err), "--link");
	case OPT_TCP:
		return tcp_parse(value, &o->tcp, err);
	default:
		return -EINVAL;
	}
}

static int parse(int argc, char **argv, struct checkpoint_options *o, struct frem_error *err)
{
	int r = options_parse(argc, argv, options_checkpoint, take_option, o, err);

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
	/* an upload that was too short to tell is of an image that arrives at once */
	ms = rate ? bytes / rate * 1000 + bytes % rate * 1000 / rate : 0;
	if (ms < WINDOW_LEAST_MS)
		return WINDOW_LEAST_MS;
	return ms > WINDOW_MOST_MS ? WINDOW_MOST_MS : ms;
}

static void track_window(struct checkpoint_job *job)
{
	const struct checkpoint_options *o = job->o;
	struct progress *progress = job->progress;
	const char *limit_reason = o->window == WINDOW_AUTO ? "image-arrived" : "asked";
	struct window_end end = window_wait(job->window, window_of(o, job), limit_reason, progress);
	struct frem_error err = {0};

	if (checkpoint_job_touch(job, &end, progress, &err) < 0)
		log_warning("storing the touch set: %s, ignoring: a restart of %s@%u will fetch "
			    "without it",
			    err.text, job->id.name, job->id.seq);
}

static json_t *touch_json(const struct checkpoint_job *job)
{
	json_t *touch;

	if (!job->touch)
		return json_null();
	touch = touch_set_json(job->touch, job->map->lazy_pages);
	json_object_set_new(touch, "stored_bytes", json_integer((json_int_t)job->touch_bytes));
	json_object_set_new(touch, "upload_ms", json_real(job->touch_upload_ms));
	return touch;
}

static json_t *result_json(const struct checkpoint_job *job)
{
	return json_pack("{s:s, s:I, s:I, s:I, s:f, s:f, s:o}", "name", job->id.name, "seq",
			 (json_int_t)job->id.seq, "image_bytes",
			 (json_int_t)job->manifest->image_bytes, "stored_bytes",
			 (json_int_t)checkpoint_job_stored_bytes(job), "frozen_ms", job->frozen_ms,
			 "upload_ms", job->upload_ms, "touch", touch_json(job));
}

int checkpoint_make(struct checkpoint_job *job,
		    void (*committed)(void *arg, const struct checkpoint_job *job), void *arg,
		    struct frem_error *err)
{
	int r = checkpoint_job_dump(job, err);

	if (r == 0 && !job->o->stop)
		r = checkpoint_job_upload(job, err);
	if (r < 0)
		return r;
	committed(arg, job);
	if (job->window)
		track_window(job);
	return 0;
}

/* Said at once: the window may take long. */
static void say_committed(void *arg, const struct checkpoint_job *job)
{
	const struct cmd_context *c = arg;

	if (c->json)
		return;
	ui_progress_done();
	ui_print("%s@%u\n", job->id.name, job->id.seq);
	fflush(stdout);
}

static int checkpoint(struct cmd_context *c, const struct checkpoint_options *o,
		      struct progress *progress, struct frem_error *err)
{
	_cleanup_checkpoint_job_ struct checkpoint_job *job = NULL;
	int r = checkpoint_job_new(c, o, progress, &job, err);

	if (r == 0)
		r = checkpoint_make(job, say_committed, c, err);
	if (r == 0 && c->json)
		r = ui_answer(result_json(job), err);
	return r;
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

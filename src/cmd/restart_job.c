/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "restart_job.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "checks.h"
#include "criu/image_world.h"
#include "find_checkpoint.h"
#include "format/manifest.h"
#include "interrupt.h"
#include "process.h"
#include "ui.h"
#include "units.h"

#define EVENT_POLL_MS 200 /* how soon a signal and the progress line are looked at */

static const char *const mode_names[] = {
	[PAGER_NOW] = "now", [PAGER_TOUCH_SET] = "touch-set", [PAGER_FULL] = "full"};

/* The store handle must be gone before the pager is forked. */
static int find_number(struct restart_job *job, struct frem_error *err)
{
	_cleanup_store_ struct store *store = NULL;
	int r = checkpoint_open_store(job->o->cmd, &store, err);

	if (r < 0 || job->id.seq)
		return r;
	store_set_interrupt(store, interrupted);
	return checkpoint_latest(store, &job->id, err);
}

int restart_job_new(const struct restart_options *o, uint64_t started_ns, struct restart_job **ret,
		    struct frem_error *err)
{
	_cleanup_restart_job_ struct restart_job *job = calloc(1, sizeof(*job));
	struct pager_options pager = {.store = o->cmd->store,
				      .store_timeout_set = o->cmd->store_timeout_set,
				      .store_timeout_ms = o->cmd->store_timeout_ms,
				      .mode = o->mode,
				      .record = o->record,
				      .record_ms = o->record_ms};
	int r;

	if (!job)
		return frem_oom(err);
	job->o = o;
	job->id = o->id;
	job->started_ns = started_ns;
	job->images_fd = job->work_fd = job->recording_fd = -1;
	r = process_need_root(err);
	if (r == 0)
		r = check_need(check_privileges, err);
	if (r == 0 && o->mode != PAGER_FULL)
		r = check_need(check_userfaultfd, err);
	if (r == 0)
		r = find_number(job, err);
	if (r == 0)
		r = rundir_new(NULL, &job->run, err);
	if (r == 0)
		r = rundir_subdir(job->run, "images", &job->images_fd, err);
	if (r == 0)
		r = rundir_subdir(job->run, "work", &job->work_fd, err);
	if (r < 0)
		return r;
	pager.id = job->id;
	pager.images_fd = job->images_fd;
	pager.work_fd = job->work_fd;
	job->pager_ms = clock_ms_since(started_ns);
	r = pager_start(&pager, &job->pager, err);
	if (r == 0)
		r = criu_find(&job->criu, err); /* while the network is busy */
	if (r == 0)
		*ret = TAKE_PTR(job);
	return r;
}

void restart_job_free(struct restart_job *job)
{
	if (!job)
		return;
	pager_free(job->pager);
	image_rollback_free(job->rollback);
	cleanup_close(&job->images_fd);
	cleanup_close(&job->work_fd);
	cleanup_close(&job->recording_fd);
	rundir_free(job->run);
	free(job);
}

int restart_job_event(struct restart_job *job, int timeout_ms, enum pager_event_type *ret,
		      struct frem_error *err)
{
	struct pager_event event;

	if (!pager_next_event(job->pager, timeout_ms, &event))
		return 0;
	if (event.type == PAGER_EVENT_FAILED) {
		if (err)
			*err = event.err;
		return event.err.errnum ? -event.err.errnum : -EIO;
	}
	if (event.type == PAGER_EVENT_DRAINED)
		job->drained = true;
	if (event.notice[0])
		log_notice("%s", event.notice);
	if (ret)
		*ret = event.type;
	return 1;
}

static void show_progress(const struct restart_job *job)
{
	const struct pager_stats *s = pager_stats(job->pager);

	progress_report(ui_progress(),
			job->o->mode == PAGER_FULL ? "fetching the image"
						   : "fetching the touch set",
			s->bytes_fetched, job->o->mode == PAGER_FULL ? s->bytes_total : 0);
}

static int wait_for(struct restart_job *job, enum pager_event_type want, struct frem_error *err)
{
	for (;;) {
		enum pager_event_type got = PAGER_EVENT_FAILED;
		int r = interrupt_check(err);

		if (r == 0)
			r = restart_job_event(job, EVENT_POLL_MS, &got, err);
		if (r < 0)
			return r;
		if (r > 0 && got == want)
			return 0;
		show_progress(job);
	}
}

/* The pager process has checked the manifest and left its bytes in the work directory. */
static int read_manifest(struct restart_job *job, struct manifest **ret, struct frem_error *err)
{
	_cleanup_buffer_ struct buffer bytes = {0};
	int r = file_read_at(job->work_fd, OBJECT_MANIFEST, MANIFEST_MAX, &bytes);

	if (r < 0)
		return frem_fail(err, FREM_FAILED, -r, "reading the manifest again");
	return manifest_decode(bytes.data, bytes.len, &job->id, ret, err);
}

static void on_rolled_back(void *arg, const char *path, const char *tail, uint64_t bytes)
{
	char size[UNITS_SIZE];

	(void)arg;
	units_bytes(bytes, size);
	log_notice("rolled '%s' back to the checkpoint: %s that came later are kept in '%s'", path,
		   size, tail);
}

static int prepare_files(struct restart_job *job, struct frem_error *err)
{
	char suffix[CHECKPOINT_TEXT_SIZE];

	switch (job->o->files) {
	case FILES_STRICT:
		return image_files_compare(job->images_fd, err);
	case FILES_KEEP:
		return image_files_uncheck(job->images_fd, err);
	default:
		checkpoint_text(&job->id, suffix);
		return image_rollback(job->images_fd, suffix, on_rolled_back, NULL, &job->rollback,
				      err);
	}
}

static int prepare_world(struct restart_job *job, struct frem_error *err)
{
	_cleanup_image_map_ struct image_map *map = NULL;
	int r = image_map_read(job->images_fd, &map, err);

	if (r == 0)
		r = image_world_restorable(job->images_fd, map, err);
	if (r == 0)
		r = image_pids_free(job->images_fd, map, err);
	if (r == 0 && job->o->prepare)
		r = job->o->prepare(job->o->prepare_arg, job->images_fd, err);
	return r < 0 ? r : prepare_files(job, err);
}

static int on_pre_resume(void *arg, pid_t root, struct frem_error *err)
{
	struct restart_job *job = arg;
	int r = interrupt_check(err);

	if (r == 0 && job->o->mode != PAGER_FULL)
		r = pager_restored(job->pager, root, err);
	if (r == 0 && job->o->mode == PAGER_TOUCH_SET)
		r = wait_for(job, PAGER_EVENT_TOUCHED, err);
	if (r == 0)
		r = interrupt_check(err);
	if (r < 0)
		return r;
	ui_progress_done(); /* from here on the terminal is the job's */
	pager_resumed(job->pager);
	return 0;
}

/* CRIU's words for it are no help to who does not know CRIU; they stay below. */
static void name_missing_file(const struct restart_job *job, struct frem_error *err)
{
	struct frem_error ours = {0};
	char path[512];

	if (!err || err->code != FREM_REFUSED ||
	    !image_files_missing(job->images_fd, path, sizeof(path)))
		return;
	frem_fail(&ours, FREM_REFUSED, ENOENT, "the job's file '%s'", path);
	frem_hint(&ours, 0, "files are not in a checkpoint: bring it here, as it was then");
	memcpy(ours.detail, err->detail, sizeof(ours.detail));
	*err = ours;
}

/* Where the pager failed under a restore, its reason is the one that counts. */
static int restore_failed(struct restart_job *job, int r, struct frem_error *err)
{
	struct frem_error cause = {0};
	int e;

	image_rollback_undo(job->rollback);
	do {
		e = restart_job_event(job, 0, NULL, &cause);
	} while (e > 0);
	if (e < 0 && err) {
		*err = cause;
		return e;
	}
	name_missing_file(job, err);
	return r;
}

int restart_job_restore(struct restart_job *job, struct frem_error *err)
{
	_cleanup_manifest_ struct manifest *m = NULL;
	struct criu_restore restore = {
		.images_fd = job->images_fd,
		.work_fd = job->work_fd,
		.lazy = job->o->mode != PAGER_FULL,
		.tcp = job->o->tcp,
		.hooks = {.pre_resume = on_pre_resume, .arg = job},
	};
	int r = wait_for(job, PAGER_EVENT_READY, err);

	if (r == 0)
		r = read_manifest(job, &m, err);
	if (r == 0)
		r = prepare_world(job, err);
	if (r != 0)
		return r;
	if (!job->o->tcp_given)
		restore.tcp =
			m->tcp == MANIFEST_TCP_ESTABLISHED ? CRIU_TCP_ESTABLISHED : CRIU_TCP_CLOSE;
	r = criu_restore(&job->criu, &restore, &job->root, err);
	if (r < 0)
		return restore_failed(job, r, err);
	job->resumed_ms = clock_ms_since(job->started_ns);
	return 0;
}

/* The pager counts from its own start. */
static double since_start(const struct restart_job *job, double pager_ms)
{
	return pager_ms < 0 ? -1 : pager_ms + job->pager_ms;
}

static json_t *stats_json(const struct restart_job *job, const struct frem_error *failure)
{
	const struct pager_stats *s = pager_stats(job->pager);
	json_t *out = json_pack("{s:s, s:I, s:s, s:f, s:f, s:f}", "name", job->id.name, "seq",
				(json_int_t)job->id.seq, "resume_mode", mode_names[job->o->mode],
				"resumed_ms", job->resumed_ms, "touch_set_ms",
				since_start(job, s->touch_set_ms), "drained_ms",
				since_start(job, s->drained_ms));
	const struct {
		const char *name;
		uint64_t value;
	} counts[] = {
		{"bytes_total", s->bytes_total},
		{"bytes_before_resume", s->bytes_before_resume},
		{"bytes_touch", s->bytes_touch},
		{"bytes_fetched", s->bytes_fetched},
		{"pages_total", s->pages_total},
		{"pages_touch", s->pages_touch},
		{"prefetched_used", s->prefetched_used},
		{"demand_faults", s->demand_faults},
		{"frames_retried", s->frames_retried},
		{"recorded_pages", s->recorded_pages},
	};

	for (size_t i = 0; out && i < sizeof(counts) / sizeof(counts[0]); i++)
		json_object_set_new(out, counts[i].name, json_integer((json_int_t)counts[i].value));
	if (out) {
		json_object_set_new(out, "stall_ms", json_real(s->stall_ms));
		json_object_set_new(out, "recorded_ms", json_real(s->recorded_ms));
		json_object_set_new(out, "rtt_ms", json_real(s->rtt_ms));
		json_object_set_new(out, "bandwidth_bps", json_real(s->bandwidth_bps));
	}
	if (out && failure)
		json_object_set_new(out, "error", ui_json_string(failure->text));
	return out;
}

static int write_text(const char *path, int flags, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC | flags, 0644), r;

	if (fd < 0)
		return -errno;
	r = file_write_all(fd, text, strlen(text));
	if (r == 0)
		r = file_write_all(fd, "\n", 1);
	if (close(fd) < 0 && r == 0)
		r = -errno;
	return r;
}

/* A regular file appears whole or not at all; a device or a pipe is written to as it stands. */
static int write_stats_file(const char *path, const char *text)
{
	char temporary[4096];
	struct stat st;
	int r;

	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
		return write_text(path, 0, text);
	r = snprintf(temporary, sizeof(temporary), "%s.tmp-%d", path, getpid());
	if (r >= (int)sizeof(temporary))
		return -ENAMETOOLONG;
	r = write_text(temporary, O_CREAT | O_EXCL, text);
	if (r == 0 && rename(temporary, path) < 0)
		r = -errno;
	if (r < 0 && r != -EEXIST)
		unlink(temporary);
	return r;
}

int restart_job_write_stats(const struct restart_job *job, const struct frem_error *failure,
			    struct frem_error *err)
{
	_cleanup_free_ char *text = NULL;
	json_t *json;
	int r;

	if (!job->o->stats)
		return 0;
	json = stats_json(job, failure);
	text = json ? json_dumps(json, JSON_INDENT(2)) : NULL;
	json_decref(json);
	if (!text)
		return frem_oom(err);
	r = write_stats_file(job->o->stats, text);
	return r < 0 ? frem_fail(err, FREM_FAILED, -r, "writing '%s'", job->o->stats) : 0;
}

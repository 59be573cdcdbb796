/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "record.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "find_checkpoint.h"
#include "interrupt.h"
#include "pager/recording.h"
#include "touch_object.h"

#define RECORD_NICE 10
#define BACKEND "restart"
/* Where the store is gone for so long, the recording is: nothing of frem outlives a job by much. */
#define PATIENCE_MS 3000
/* Another restart may store its own recording between our look and our upload. */
#define TRIES 3

struct record {
	const struct restart_job *job;
	struct store *store;
	struct manifest *manifest;
	uint8_t digest[DIGEST_SIZE]; /* of the manifest */
	struct pager_recording *recorded;
	struct touch_set *old, *set; /* old: NULL where there is none, or none that can be read */
	enum touch_object_mode mode;
	int frames_fd;
};

static void record_done(struct record *r)
{
	cleanup_close(&r->frames_fd);
	touch_set_free(r->old);
	touch_set_free(r->set);
	pager_recording_free(r->recorded);
	manifest_free(r->manifest);
	store_free(r->store);
}

static int prepare(struct record *r, struct frem_error *err)
{
	_cleanup_buffer_ struct buffer bytes = {0};
	int e = file_read_at(r->job->work_fd, OBJECT_MANIFEST, MANIFEST_MAX, &bytes);

	if (e < 0)
		return frem_fail(err, FREM_FAILED, -e, "reading the manifest again");
	manifest_digest(bytes.data, bytes.len, r->digest);
	e = manifest_decode(bytes.data, bytes.len, &r->job->id, &r->manifest, err);
	if (e == 0)
		e = pager_recording(r->job->pager, &r->recorded, err);
	if (e == 0)
		e = checkpoint_open_store(r->job->o->cmd, &r->store, err);
	if (e < 0)
		return e;
	store_set_timeout(r->store, PATIENCE_MS);
	store_set_stall_limit(r->store, PATIENCE_MS);
	return 0;
}

/* The set as it is in the store now. */
static int read_old(struct record *r, struct frem_error *err)
{
	int e;

	touch_set_free(r->old);
	r->old = NULL;
	e = checkpoint_touch(r->store, &r->job->id, r->manifest, r->digest, &r->old, err);
	if (e < 0 && (!err || err->code != FREM_DAMAGED))
		return e;
	/* a damaged one is of no use to anyone */
	r->mode = r->old || e < 0 ? TOUCH_OBJECT_REPLACE : TOUCH_OBJECT_NEW;
	return 0;
}

/* What of a set the recording does not have, as a touch frame was damaged, the program gave the
 * pages up before they came, or the recording ended before, leaves it: nobody asked for it, and its
 * content is not at hand. */
static void drop_missing(struct touch_set *t, const struct pager_recording *recorded)
{
	size_t n = 0;

	t->pages = 0;
	for (size_t i = 0; i < t->n_runs; i++) {
		struct touch_run run = t->runs[i];
		uint32_t here = 0;

		while (here < run.pages && pager_recording_has(recorded, run.first + here))
			here++;
		if (here < run.pages)
			continue;
		t->pages += run.pages;
		t->runs[n++] = run;
	}
	t->n_runs = n;
}

static int read_recorded(void *arg, uint64_t first, uint64_t pages, uint8_t *out,
			 struct frem_error *err)
{
	return pager_recording_read(arg, first, pages, out, err);
}

static int make_set(struct record *r, struct frem_error *err)
{
	struct touch_info info = {.window_ms = r->recorded->ms, .insert_ms = r->recorded->cpu_ms};
	uint64_t start = clock_read_ns(CLOCK_PROCESS_CPUTIME_ID);
	int e;

	snprintf(info.backend, sizeof(info.backend), "%s", BACKEND);
	snprintf(info.ended, sizeof(info.ended), "%s", r->recorded->ended);
	if (r->old)
		drop_missing(r->old, r->recorded);
	touch_set_free(r->set);
	r->set = NULL;
	e = touch_set_refine(r->old, &info, r->recorded->seen, r->recorded->n, r->recorded->ms,
			     &r->set, err);
	if (e == 0)
		e = touch_set_fill(r->set, r->manifest->lazy_pages, err);
	if (e < 0)
		return e;
	drop_missing(r->set, r->recorded);
	memcpy(r->set->manifest, r->digest, DIGEST_SIZE);
	if (ftruncate(r->frames_fd, 0) < 0 || lseek(r->frames_fd, 0, SEEK_SET) < 0)
		return frem_fail(err, FREM_FAILED, errno, "emptying a temporary file");
	e = touch_object_encode(r->set,
				(struct page_source){.read = read_recorded, .arg = r->recorded},
				r->frames_fd, err);
	if (e == 0 && !r->old) {
		struct touch_info *i = &r->set->info;

		i->descriptor_ms =
			(double)(clock_read_ns(CLOCK_PROCESS_CPUTIME_ID) - start) / NSEC_PER_MSEC;
		i->overhead_ms = i->insert_ms + i->descriptor_ms;
	}
	return e;
}

static int store_set(struct record *r, struct frem_error *err)
{
	uint64_t size;
	int e = 0;

	for (unsigned i = 0; i < TRIES; i++) {
		frem_error_reset(err);
		e = read_old(r, err);
		if (e == 0)
			e = make_set(r, err);
		if (e == 0)
			e = touch_object_put(r->store, &r->job->id, r->set, r->frames_fd, r->mode,
					     &size, err);
		if (e != -EEXIST)
			break;
	}
	return e;
}

static int record_store(const struct restart_job *job, struct frem_error *err)
{
	_cleanup_(record_done) struct record r = {.job = job, .frames_fd = -1};
	int e;

	if (!pager_has_recording(job->pager))
		return 0;
	e = prepare(&r, err);
	if (e < 0)
		return e;
	r.frames_fd = openat(rundir_fd(job->run), ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (r.frames_fd < 0)
		return frem_fail(err, FREM_FAILED, errno, "making a temporary file");
	return store_set(&r, err);
}

/* ---- a process of its own ---- */

/* It may outlive frem: it holds on to nothing that is the user's, and to no signal of the job's. */
static void become_helper(void)
{
	static const int held[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM};
	sigset_t none;

	setsid();
	for (size_t i = 0; i < sizeof(held) / sizeof(held[0]); i++)
		signal(held[i], SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	interrupt_clear();
	file_let_go_of_streams();
}

static _Noreturn void help(const struct restart_job *job, int fd)
{
	struct frem_error err = {0};
	int r;

	become_helper();
	setpriority(PRIO_PROCESS, 0, RECORD_NICE);
	r = record_store(job, &err);
	if (r < 0)
		file_write_all(fd, err.text, strlen(err.text));
	_exit(r < 0);
}

static void warn_of(const char *why)
{
	log_warning(
		"storing the touch set that was recorded: %s, ignoring: the job is not affected",
		why);
}

void record_here(const struct restart_job *job)
{
	struct frem_error err = {0};

	setpriority(PRIO_PROCESS, 0, RECORD_NICE);
	if (record_store(job, &err) < 0)
		warn_of(err.text);
}

void record_start(struct restart_job *job)
{
	int ends[2];

	if (!pager_has_recording(job->pager) || job->recording_fd >= 0)
		return;
	if (pipe2(ends, O_CLOEXEC) < 0) {
		warn_of(strerror(errno));
		return;
	}
	job->recording_pid = fork();
	if (job->recording_pid == 0)
		help(job, ends[1]);
	if (job->recording_pid < 0) {
		warn_of(strerror(errno));
		close(ends[0]);
	} else {
		job->recording_fd = ends[0];
	}
	close(ends[1]);
}

void record_hear(struct restart_job *job)
{
	char why[sizeof(((struct frem_error *)NULL)->text)];
	ssize_t n = read(job->recording_fd, why, sizeof(why) - 1);

	if (n < 0 && errno == EINTR)
		return;
	if (n > 0) {
		why[n] = '\0';
		warn_of(why);
	}
	close(take_fd(&job->recording_fd));
	waitpid(job->recording_pid, NULL, 0);
}

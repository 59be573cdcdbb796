/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "checkpoint_job.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "checks.h"
#include "criu/image_dir.h"
#include "encode.h"
#include "find_checkpoint.h"
#include "interrupt.h"
#include "missing_memory.h"
#include "process.h"
#include "touch_object.h"

#define TAKE_BACK_MS 2000 /* for removing what an upload that failed has left */
#define RATE_LEAST_BYTES                                                        \
	(UINT64_C(1) << 20) /* below this an upload says nothing about the link \
			     */

static int check_process(pid_t pid, struct frem_error *err)
{
	struct process_info info;
	int r = process_info_read(pid, &info, err);

	if (r < 0)
		return r;
	if (info.kernel_thread)
		return frem_fail(err, FREM_REFUSED, 0, "'%s' is a kernel thread", info.comm);
	if (info.state == 'Z')
		return frem_fail(err, FREM_REFUSED, 0, "'%s' has ended (it is a zombie)",
				 info.comm);
	if (process_is_within(getpid(), pid))
		return frem_fail(err, FREM_REFUSED, 0, "'%s' is this command itself or runs it",
				 info.comm);
	return 0;
}

/* A tracker that cannot work costs the touch set, not the checkpoint. */
static void drop_tracker(struct checkpoint_job *job, const struct frem_error *why)
{
	log_warning("%s%s%s, ignoring: the checkpoint gets no touch set, its first restart "
		    "will record one instead",
		    why->text, why->hint[0] ? "; " : "", why->hint);
	tracker_free(job->tracker);
	job->tracker = NULL;
}

static void make_tracker(struct checkpoint_job *job)
{
	struct frem_error err = {0};

	if (job->o->stop || job->o->window == WINDOW_OFF)
		return;
	if (tracker_new(&job->tracker, &err) < 0)
		drop_tracker(job, &err);
}

static struct checkpoint_job *make_job(const struct checkpoint_options *o,
				       struct progress *progress)
{
	struct checkpoint_job *job = calloc(1, sizeof(*job));

	if (!job)
		return NULL;
	job->o = o;
	job->progress = progress;
	job->images_fd = -1;
	snprintf(job->id.name, sizeof(job->id.name), "%s", o->name);
	return job;
}

/* The store, and the checkpoint's number in it. */
static int find_place(const struct cmd_context *c, struct checkpoint_job *job,
		      struct frem_error *err)
{
	int r = checkpoint_open_store(c, &job->store, err);

	if (r < 0)
		return r;
	store_set_interrupt(job->store, interrupted);
	return checkpoint_next(job->store, &job->id, err);
}

int checkpoint_job_new(const struct cmd_context *c, const struct checkpoint_options *o,
		       struct progress *progress, struct checkpoint_job **ret,
		       struct frem_error *err)
{
	_cleanup_checkpoint_job_ struct checkpoint_job *job = make_job(o, progress);
	struct utsname uts;
	int r;

	if (!job)
		return frem_oom(err);
	if (uname(&uts) == 0)
		snprintf(job->kernel, sizeof(job->kernel), "%.127s", uts.release);
	if (c->store)
		handover_request_init(&job->claim, o->pid, c->store, o->name);
	r = process_need_root(err);
	if (r == 0)
		r = check_need(check_privileges, err);
	if (r == 0)
		r = check_process(o->pid, err);
	if (r == 0)
		r = criu_find(&job->criu, err);
	if (r == 0)
		r = rundir_new(NULL, &job->run, err);
	if (r == 0)
		r = rundir_subdir(job->run, "images", &job->images_fd, err);
	if (r == 0)
		r = find_place(c, job, err);
	if (r < 0)
		return r;
	make_tracker(job);
	r = interrupt_check(err);
	if (r == 0)
		*ret = TAKE_PTR(job);
	return r;
}

int checkpoint_job_of_image(const struct cmd_context *c, const struct checkpoint_options *o,
			    int images_fd, struct progress *progress, struct checkpoint_job **ret,
			    struct frem_error *err)
{
	_cleanup_checkpoint_job_ struct checkpoint_job *job = make_job(o, progress);
	int r;

	if (!job)
		return frem_oom(err);
	/* an image says neither */
	snprintf(job->criu.version, sizeof(job->criu.version), "unknown");
	snprintf(job->kernel, sizeof(job->kernel), "unknown");
	job->images_fd = fcntl(images_fd, F_DUPFD_CLOEXEC, 0);
	if (job->images_fd < 0)
		return frem_fail(err, FREM_FAILED, errno, "opening the image directory again");
	r = find_place(c, job, err);
	if (r == 0)
		*ret = TAKE_PTR(job);
	return r;
}

void checkpoint_job_free(struct checkpoint_job *job)
{
	if (!job)
		return;
	window_free(job->window);
	tracker_free(job->tracker);
	free(job->pids);
	store_free(job->store);
	image_pages_free(job->pages);
	image_map_free(job->map);
	manifest_free(job->manifest);
	touch_set_free(job->touch);
	cleanup_close(&job->images_fd);
	rundir_free(job->run);
	free(job);
}

static int arm_tracker(struct checkpoint_job *job, const pid_t *pids, size_t n,
		       struct frem_error *err)
{
	job->pids = calloc(n + 1, sizeof(*job->pids));
	if (!job->pids)
		return frem_oom(err);
	memcpy(job->pids, pids, n * sizeof(*pids));
	job->n_pids = n;
	return tracker_arm(job->tracker, pids, n, err);
}

static int on_dumped(void *arg, const pid_t *pids, size_t n, struct frem_error *err)
{
	struct frem_error soft = {0};
	struct checkpoint_job *job = arg;
	int r = interrupt_check(err);

	if (r == 0 && job->o->frozen)
		r = job->o->frozen(job->o->frozen_arg, job->images_fd, err);
	if (r < 0)
		return r;
	if (job->o->stop)
		return checkpoint_job_upload(job, err);
	if (job->tracker && arm_tracker(job, pids, n, &soft) < 0)
		drop_tracker(job, &soft);
	return 0;
}

/* An earlier checkpoint of the program stops watching, so that its bits can be cleared; where that
 * one is still being stored, its number is not in the store yet. */
static void hand_over(struct checkpoint_job *job)
{
	uint32_t taken = handover_ask(job->run, &job->claim);

	if (taken >= job->id.seq && taken < NAME_SEQ_MAX)
		job->id.seq = taken + 1;
}

static int open_window(struct checkpoint_job *job, struct frem_error *err)
{
	struct window_options o = {
		.tracker = job->tracker,
		.run = job->run,
		.pids = job->pids,
		.n_pids = job->n_pids,
		.job = job->claim.job,
		.seq = job->id.seq,
		.opened_ns = job->resumed_ns,
		.limit_ms = job->o->window == WINDOW_FIXED ? job->o->window_ms : 0,
	};
	int r = tracker_start(job->tracker, err);

	return r < 0 ? r : window_open(&o, &job->window, err);
}

int checkpoint_job_dump(struct checkpoint_job *job, struct frem_error *err)
{
	struct criu_dump dump = {
		.pid = job->o->pid,
		.images_fd = job->images_fd,
		.stop = job->o->stop,
		.tcp = job->o->tcp,
		.hooks = {.post_dump = on_dumped, .arg = job},
	};
	struct frem_error soft = {0};
	int r;

	r = missing_memory_wait(job->o->pid, job->progress, err);
	if (r < 0)
		return r;
	hand_over(job);
	progress_report(job->progress, "dumping", 0, 0);
	if (job->tracker)
		tracker_prepare(job->tracker, job->o->pid);
	r = criu_dump(&job->criu, &dump, &job->frozen_ms, err);
	if (r < 0)
		return r;
	job->resumed_ns = clock_ns();
	if (job->tracker && open_window(job, &soft) < 0)
		drop_tracker(job, &soft);
	return 0;
}

static void remove_object(struct checkpoint_job *job, const char *object)
{
	struct frem_error err = {0};
	char key[NAME_KEY_SIZE];

	name_key(&job->id, object, key);
	if (store_remove(job->store, key, &err) < 0 && err.code != FREM_NOT_FOUND)
		log_warning("taking '%s' back: %s, ignoring: `frem remove` clears it later", key,
			    err.text);
}

/* A server may still be storing the object whose upload was broken off at its very end, so that it
 * appears after it was removed: they are removed once more a moment later. */
static void take_back(struct checkpoint_job *job)
{
	static const char *const objects[] = {OBJECT_MANIFEST, OBJECT_HEAD, OBJECT_PAGES};
	const struct timespec moment = {.tv_nsec = 500 * (long)NSEC_PER_MSEC};

	store_set_interrupt(job->store, NULL);
	store_set_timeout(job->store, TAKE_BACK_MS); /* what failed may be the store itself */
	for (unsigned pass = 0; pass < 2; pass++) {
		if (pass)
			nanosleep(&moment, NULL);
		for (size_t i = 0; i < sizeof(objects) / sizeof(objects[0]); i++)
			remove_object(job, objects[i]);
	}
}

static int upload_pages(struct checkpoint_job *job, struct page_encoder **ret,
			struct frem_error *err)
{
	_cleanup_page_encoder_ struct page_encoder *encoder = NULL;
	struct page_run all = {.pages = job->map->lazy_pages};
	struct store_source source;
	char key[NAME_KEY_SIZE];
	uint64_t start;
	int r = image_pages_open(job->images_fd, job->map, &job->pages, err);

	if (r == 0)
		r = page_encoder_new(image_pages_source(job->pages), &all, all.pages ? 1 : 0,
				     &encoder, err);
	if (r < 0)
		return r;
	name_key(&job->id, OBJECT_PAGES, key);
	source = page_encoder_source(encoder, job->progress, "uploading pages");
	start = clock_ns();
	r = store_put(job->store, key, &source, true, err);
	job->upload_ms = clock_ms_since(start);
	if (r < 0)
		return r;
	page_encoder_digest(encoder, &job->manifest->pages.size, job->manifest->pages.digest);
	*ret = TAKE_PTR(encoder);
	return 0;
}

static int upload_head(struct checkpoint_job *job, struct page_encoder *encoder,
		       struct frem_error *err)
{
	_cleanup_buffer_ struct buffer head = {0};
	char key[NAME_KEY_SIZE];
	int r = image_dir_pack(job->images_fd, job->map, page_encoder_index(encoder), &head, err);

	if (r < 0)
		return r;
	job->manifest->head.size = head.len;
	digest_of(head.data, head.len, job->manifest->head.digest, DIGEST_SIZE);
	progress_report(job->progress, "uploading head", 0, head.len);
	name_key(&job->id, OBJECT_HEAD, key);
	return store_put_bytes(job->store, key, head.data, head.len, true, err);
}

static int manifest_tasks(struct manifest *m, const struct image_map *map, struct frem_error *err)
{
	m->tasks = calloc(map->n_tasks + 1, sizeof(*m->tasks));
	if (!m->tasks)
		return frem_oom(err);
	m->n_tasks = map->n_tasks;
	for (size_t i = 0; i < map->n_tasks; i++) {
		const struct image_task *t = &map->tasks[i];

		m->tasks[i] = (struct manifest_task){.pid = t->pid,
						     .ppid = t->ppid,
						     .threads = t->threads,
						     .lazy_pages = t->lazy_pages};
		memcpy(m->tasks[i].comm, t->comm, sizeof(t->comm));
	}
	return 0;
}

static int make_manifest(struct checkpoint_job *job, struct frem_error *err)
{
	struct manifest *m = calloc(1, sizeof(*m));
	struct utsname uts;

	if (!m)
		return frem_oom(err);
	job->manifest = m;
	m->id = job->id;
	m->created = time(NULL);
	snprintf(m->frem_version, sizeof(m->frem_version), "%s", FREM_VERSION);
	snprintf(m->criu_version, sizeof(m->criu_version), "%s", job->criu.version);
	snprintf(m->kernel, sizeof(m->kernel), "%s", job->kernel);
	if (uname(&uts) == 0)
		snprintf(m->arch, sizeof(m->arch), "%.31s", uts.machine);
	m->tcp =
		job->o->tcp == CRIU_TCP_ESTABLISHED ? MANIFEST_TCP_ESTABLISHED : MANIFEST_TCP_CLOSE;
	m->lazy_pages = job->map->lazy_pages;
	m->eager_pages = job->map->eager_pages;
	m->image_bytes = (m->lazy_pages + m->eager_pages) * PAGE_BYTES;
	return manifest_tasks(m, job->map, err);
}

static int upload_manifest(struct checkpoint_job *job, struct frem_error *err)
{
	_cleanup_buffer_ struct buffer bytes = {0};
	char key[NAME_KEY_SIZE];
	int r = manifest_encode(job->manifest, &bytes, err);

	if (r == 0)
		r = interrupt_check(err);
	if (r < 0)
		return r;
	manifest_digest(bytes.data, bytes.len, job->manifest_digest);
	name_key(&job->id, OBJECT_MANIFEST, key);
	return store_put_bytes(job->store, key, bytes.data, bytes.len, true, err);
}

/*
 * The number was free when it was chosen. Another checkpoint of the same name that takes it at the
 * same time is noticed at `pages`, the first object: that one is not ours to take back.
 */
int checkpoint_job_upload(struct checkpoint_job *job, struct frem_error *err)
{
	_cleanup_page_encoder_ struct page_encoder *encoder = NULL;
	int r = image_map_read(job->images_fd, &job->map, err);

	if (r == 0)
		r = make_manifest(job, err);
	if (r < 0)
		return r;
	r = upload_pages(job, &encoder, err);
	if (r == -EEXIST)
		return frem_fail(err, FREM_FAILED, 0,
				 "another checkpoint of this name took number %u at the same time",
				 job->id.seq);
	if (r == 0)
		r = upload_head(job, encoder, err);
	if (r == 0)
		r = upload_manifest(job, err);
	if (r == 0)
		return 0;
	take_back(job);
	return r;
}

/* ---- the touch object ---- */

/* When the last scan began of those that can have seen what was touched by the end: a scan sees
 * what was touched since the one before, so that is the first which is not before the end. */
static uint32_t last_scan_of(const struct touch_set *touch, uint64_t end_ms)
{
	uint32_t last = UINT32_MAX;

	for (size_t i = 0; i < touch->n_runs; i++)
		if (touch->runs[i].ms >= end_ms && touch->runs[i].ms < last)
			last = touch->runs[i].ms;
	return last;
}

/* The tracker may have gone on for longer: what was touched later is not of the window. */
static void cut_window(struct touch_set *touch, const struct window_end *end)
{
	uint32_t last = last_scan_of(touch, end->ms);
	size_t n = 0;

	snprintf(touch->info.ended, sizeof(touch->info.ended), "%s", end->reason);
	if (touch->info.window_ms <= end->ms)
		return;
	touch->pages = 0;
	for (size_t i = 0; i < touch->n_runs; i++) {
		if (touch->runs[i].ms > last)
			continue;
		touch->pages += touch->runs[i].pages;
		touch->runs[n] = touch->runs[i];
		if (touch->runs[n].ms > end->ms)
			touch->runs[n].ms = (uint32_t)end->ms;
		n++;
	}
	touch->n_runs = n;
	touch->info.window_ms = (uint32_t)end->ms;
}

static int encode_touch(struct checkpoint_job *job, struct touch_set *touch, int fd,
			struct frem_error *err)
{
	uint64_t before = clock_read_ns(CLOCK_PROCESS_CPUTIME_ID);
	int r = touch_set_fill(touch, job->map->lazy_pages, err);

	if (r == 0)
		r = touch_object_encode(touch, image_pages_source(job->pages), fd, err);
	touch->info.descriptor_ms =
		(double)(clock_read_ns(CLOCK_PROCESS_CPUTIME_ID) - before) / NSEC_PER_MSEC;
	touch->info.overhead_ms += touch->info.descriptor_ms;
	return r;
}

static int upload_touch(struct checkpoint_job *job, const struct touch_set *touch, int fd,
			struct frem_error *err)
{
	uint64_t start = clock_ns();
	int r = touch_object_put(job->store, &job->id, touch, fd, TOUCH_OBJECT_NEW,
				 &job->touch_bytes, err);

	job->touch_upload_ms = clock_ms_since(start);
	return r;
}

int checkpoint_job_touch(struct checkpoint_job *job, const struct window_end *end,
			 struct progress *progress, struct frem_error *err)
{
	_cleanup_touch_set_ struct touch_set *touch = NULL;
	_cleanup_close_ int fd = -1;
	int r = tracker_result(job->tracker, job->map, &touch, err);

	if (r < 0)
		return r;
	cut_window(touch, end);
	progress_report(progress, "uploading touch set", 0, touch->pages * PAGE_BYTES);
	memcpy(touch->manifest, job->manifest_digest, DIGEST_SIZE);
	fd = openat(rundir_fd(job->run), ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		return frem_fail(err, FREM_FAILED, errno, "making a temporary file");
	r = encode_touch(job, touch, fd, err);
	if (r == 0)
		r = upload_touch(job, touch, fd, err);
	if (r == 0)
		job->touch = TAKE_PTR(touch);
	return r;
}

uint64_t checkpoint_job_stored_bytes(const struct checkpoint_job *job)
{
	return job->manifest->head.size + job->manifest->pages.size + job->touch_bytes;
}

uint64_t checkpoint_job_upload_rate(const struct checkpoint_job *job)
{
	if (job->manifest->pages.size < RATE_LEAST_BYTES || job->upload_ms <= 0)
		return 0;
	return (uint64_t)((double)job->manifest->pages.size / job->upload_ms * 1e3);
}

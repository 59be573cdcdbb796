/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "track/track.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "backend.h"
#include "base/clock.h"
#include "base/log.h"
#include "criu/tree.h"
#include "touched_set.h"

/*
 * Nearly all: the window may close early when this much of what was resident has been touched. The
 * rest is cheaper to fetch as it comes (at most 2 % of the image waits behind the touch set) than
 * to go on watching for, and most programs never use it.
 */
#define SATURATED_PERCENT 98u

#define SCAN_NICE 10

/*
 * Gaps between scans: the first pages touched are ordered finely, later ones ever more coarsely, up
 * to a second. The gaps of large programs go on growing until scans take no more than this part of
 * one processor, or are this far apart.
 */
#define FIRST_GAP_NS (2 * NSEC_PER_MSEC)
#define LAST_GAP_NS NSEC_PER_SEC
#define LAST_SHARE 500u
#define LONGEST_GAP_NS (4 * NSEC_PER_SEC)
/*
 * While its pages go to swap and come back, reclaim clears accessed bits, too: what is touched and
 * aged between two scans is missed. Scans stay this close together then, and until this long after
 * the last sign of it: where as much goes as comes, signs are few.
 */
#define SWAPPING_GAP_NS (10 * NSEC_PER_MSEC)
#define SWAPPING_LASTS_NS NSEC_PER_SEC
/* However large the program, scans take at most this part of one processor. */
#define SCAN_SHARE 20u

static const struct backend_ops *const all_backends[] = {&accessed_bits_backend};
#define N_BACKENDS (sizeof(all_backends) / sizeof(all_backends[0]))

struct armed_task {
	pid_t pid;
	pid_t inner_pid; /* as the task sees itself */
};

/*
 * Between tracker_start() and join_thread() everything here but `lock` and the members below
 * it belongs to the scan thread.
 */
struct tracker {
	struct backend *backend;
	struct touched_set *set;
	struct armed_task *tasks;
	size_t n_tasks;
	uint64_t prepare_ns;
	uint64_t frozen_ns; /* processor time of arming */
	uint64_t cpu_ns;    /* of scans, insertion included */
	uint32_t *scan_ms;  /* by scan number; the first is 1 */
	size_t cap_scan_ms; /* entries */
	unsigned scans;
	uint64_t swapping_until; /* clock_ns() */
	bool scan_failed;	 /* and it was said */
	uint64_t start;		 /* clock_ns() */
	uint64_t stop;
	char ended[32];

	pthread_t thread;
	bool running; /* the thread is to be joined */

	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stopping;
	bool last_scan;
	bool scanned; /* the last scan is done */
	_Atomic pid_t tid;
	_Atomic enum track_state state;
	_Atomic uint64_t pages;
};

/* ---- opening ---- */

size_t track_probe(struct track_backend_info *out, size_t most)
{
	size_t n = most < N_BACKENDS ? most : N_BACKENDS;

	for (size_t i = 0; i < n; i++) {
		struct backend *b = NULL;
		struct frem_error why = {};

		out[i] = (struct track_backend_info){.name = all_backends[i]->name};
		if (all_backends[i]->open(&b, &why) < 0) {
			snprintf(out[i].why, sizeof(out[i].why), "%.150s%s%.90s", why.text,
				 why.hint[0] ? "; " : "", why.hint);
			continue;
		}
		out[i].works = true;
		b->ops->close(b);
	}
	return n;
}

/* The first backend that works; the error is the preferred one's. */
static int open_backend(struct backend **ret, struct frem_error *err)
{
	struct frem_error why = {};
	int r = 0;

	for (size_t i = 0; i < N_BACKENDS; i++) {
		struct frem_error *e = i ? &why : err;
		int k = all_backends[i]->open(ret, e);

		if (!k)
			return 0;
		if (!i)
			r = k;
	}
	return frem_context(err, r, "tracking");
}

static void init_lock(struct tracker *t)
{
	pthread_condattr_t attr;

	pthread_mutex_init(&t->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&t->wake, &attr);
	pthread_condattr_destroy(&attr);
}

int tracker_new(struct tracker **ret, struct frem_error *err)
{
	struct tracker *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return frem_oom(err);
	init_lock(t);
	r = touched_set_new(&t->set, err);
	if (!r)
		r = open_backend(&t->backend, err);
	if (r < 0) {
		tracker_free(t);
		return r;
	}
	*ret = t;
	return 0;
}

/* ---- arming ---- */

void tracker_prepare(struct tracker *t, pid_t root)
{
	uint64_t begin = clock_ns(), cpu = clock_thread_cpu_ns();

	if (t->backend->ops->prepare)
		t->backend->ops->prepare(t->backend, root);
	t->prepare_ns = clock_thread_cpu_ns() - cpu;
	log_debug("tracking: prepared in %.3f ms", clock_ms_since(begin));
}

int tracker_arm(struct tracker *t, const pid_t *pids, size_t n, struct frem_error *err)
{
	uint64_t begin = clock_ns(), cpu = clock_thread_cpu_ns();
	int r;

	t->tasks = calloc(n ? n : 1, sizeof(*t->tasks));
	if (!t->tasks)
		return frem_oom(err);
	t->n_tasks = n;
	for (size_t i = 0; i < n; i++)
		t->tasks[i] = (struct armed_task){pids[i], pids[i]};
	r = t->backend->ops->arm(t->backend, pids, n, err);
	t->frozen_ns = clock_thread_cpu_ns() - cpu;
	log_debug("tracking: armed %zu tasks in %.3f ms", n, clock_ms_since(begin));
	t->start = clock_ns();
	t->stop = t->start;
	return r < 0 ? frem_context(err, r, "tracking") : 0;
}

/* ---- scans ---- */

static int note_scan_time(struct tracker *t, unsigned scan, uint64_t at)
{
	uint64_t ms = (at - t->start) / NSEC_PER_MSEC;

	if (scan > TOUCHED_LAST_SCAN)
		return 0;
	if (scan >= t->cap_scan_ms) {
		size_t cap = t->cap_scan_ms ? t->cap_scan_ms * 2 : 64;
		uint32_t *p = reallocarray(t->scan_ms, cap, sizeof(*p));

		if (!p)
			return -ENOMEM;
		t->scan_ms = p;
		t->cap_scan_ms = cap;
	}
	t->scan_ms[scan] = ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX;
	return 0;
}

static bool saturated(const struct touched_counts *c)
{
	return c->resident && c->resident_touched * 100 >= c->resident * SATURATED_PERCENT;
}

/* One scan. A failed one loses nothing but time: accessed bits stay set until the next. */
static void scan(struct tracker *t)
{
	struct frem_error why = {};
	struct touched_counts counts;
	size_t alive = 0;
	int r = note_scan_time(t, t->scans + 1, clock_ns());

	if (!r)
		r = t->backend->ops->scan(t->backend, t->set, t->scans + 1, &alive, &why);
	if (r < 0) {
		if (!t->scan_failed)
			log_warning("tracking: a scan failed, ignoring: %s",
				    why.text[0] ? why.text : strerror(-r));
		t->scan_failed = true;
		return;
	}
	t->scans++;
	touched_set_counts(t->set, &counts);
	t->pages = counts.touched;
	if (!alive) {
		log_notice("tracking: the program has ended or become another one: the touch set "
			   "ends with it");
		t->state = TRACK_ENDED;
	}
	if (alive && saturated(&counts))
		t->state = TRACK_SATURATED;
}

/* What gaps grow up to. */
static uint64_t last_gap(struct tracker *t, uint64_t scan_cpu_ns)
{
	uint64_t now = clock_ns(), gap = scan_cpu_ns * LAST_SHARE;

	if (t->backend->ops->swapping(t->backend))
		t->swapping_until = now + SWAPPING_LASTS_NS;
	if (now < t->swapping_until)
		return SWAPPING_GAP_NS;
	if (gap < LAST_GAP_NS)
		return LAST_GAP_NS;
	return gap < LONGEST_GAP_NS ? gap : LONGEST_GAP_NS;
}

static uint64_t next_gap(struct tracker *t, uint64_t gap, uint64_t scan_cpu_ns)
{
	uint64_t least = scan_cpu_ns * SCAN_SHARE, most = last_gap(t, scan_cpu_ns);

	gap += gap / 4;
	if (gap > most)
		gap = most;
	return gap > least ? gap : least;
}

/* Waits until `due` (clock_ns()); true if the scans are to end. */
static bool wait_until(struct tracker *t, uint64_t due)
{
	struct timespec at = {(time_t)(due / NSEC_PER_SEC), (long)(due % NSEC_PER_SEC)};
	bool stopping;

	pthread_mutex_lock(&t->lock);
	while (!t->stopping && !pthread_cond_timedwait(&t->wake, &t->lock, &at))
		;
	stopping = t->stopping;
	pthread_mutex_unlock(&t->lock);
	return stopping;
}

/* What the backend has to do between scans; returns when it has to again. */
static uint64_t tend(struct tracker *t)
{
	return t->backend->ops->tend ? t->backend->ops->tend(t->backend, t->set) : UINT64_MAX;
}

static void tell_scanned(struct tracker *t)
{
	pthread_mutex_lock(&t->lock);
	t->scanned = true;
	pthread_cond_broadcast(&t->wake);
	pthread_mutex_unlock(&t->lock);
}

/* Not needed for arming, and too slow to be done then. */
static void learn_inner_pids(struct tracker *t)
{
	for (size_t i = 0; i < t->n_tasks; i++) {
		pid_t pid = tree_inner_pid(t->tasks[i].pid);

		if (pid > 0)
			t->tasks[i].inner_pid = pid;
	}
}

static void *scan_thread(void *arg)
{
	struct tracker *t = arg;
	uint64_t gap = FIRST_GAP_NS, due = t->start + gap, next = due;

	pthread_setname_np(pthread_self(), "frem-track");
	t->tid = gettid();
	setpriority(PRIO_PROCESS, (id_t)t->tid, SCAN_NICE);
	learn_inner_pids(t);
	while (!wait_until(t, next) && t->state != TRACK_ENDED) {
		uint64_t cpu = clock_thread_cpu_ns();

		if (clock_ns() >= due) {
			scan(t);
			gap = next_gap(t, gap, clock_thread_cpu_ns() - cpu);
			due = clock_ns() + gap;
		}
		next = tend(t);
		next = next < due ? next : due;
	}
	if (t->last_scan && t->state != TRACK_ENDED)
		scan(t);
	tell_scanned(t);
	if (t->backend->ops->finish)
		t->backend->ops->finish(t->backend, t->set);
	t->cpu_ns += clock_thread_cpu_ns();
	return NULL;
}

int tracker_start(struct tracker *t, struct frem_error *err)
{
	sigset_t all, before;
	int r;

	t->start = clock_ns();
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&t->thread, NULL, scan_thread, t);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r)
		return frem_context(err, frem_fail(err, FREM_FAILED, r, "starting a thread"),
				    "tracking");
	t->running = true;
	return 0;
}

enum track_state tracker_poll(struct tracker *t, uint64_t *ret_pages)
{
	if (ret_pages)
		*ret_pages = t->pages;
	return t->state;
}

/* With the lock held. */
static void tell_to_stop(struct tracker *t, bool last_scan)
{
	if (t->stopping)
		return;
	t->stopping = true;
	t->last_scan = last_scan;
	pthread_cond_broadcast(&t->wake);
}

/* The next checkpoint may wait for it: the last scan is in haste, and letting go of the kernel,
 * which takes far longer, is left to the thread. */
void tracker_stop(struct tracker *t, const char *ended)
{
	if (t->running) {
		pthread_mutex_lock(&t->lock);
		tell_to_stop(t, true);
		if (t->tid)
			setpriority(PRIO_PROCESS, (id_t)t->tid, 0);
		while (!t->scanned)
			pthread_cond_wait(&t->wake, &t->lock);
		pthread_mutex_unlock(&t->lock);
		t->stop = clock_ns();
	}
	snprintf(t->ended, sizeof(t->ended), "%s", ended);
}

static void join_thread(struct tracker *t)
{
	if (!t->running)
		return;
	pthread_mutex_lock(&t->lock);
	tell_to_stop(t, false);
	pthread_mutex_unlock(&t->lock);
	pthread_join(t->thread, NULL);
	t->running = false;
}

void tracker_free(struct tracker *t)
{
	if (!t)
		return;
	join_thread(t);
	if (t->backend)
		t->backend->ops->close(t->backend);
	touched_set_free(t->set);
	pthread_cond_destroy(&t->wake);
	pthread_mutex_destroy(&t->lock);
	free(t->scan_ms);
	free(t->tasks);
	free(t);
}

/* ---- the result ---- */

/* Which armed task is the map's i-th: the one that calls itself so, else the i-th of the tree. */
static size_t match_task(const struct tracker *t, const struct image_map *m, size_t i)
{
	for (size_t k = 0; k < t->n_tasks; k++)
		if (t->tasks[k].inner_pid == m->tasks[i].pid)
			return k;
	for (size_t k = 0; k < t->n_tasks; k++)
		if (t->tasks[k].pid == m->tasks[i].pid)
			return k;
	return t->n_tasks == m->n_tasks ? i : TOUCHED_NO_TASK;
}

static double in_ms(uint64_t ns)
{
	return (double)ns / NSEC_PER_MSEC;
}

static void fill_info(const struct tracker *t, uint64_t result_ns, struct touch_info *info)
{
	uint64_t window_ms = (t->stop - t->start) / NSEC_PER_MSEC;
	double insert_share = t->backend->ops->insert_share(t->backend);

	snprintf(info->backend, sizeof(info->backend), "%s", t->backend->ops->name);
	snprintf(info->ended, sizeof(info->ended), "%s", t->ended);
	info->window_ms = window_ms < UINT32_MAX ? (uint32_t)window_ms : UINT32_MAX;
	info->scans = t->scans;
	info->prepare_ms = in_ms(t->prepare_ns);
	info->frozen_ms = in_ms(t->frozen_ns);
	info->scan_ms = in_ms(t->cpu_ns) * (1 - insert_share);
	info->insert_ms = in_ms(t->cpu_ns) * insert_share + in_ms(result_ns);
	info->overhead_ms = info->prepare_ms + info->frozen_ms + info->scan_ms + info->insert_ms;
}

int tracker_result(struct tracker *t, const struct image_map *map, struct touch_set **ret,
		   struct frem_error *err)
{
	_cleanup_free_ size_t *task_of = calloc(map->n_tasks ? map->n_tasks : 1, sizeof(*task_of));
	struct touch_set *set = calloc(1, sizeof(*set));
	uint64_t cpu;
	int r;

	if (!task_of || !set) {
		free(set);
		return frem_oom(err);
	}
	join_thread(t);
	cpu = clock_thread_cpu_ns();
	for (size_t i = 0; i < map->n_tasks; i++)
		task_of[i] = match_task(t, map, i);
	r = touched_set_runs(t->set, map, task_of, t->scan_ms, &set->runs, &set->n_runs,
			     &set->pages, err);
	if (r < 0) {
		free(set);
		return r;
	}
	fill_info(t, clock_thread_cpu_ns() - cpu, &set->info);
	*ret = set;
	return 0;
}

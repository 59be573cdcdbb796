/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "window.h"

#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "format/frame.h"
#include "interrupt.h"
#include "units.h"
#include "window_tasks.h"

#define WATCH_MS 50 /* how often the tracker is asked, by the thread and by who waits */
#define LOOK_MS 250 /* the tasks are looked at not more often than that */
#define LOOK_SHARE 1000

struct window {
	uint8_t job[DIGEST_SIZE];
	uint32_t seq;
	uint64_t opened_ns;
	uint64_t limit_ms;
	int listen_fd;
	int quit_fd;
	pthread_t thread;

	pthread_mutex_t lock; /* over all below, and all that the tracker is asked */
	struct tracker *tracker;
	struct window_tasks tasks;
	uint64_t next_look_ns;
	const char *reason; /* NULL: it is open */
	uint64_t closed_ms;
};

static uint64_t open_for_ms(const struct window *w)
{
	return (uint64_t)clock_ms_since(w->opened_ns);
}

/* With the lock held. The first reason stands. */
static void close_locked(struct window *w, const char *reason)
{
	if (w->reason)
		return;
	window_tasks_look(&w->tasks);
	w->closed_ms = open_for_ms(w);
	w->reason = reason;
	tracker_stop(w->tracker, reason);
	log_debug("the window was closed in %" PRIu64 " ms", open_for_ms(w) - w->closed_ms);
}

static void close_window(struct window *w, const char *reason)
{
	pthread_mutex_lock(&w->lock);
	close_locked(w, reason);
	pthread_mutex_unlock(&w->lock);
}

static bool is_open(struct window *w)
{
	bool open;

	pthread_mutex_lock(&w->lock);
	open = !w->reason;
	pthread_mutex_unlock(&w->lock);
	return open;
}

/* ---- the thread ---- */

/* Reads of /proc add up where there are many tasks: they take a thousandth of the time at most. */
static void look_at_tasks(struct window *w)
{
	uint64_t start = clock_ns();

	if (start < w->next_look_ns)
		return;
	window_tasks_look(&w->tasks);
	w->next_look_ns = start + (clock_ns() - start) * LOOK_SHARE;
	if (w->next_look_ns < start + LOOK_MS * NSEC_PER_MSEC)
		w->next_look_ns = start + LOOK_MS * NSEC_PER_MSEC;
}

/* With the lock held: why the window is to close, or NULL. */
static const char *reason_to_close(struct window *w)
{
	enum track_state state = tracker_poll(w->tracker, NULL);

	if (state == TRACK_SATURATED)
		return "saturated";
	if (state == TRACK_ENDED)
		return "program-ended";
	if (w->limit_ms && open_for_ms(w) >= w->limit_ms)
		return "asked";
	look_at_tasks(w);
	return NULL;
}

static void close_if_over(struct window *w)
{
	const char *reason;

	pthread_mutex_lock(&w->lock);
	reason = w->reason ? NULL : reason_to_close(w);
	if (reason)
		close_locked(w, reason);
	pthread_mutex_unlock(&w->lock);
}

static void hand_over(struct window *w)
{
	struct handover_request next;
	int fd;

	if (!handover_accept(w->listen_fd, &next, &fd))
		return;
	handover_answer(fd, memcmp(next.job, w->job, sizeof(w->job)) ? 0 : w->seq);
	pthread_mutex_lock(&w->lock);
	if (window_tasks_overlap(&w->tasks, (pid_t)next.pid, next.start))
		close_locked(w, "next-checkpoint");
	pthread_mutex_unlock(&w->lock);
	close(fd);
}

/* How long to wait before the next look, in ms. */
static int next_look(struct window *w)
{
	uint64_t ms = open_for_ms(w);

	if (!is_open(w))
		return -1;
	if (w->limit_ms > ms && w->limit_ms - ms < WATCH_MS)
		return (int)(w->limit_ms - ms);
	return WATCH_MS;
}

static void *watch(void *arg)
{
	struct window *w = arg;
	struct pollfd p[] = {{.fd = w->quit_fd, .events = POLLIN},
			     {.fd = w->listen_fd, .events = POLLIN}};

	pthread_setname_np(pthread_self(), "frem-window");
	while (poll(p, 2, next_look(w)) >= 0 && !p[0].revents) {
		if (p[1].revents)
			hand_over(w);
		close_if_over(w);
	}
	return NULL;
}

static int start_thread(struct window *w, struct frem_error *err)
{
	sigset_t all, before;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&w->thread, NULL, watch, w);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r ? frem_fail(err, FREM_FAILED, r, "starting a thread") : 0;
}

/* ---- opening and closing ---- */

static void destroy(struct window *w)
{
	cleanup_close(&w->listen_fd);
	cleanup_close(&w->quit_fd);
	window_tasks_done(&w->tasks);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

int window_open(const struct window_options *o, struct window **ret, struct frem_error *err)
{
	struct window *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return frem_oom(err);
	w->tracker = o->tracker;
	memcpy(w->job, o->job, sizeof(w->job));
	w->seq = o->seq;
	w->opened_ns = o->opened_ns;
	w->limit_ms = o->limit_ms;
	pthread_mutex_init(&w->lock, NULL);
	w->listen_fd = -1;
	w->quit_fd = eventfd(0, EFD_CLOEXEC);
	r = w->quit_fd < 0 ? frem_fail(err, FREM_FAILED, errno, "making an event") : 0;
	if (r == 0)
		r = window_tasks_init(&w->tasks, o->pids, o->n_pids, err);
	if (r == 0)
		r = handover_listen(o->run, &w->listen_fd, err);
	if (r == 0)
		r = start_thread(w, err);
	if (r < 0) {
		destroy(w);
		return frem_context(err, r, "opening the tracking window");
	}
	*ret = w;
	return 0;
}

void window_free(struct window *w)
{
	if (!w)
		return;
	eventfd_write(w->quit_fd, 1);
	pthread_join(w->thread, NULL);
	destroy(w);
}

/* ---- waiting ---- */

static uint64_t touched_pages(struct window *w)
{
	uint64_t pages = 0;

	pthread_mutex_lock(&w->lock);
	tracker_poll(w->tracker, &pages);
	pthread_mutex_unlock(&w->lock);
	return pages;
}

static void wait_until_closed(struct window *w, uint64_t limit_ms, const char *limit_reason,
			      struct progress *progress)
{
	while (is_open(w)) {
		struct timespec pause = {.tv_nsec = WATCH_MS * (long)NSEC_PER_MSEC};

		if (open_for_ms(w) >= limit_ms) {
			close_window(w, limit_reason);
		} else if (interrupted()) {
			log_notice("the tracking window is closed early");
			interrupt_clear();
			close_window(w, "asked");
		} else {
			progress_report(progress, "tracking", touched_pages(w) * PAGE_BYTES, 0);
			nanosleep(&pause, NULL);
		}
	}
}

static void say_what_is_lost(const struct window *w, const struct window_end *end)
{
	char after[UNITS_SIZE];

	units_duration((double)end->ms, after);
	if (strcmp(end->reason, "program-ended") == 0)
		log_notice("the program %s %s into the tracking window: the touch set holds only "
			   "what it had touched by then",
			   w->tasks.executed ? "executed another one" : "ended", after);
	else if (strcmp(end->reason, "next-checkpoint") == 0)
		log_notice("the next checkpoint closes the tracking window after %s", after);
	else if (w->tasks.stopped)
		log_notice("the program was stopped in the tracking window: the touch set holds "
			   "only what it touched while it ran");
}

struct window_end window_wait(struct window *w, uint64_t limit_ms, const char *limit_reason,
			      struct progress *progress)
{
	struct window_end end;

	wait_until_closed(w, limit_ms, limit_reason, progress);
	end = (struct window_end){w->reason, w->closed_ms};
	if (end.ms > limit_ms)
		end = (struct window_end){limit_reason, limit_ms};
	say_what_is_lost(w, &end);
	return end;
}

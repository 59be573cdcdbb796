/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "pager/pager.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "keeper.h"
#include "pager_impl.h"

#define RECORDING "recording"
#define HELD_MS 10000 /* for what CRIU has sent to reach the keeper */
#define END_MS 15000  /* for the processes to end the tree and themselves */

static void close_pair(int pair[2])
{
	cleanup_close(&pair[0]);
	cleanup_close(&pair[1]);
}

static void unmap(struct wire_shared *shared)
{
	if (shared)
		munmap(shared, sizeof(*shared));
}

/* pairs: events, commands to the keeper, our end for the pager process; ours first. */
static int start_keeper(struct pager *p, const struct pager_options *o, int pairs[3][2],
			struct frem_error *err)
{
	pid_t caller = getpid();

	p->keeper = fork();
	if (p->keeper < 0)
		return frem_fail(err, FREM_FAILED, errno, "starting the keeper");
	if (p->keeper == 0) {
		struct keeper_ends ends = {.events = pairs[0][1],
					   .keeper_cmd = pairs[1][1],
					   .pager_cmd = pairs[2][1],
					   .recording = p->recording};

		for (int i = 0; i < 3; i++)
			close(pairs[i][0]);
		keeper_main(o, p->shared, &ends, caller);
	}
	p->events = take_fd(&pairs[0][0]);
	p->keeper_cmd = take_fd(&pairs[1][0]);
	p->pager_cmd = take_fd(&pairs[2][0]);
	return 0;
}

/* It has no name: nothing has to remove it. Without one, nothing is recorded. */
static int make_recording(const struct pager_options *o)
{
	int fd;

	if (o->record == PAGER_RECORD_OFF || o->mode == PAGER_FULL)
		return -1;
	fd = openat(o->work_fd, RECORDING, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		log_info("making the file of the recording: %s, ignoring: nothing is recorded",
			 strerror(errno));
	else
		unlinkat(o->work_fd, RECORDING, 0);
	return fd;
}

int pager_start(const struct pager_options *o, struct pager **ret, struct frem_error *err)
{
	int pairs[3][2] = {{-1, -1}, {-1, -1}, {-1, -1}};
	struct pager *p = calloc(1, sizeof(*p));
	void *memory;
	int r = 0;

	if (!p)
		return frem_oom(err);
	p->events = p->keeper_cmd = p->pager_cmd = -1;
	p->recording = make_recording(o);
	job_tree_init(&p->tree, 0);
	memory = mmap(NULL, sizeof(*p->shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	if (memory == MAP_FAILED)
		r = frem_oom(err);
	else
		p->shared = memory;
	for (int i = 0; i < 3 && r == 0; i++)
		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pairs[i]) < 0)
			r = frem_fail(err, FREM_FAILED, errno, "making a socket");
	if (r == 0) {
		p->shared->started_ns = clock_ns();
		p->shared->stats.touch_set_ms = p->shared->stats.drained_ms = -1;
		r = start_keeper(p, o, pairs, err);
	}
	for (int i = 0; i < 3; i++)
		close_pair(pairs[i]);
	if (r < 0) {
		unmap(p->shared);
		cleanup_close(&p->recording);
		free(p);
		return r;
	}
	*ret = p;
	return 0;
}

int pager_event_fd(const struct pager *p)
{
	return p->events;
}

/* None is left to say anything. */
static void all_died(struct pager *p, struct pager_event *ret)
{
	*ret = (struct pager_event){.type = PAGER_EVENT_FAILED};
	frem_fail(&ret->err, FREM_FAILED, 0,
		  "bringing the memory in: all of its processes were killed");
	/* a caller that does not drive the restore has not been told */
	if (!p->tree.root && p->shared->root)
		job_tree_set_root(&p->tree, p->shared->root);
	if (p->tree.root && !p->shared->drained)
		job_tree_kill(&p->tree);
}

/* A pager process that was killed may have said something that the next one says again. */
static bool was_said(struct pager *p, enum pager_event_type type)
{
	unsigned bit = 1U << type;

	if (type == PAGER_EVENT_NOTICE)
		return false;
	if (p->said & bit)
		return true;
	p->said |= bit;
	return false;
}

/* Returns 1 with an event, 0 with a log line or nothing. */
static int take_report(struct pager *p, struct pager_event *ret)
{
	struct wire_report r;
	ssize_t n = recv(p->events, &r, sizeof(r) - 1, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0) {
		if (p->ended) /* rightly */
			return 0;
		p->ended = true;
		all_died(p, ret);
		return 1;
	}
	if (r.type == WIRE_LOG) {
		((char *)&r)[n] = '\0';
		log_line(r.level, "%s", r.line);
		return 0;
	}
	if (was_said(p, r.event.type))
		return 0;
	*ret = r.event;
	p->ended |= ret->type == PAGER_EVENT_DRAINED || ret->type == PAGER_EVENT_FAILED;
	return 1;
}

int pager_next_event(struct pager *p, int timeout_ms, struct pager_event *ret)
{
	uint64_t start = clock_ns();

	for (;;) {
		struct pollfd fd = {.fd = p->events, .events = POLLIN};
		int left = timeout_ms;

		if (timeout_ms > 0) {
			double over = clock_ms_since(start);

			left = over >= timeout_ms ? 0 : timeout_ms - (int)over;
		}
		if (poll(&fd, 1, left) <= 0)
			return 0;
		if (take_report(p, ret))
			return 1;
		/* all is said: only the end of the processes is left to be seen */
		if (p->ended && fd.revents & POLLHUP)
			return 0;
	}
}

/* Until the keeper has all userfaultfds in hand. CRIU has sent them all, which does not say that
 * they were received. */
static int await_held(struct pager *p, struct frem_error *err)
{
	struct pollfd fd = {.fd = p->keeper_cmd, .events = POLLIN};
	uint64_t start = clock_ns();
	struct wire_held held;
	double over;

	while ((over = clock_ms_since(start)) < HELD_MS) {
		if (poll(&fd, 1, HELD_MS - (int)over) <= 0)
			continue;
		if (recv(p->keeper_cmd, &held, sizeof(held), MSG_DONTWAIT) == sizeof(held) ||
		    p->shared->drained)
			return 0;
		return frem_fail(err, FREM_FAILED, 0, "the pager processes have ended");
	}
	return frem_fail(err, FREM_FAILED, ETIMEDOUT, "waiting for criu's userfaultfds");
}

int pager_restored(struct pager *p, pid_t root, struct frem_error *err)
{
	struct wire_command c = {.type = WIRE_RESTORED, .pid = root};
	bool told;

	job_tree_set_root(&p->tree, root);
	told = send(p->keeper_cmd, &c, sizeof(c), MSG_NOSIGNAL) == sizeof(c);
	if (p->shared->drained)
		return 0;
	return told ? await_held(p, err)
		    : frem_fail(err, FREM_FAILED, 0, "the pager processes have ended");
}

void pager_resumed(struct pager *p)
{
	p->shared->stats.bytes_before_resume = p->shared->stats.bytes_fetched;
	p->shared->resumed_ns = clock_ns();
}

const struct pager_stats *pager_stats(const struct pager *p)
{
	return &p->shared->stats;
}

void pager_detach(struct pager *p)
{
	p->detached = true;
	close(take_fd(&p->events));
	close(take_fd(&p->keeper_cmd));
	close(take_fd(&p->pager_cmd));
}

/* Until the last holder of the other end is gone, which is after the end of the tree. */
static void wait_for_end(struct pager *p)
{
	uint64_t start = clock_ns();
	double over;

	while ((over = clock_ms_since(start)) < END_MS) {
		struct pollfd fd = {.fd = p->events, .events = POLLIN};
		struct wire_report r;

		if (poll(&fd, 1, END_MS - (int)over) > 0 &&
		    recv(p->events, &r, sizeof(r), MSG_DONTWAIT) == 0)
			break;
	}
	/* our child, unless the caller has waited for all its children */
	while (waitpid(p->keeper, NULL, over < END_MS ? 0 : WNOHANG) < 0 && errno == EINTR)
		;
}

void pager_free(struct pager *p)
{
	struct wire_command c = {.type = WIRE_END};

	if (!p)
		return;
	if (!p->detached) {
		send(p->keeper_cmd, &c, sizeof(c), MSG_NOSIGNAL);
		wait_for_end(p);
		pager_detach(p);
	}
	job_tree_done(&p->tree);
	cleanup_close(&p->recording);
	unmap(p->shared);
	free(p);
}

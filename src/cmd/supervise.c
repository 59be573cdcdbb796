/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "supervise.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "interrupt.h"
#include "record.h"

#define LAST_WORD_MS 3000 /* the pager reports a failure only once the whole tree is gone */

/* What a terminal, a shell, a batch system or an operator may send. */
static const int forwarded[] = {SIGINT,	 SIGTERM, SIGHUP,   SIGQUIT, SIGUSR1,
				SIGUSR2, SIGCONT, SIGWINCH, SIGALRM};

void supervise_hold_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	sigaddset(&set, SIGALRM);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

void supervise_signals(sigset_t *ret)
{
	sigemptyset(ret);
	sigaddset(ret, SIGCHLD);
	for (size_t i = 0; i < sizeof(forwarded) / sizeof(forwarded[0]); i++)
		sigaddset(ret, forwarded[i]);
}

static int watch_signals(struct frem_error *err)
{
	sigset_t set;
	int fd;

	supervise_signals(&set);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return frem_fail(err, FREM_FAILED, errno, "blocking signals");
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return frem_fail(err, FREM_FAILED, errno, "watching signals");
	return fd;
}

static void forward_signals(const struct restart_job *job, int fd)
{
	struct signalfd_siginfo info;

	while (read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		if (info.ssi_signo != SIGCHLD)
			kill(job->root, (int)info.ssi_signo);
}

int supervise_status(int wait_status)
{
	return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

static bool job_ended(const struct restart_job *job, int *ret_status)
{
	int status;

	if (waitpid(job->root, &status, WNOHANG) != job->root)
		return false;
	*ret_status = supervise_status(status);
	return true;
}

static void note_stats(const struct restart_job *job, const struct frem_error *failure)
{
	struct frem_error err = {0};

	if (restart_job_write_stats(job, failure, &err) < 0)
		log_warning("statistics: %s, ignoring: the job is not affected", err.text);
}

/* The statistics are written as soon as all memory is in. */
int supervise_events(struct restart_job *job, struct frem_error *err)
{
	bool was_drained = job->drained;
	int r;

	do {
		r = restart_job_event(job, 0, NULL, err);
	} while (r > 0);
	if (job->drained && !was_drained) {
		note_stats(job, NULL);
		if (!job->o->detach)
			record_start(job);
	}
	return r;
}

/*
 * The job ended while memory was missing. If it was killed, the pager may have been the one, and is
 * about to say why; or it is about to find that nobody wants the rest. Where neither comes, other
 * processes of the job live on, and keep their pager.
 */
int supervise_ended(struct restart_job *job, int status, struct frem_error *err)
{
	uint64_t start = clock_ns();
	int r = 0;

	while (status == 128 + SIGKILL && !job->drained && clock_ms_since(start) < LAST_WORD_MS) {
		struct pollfd fd = {.fd = pager_event_fd(job->pager), .events = POLLIN};

		poll(&fd, 1, 50);
		r = supervise_events(job, err);
		if (r < 0) {
			note_stats(job, err);
			return r;
		}
	}
	if (!job->drained) {
		note_stats(job, NULL);
		pager_detach(job->pager);
		if (!job->o->detach)
			record_start(job);
	}
	return status;
}

int supervise_job(struct restart_job *job, struct frem_error *err)
{
	int signals = watch_signals(err), status, r;

	if (signals < 0)
		return signals;
	/* one that came between the last look before the resume and now */
	if (interrupted())
		kill(job->root, interrupt_signal());
	for (;;) {
		struct pollfd fds[3] = {
			{.fd = signals, .events = POLLIN},
			{.fd = job->drained ? -1 : pager_event_fd(job->pager), .events = POLLIN},
			{.fd = job->recording_fd, .events = POLLIN},
		};

		if (job_ended(job, &status)) {
			r = supervise_ended(job, status, err);
			break;
		}
		if (poll(fds, 3, -1) < 0 && errno != EINTR) {
			r = frem_fail(err, FREM_FAILED, errno, "waiting for the job");
			break;
		}
		forward_signals(job, signals);
		if (fds[2].revents)
			record_hear(job);
		r = job->drained ? 0 : supervise_events(job, err);
		if (r < 0) {
			waitpid(job->root, &status, 0);
			note_stats(job, err);
			break;
		}
	}
	close(signals);
	return r;
}

int supervise_drain(struct restart_job *job, struct frem_error *err)
{
	int status, r = 0;

	while (!job->drained && r >= 0) {
		struct pollfd fd = {.fd = pager_event_fd(job->pager), .events = POLLIN};

		if (poll(&fd, 1, 1000) < 0 && errno != EINTR)
			return frem_fail(err, FREM_FAILED, errno, "waiting for the pager");
		if (job_ended(job, &status)) {
			r = supervise_ended(job, status, err);
			return r < 0 ? r : 0;
		}
		r = supervise_events(job, err);
	}
	if (r < 0)
		note_stats(job, err);
	return r;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The job runs: signals, checkpoints, the memory that is still coming in, and the end.
 *
 * Two checkpoints may be under way at once, as the window of one lasts until the next begins; but
 * the next begins only once the one before is in the store.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "interrupt.h"
#include "run.h"
#include "supervise.h"

static void set_due(struct run *run)
{
	run->due_ns = run->o->every_ms ? clock_ns() + run->o->every_ms * NSEC_PER_MSEC : UINT64_MAX;
}

/* ---- checkpoints ---- */

static void start_checkpoint(struct run *run, bool stop)
{
	struct frem_error err = {0};
	int r = run_attempt_start(run, stop, &err);

	if (r == -EBUSY)
		return; /* as soon as the one before is through */
	run->wanted = false;
	set_due(run);
	if (r < 0)
		log_warning("a checkpoint of '%s' failed: %s, ignoring: the job goes on",
			    run->o->name, err.text);
	else if (stop)
		run->stopping_now = true;
}

static void start_what_is_due(struct run *run)
{
	if (run->stopping_now)
		return;
	if (run->stopping || run->wanted || clock_ns() >= run->due_ns)
		start_checkpoint(run, run->stopping);
}

/* The last checkpoint failed: the job gets the signal that it was to be spared. */
static void give_up_stopping(struct run *run)
{
	log_warning("'%s' could not be checkpointed: it is ended without", run->o->name);
	run->stopping = run->stopping_now = false;
	kill(run->root, SIGTERM);
}

static void hear(struct run *run, struct run_attempt *a)
{
	bool open = a == run_attempt_open(run);
	int r = run_attempt_hear(run, a);

	if (!open || !run->stopping_now)
		return;
	if (r > 0)
		run->stopped = true;
	else
		give_up_stopping(run);
}

/* ---- signals ---- */

static void take_signal(struct run *run, const struct signalfd_siginfo *info)
{
	int number = (int)info->ssi_signo;
	bool from_terminal = info->ssi_code == SI_QUEUE && info->ssi_int == 1;

	if (number == SIGCHLD)
		return;
	if (number == SIGUSR1)
		run->wanted = true;
	else if (number == SIGTERM && run->o->checkpoint_on_term)
		run->stopping = true;
	else
		kill(from_terminal ? -run->root : run->root, number);
}

static void take_signals(struct run *run)
{
	struct signalfd_siginfo info;

	while (read(run->signals, &info, sizeof(info)) == (ssize_t)sizeof(info))
		take_signal(run, &info);
}

/* One that came between the last look before the resume and now. */
static void take_early_signal(struct run *run)
{
	int number = interrupt_signal();
	struct signalfd_siginfo early = {.ssi_signo = (uint32_t)number};

	if (number == SIGINT || number == SIGQUIT) { /* keys, most likely */
		early.ssi_code = SI_QUEUE;
		early.ssi_int = 1;
	}
	if (number)
		take_signal(run, &early);
	interrupt_clear();
}

int run_watch_signals(struct run *run, struct frem_error *err)
{
	sigset_t set;

	supervise_signals(&set);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return frem_fail(err, FREM_FAILED, errno, "blocking signals");
	if (run->signals < 0)
		run->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (run->signals < 0)
		return frem_fail(err, FREM_FAILED, errno, "watching signals");
	return 0;
}

/* ---- the end ---- */

/* What became of a checkpoint that was to end the job decides what its end means. */
static void settle_stopping(struct run *run)
{
	while (run->stopping_now && !run->stopped) {
		struct run_attempt *a = run_attempt_open(run);

		if (a && run_attempt_hear(run, a) > 0)
			run->stopped = true;
		else
			run->stopping_now = false;
	}
}

static int job_over(struct run *run, int status, struct frem_error *err)
{
	settle_stopping(run);
	if (run->restart)
		status = supervise_ended(run->restart, status, err);
	if (run->stopped) {
		run_attempts_finish(run);
		return RUN_STOPPED;
	}
	/* of a job that has ended well nothing is wanted any more */
	if (status == 0)
		run_attempts_cancel(run);
	else
		run_attempts_finish(run);
	return status;
}

/* ---- the loop ---- */

static bool has_memory_to_come(const struct run *run)
{
	return run->restart && !run->restart->drained;
}

static int until_due(const struct run *run)
{
	uint64_t now = clock_ns(), ms;

	if (run->due_ns == UINT64_MAX || run_attempt_open((struct run *)run))
		return -1;
	if (run->due_ns <= now)
		return 100; /* it could not be started: the window of the one before */
	ms = (run->due_ns - now) / NSEC_PER_MSEC + 1;
	return ms < 3600000 ? (int)ms : 3600000;
}

static int wait_for_news(struct run *run, struct frem_error *err)
{
	struct pollfd fds[2 + RUN_ATTEMPTS] = {
		{.fd = run->signals, .events = POLLIN},
		{.fd = has_memory_to_come(run) ? pager_event_fd(run->restart->pager) : -1,
		 .events = POLLIN},
	};
	int r = 0;

	for (size_t i = 0; i < RUN_ATTEMPTS; i++)
		fds[2 + i] = (struct pollfd){.fd = run->attempts[i].pid ? run->attempts[i].fd : -1,
					     .events = POLLIN};
	if (poll(fds, 2 + RUN_ATTEMPTS, until_due(run)) < 0)
		return errno == EINTR ? 0
				      : frem_fail(err, FREM_FAILED, errno, "waiting for the job");
	take_signals(run);
	for (size_t i = 0; i < RUN_ATTEMPTS; i++)
		if (fds[2 + i].revents)
			hear(run, &run->attempts[i]);
	if (has_memory_to_come(run))
		r = supervise_events(run->restart, err);
	return r < 0 ? r : 0;
}

int run_loop(struct run *run, struct frem_error *err)
{
	int r = run_watch_signals(run, err), status;

	take_early_signal(run);
	set_due(run);
	while (r == 0) {
		if (waitpid(run->root, &status, WNOHANG) == run->root)
			return job_over(run, supervise_status(status), err);
		start_what_is_due(run);
		r = wait_for_news(run, err);
	}
	/* its memory could not be brought in, and it was killed */
	run_attempts_cancel(run);
	kill(run->root, SIGKILL);
	waitpid(run->root, &status, 0);
	return r;
}

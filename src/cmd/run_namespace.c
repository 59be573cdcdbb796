/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "run_namespace.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "supervise.h"
#include "ui.h"

#define LAST_PID "/proc/sys/kernel/ns_last_pid"
#define PLAIN_PROC (MS_NOSUID | MS_NODEV | MS_NOEXEC)

/* Whether the terminal has sent it, and so to all in front of it, is passed on as its value. */
static void pass_on(pid_t to, const siginfo_t *info)
{
	union sigval value = info->si_value;

	if (info->si_code == SI_KERNEL)
		value.sival_int = 1;
	else if (info->si_code != SI_QUEUE)
		value.sival_int = 0;
	sigqueue(to, info->si_signo, value);
}

/* Passes signals on to the child until it has ended; reaps everything else. Returns its status. */
static int hold(pid_t child, const sigset_t *signals)
{
	siginfo_t info;
	int status;

	for (;;) {
		pid_t pid;

		if (sigwaitinfo(signals, &info) < 0)
			continue;
		if (info.si_signo != SIGCHLD) {
			pass_on(child, &info);
			continue;
		}
		while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
			if (pid == child)
				return status;
	}
}

/* ---- init ---- */

static int own_proc(struct frem_error *err)
{
	int r;

	if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) == 0 &&
	    mount("proc", "/proc", "proc", PLAIN_PROC, NULL) == 0)
		return 0;
	r = frem_fail(err, FREM_UNABLE, errno, "mounting /proc of the job's pid namespace");
	return frem_hint(err, r,
			 "in a container, /proc has to be mounted without anything over it");
}

static _Noreturn void finish(const struct namespace_plan *plan, int r, struct frem_error *err)
{
	_exit(ui_finish(r, plan->json, err));
}

static _Noreturn void be_init(const struct namespace_plan *plan, const sigset_t *signals, int life)
{
	struct pollfd alive = {.fd = life};
	struct frem_error err = {0};
	pid_t child;
	int status;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, "frem-init");
	/* the outside may have ended before that */
	if (poll(&alive, 1, 0) > 0)
		_exit(FREM_FAILED);
	close(life);
	setsid();
	if (own_proc(&err) < 0)
		finish(plan, -1, &err);
	child = fork();
	if (child < 0)
		finish(plan, frem_fail(&err, FREM_FAILED, errno, "starting a process"), &err);
	if (child == 0) {
		prctl(PR_SET_NAME, "frem");
		finish(plan, plan->inside(plan->arg, &err), &err);
	}
	status = hold(child, signals);
	if (WIFSIGNALED(status)) {
		frem_fail(&err, FREM_FAILED, 0, "the parent of the job was killed by signal %d",
			  WTERMSIG(status));
		finish(plan, -1, &err);
	}
	_exit(WEXITSTATUS(status));
}

/* ---- outside ---- */

static _Noreturn void be_warden(int life, int init)
{
	struct pollfd ended = {.fd = init, .events = POLLIN};
	char byte;

	setsid();
	prctl(PR_SET_NAME, "frem-warden");
	signal(SIGTERM, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	while (read(life, &byte, 1) < 0 && errno == EINTR)
		;
	syscall(SYS_pidfd_send_signal, init, SIGKILL, NULL, 0);
	/* init counts as ended only once everything else in its namespace is gone */
	while (poll(&ended, 1, -1) < 0 && errno == EINTR)
		;
	_exit(0);
}

static pid_t clone_init(int *ret_pidfd)
{
	struct clone_args args = {
		.flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_PIDFD,
		.pidfd = (uint64_t)(uintptr_t)ret_pidfd,
		.exit_signal = SIGCHLD,
	};

	return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

/* life: a pipe whose write end is closed by the end of this process, however it ends. */
static int run_within(const struct namespace_plan *plan, const sigset_t *signals, int life[2],
		      struct frem_error *err)
{
	_cleanup_close_ int pidfd = -1;
	pid_t init = clone_init(&pidfd), warden;
	int status;

	if (init == 0) {
		close(life[1]);
		be_init(plan, signals, life[0]);
	}
	if (init < 0)
		return frem_fail(err, FREM_UNABLE, errno, "making a pid namespace for the job");
	warden = fork();
	if (warden == 0) {
		close(life[1]);
		be_warden(life[0], pidfd);
	}
	if (warden < 0) {
		kill(init, SIGKILL);
		waitpid(init, NULL, 0);
		return frem_fail(err, FREM_FAILED, errno, "starting a process");
	}
	status = hold(init, signals);
	close(take_fd(&life[1]));
	waitpid(warden, NULL, 0);
	if (WIFSIGNALED(status))
		return frem_fail(err, FREM_FAILED, 0,
				 "the first process of the job's pid namespace was killed by "
				 "signal %d",
				 WTERMSIG(status));
	return WEXITSTATUS(status);
}

int namespace_run(const struct namespace_plan *plan, struct frem_error *err)
{
	sigset_t signals, before;
	int life[2], r;

	if (pipe2(life, O_CLOEXEC) < 0)
		return frem_fail(err, FREM_FAILED, errno, "making a pipe");
	supervise_signals(&signals);
	sigprocmask(SIG_BLOCK, &signals, &before);
	r = run_within(plan, &signals, life, err);
	sigprocmask(SIG_SETMASK, &before, NULL);
	close(life[0]);
	cleanup_close(&life[1]);
	return r;
}

/* after: the next pid to be given out is the first free one behind it. */
static int set_last_pid(FILE *f, pid_t after, struct frem_error *err)
{
	if (f)
		rewind(f);
	if (!f || fprintf(f, "%d", after) < 0 || fflush(f) == EOF)
		return frem_fail(err, FREM_UNABLE, errno, "setting the pids of the job apart");
	return 0;
}

int namespace_skip_pids(pid_t pid, struct frem_error *err)
{
	_cleanup_fclose_ FILE *f = fopen(LAST_PID, "r+e");
	char last[32];

	if (f && fgets(last, sizeof(last), f) && strtol(last, NULL, 10) >= pid)
		return 0;
	return set_last_pid(f, pid, err);
}

int namespace_reuse_pids(struct frem_error *err)
{
	_cleanup_fclose_ FILE *f = fopen(LAST_PID, "r+e");

	return set_last_pid(f, 1, err);
}

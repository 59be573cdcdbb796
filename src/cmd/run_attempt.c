/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One checkpoint of a running job, made by a process of its own: the job's signals and its end
 * never wait for an upload. The process reports once, as soon as the checkpoint is in the store or
 * has failed, and stays for the tracking window.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "checkpoint.h"
#include "interrupt.h"
#include "run.h"
#include "run_command.h"
#include "run_orphans.h"
#include "run_outputs.h"
#include "run_store.h"
#include "supervise.h"

struct report {
	int result;
	struct frem_error err;
	uint32_t seq;
	double frozen_ms, upload_ms;
	uint64_t stored_bytes;
	bool output_too_long;
};

/* ---- the process ---- */

struct making {
	struct run *run;
	int fd;
	bool output_too_long;
};

/* What was interrupted before this run began is nobody's any more; one look at it is enough. */
static void tidy(const struct run *run, const struct checkpoint_job *job)
{
	uint32_t leftovers = run->totals.checkpoints ? 0 : run->highest_before;
	struct frem_error err = {0};

	if ((run->o->keep || leftovers) &&
	    run_store_tidy(job->store, &job->id, run->o->keep, leftovers, &err) < 0)
		log_warning("removing older checkpoints: %s, ignoring: more are kept", err.text);
}

static void on_committed(void *arg, const struct checkpoint_job *job)
{
	struct making *m = arg;
	struct report report = {
		.seq = job->id.seq,
		.frozen_ms = job->frozen_ms,
		.upload_ms = job->upload_ms,
		.stored_bytes = checkpoint_job_stored_bytes(job),
		.output_too_long = m->output_too_long,
	};

	/* first: once it has reported, the end of the job may end this process */
	tidy(m->run, job);
	file_write_all(m->fd, &report, sizeof(report));
}

static int on_frozen(void *arg, int images_fd, struct frem_error *err)
{
	struct making *m = arg;

	int r = run_command_keep(m->run->o->command, images_fd, err);

	return r < 0 ? r : run_outputs_keep(m->run->outputs, images_fd, &m->output_too_long, err);
}

static int make_checkpoint(struct making *m, const struct checkpoint_options *o,
			   struct frem_error *err)
{
	_cleanup_checkpoint_job_ struct checkpoint_job *job = NULL;
	int r = run_orphans_check(o->pid, err);

	if (r == 0)
		r = checkpoint_job_new(m->run->o->cmd, o, NULL, &job, err);
	if (r == 0)
		r = checkpoint_make(job, on_committed, m, err);
	return interrupt_explain(r, err);
}

static _Noreturn void be_attempt(struct run *run, bool stop, int fd)
{
	struct checkpoint_options o = run->o->checkpoint;
	struct making m = {.run = run, .fd = fd};
	struct report report = {0};
	sigset_t all;

	interrupt_clear();
	supervise_signals(&all);
	sigprocmask(SIG_UNBLOCK, &all, NULL);
	/* that a window was closed by the next checkpoint is what was asked for here */
	log_limit(LOG_LEVEL_WARNING);
	o.pid = run->root;
	o.name = run->o->name;
	o.stop = stop;
	o.frozen = on_frozen;
	o.frozen_arg = &m;
	report.result = make_checkpoint(&m, &o, &report.err);
	if (report.result < 0)
		file_write_all(fd, &report, sizeof(report));
	_exit(report.result < 0);
}

/* ---- its parent ---- */

struct run_attempt *run_attempt_open(struct run *run)
{
	for (size_t i = 0; i < RUN_ATTEMPTS; i++)
		if (run->attempts[i].pid && !run->attempts[i].committed)
			return &run->attempts[i];
	return NULL;
}

static struct run_attempt *free_slot(struct run *run)
{
	if (run_attempt_open(run))
		return NULL;
	for (size_t i = 0; i < RUN_ATTEMPTS; i++)
		if (!run->attempts[i].pid)
			return &run->attempts[i];
	return NULL;
}

int run_attempt_start(struct run *run, bool stop, struct frem_error *err)
{
	struct run_attempt *a = free_slot(run);
	int ends[2];
	pid_t pid;

	if (!a)
		return -EBUSY;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return frem_fail(err, FREM_FAILED, errno, "making a pipe");
	pid = fork();
	if (pid == 0)
		be_attempt(run, stop, ends[1]);
	close(ends[1]);
	if (pid < 0) {
		close(ends[0]);
		return frem_fail(err, FREM_FAILED, EAGAIN, "starting a process");
	}
	*a = (struct run_attempt){.pid = pid, .fd = ends[0]};
	return 0;
}

static void count(struct run *run, const struct report *report)
{
	struct run_totals *t = &run->totals;

	t->checkpoints++;
	t->frozen_ms += report->frozen_ms;
	t->upload_ms += report->upload_ms;
	t->stored_bytes += report->stored_bytes;
	if (report->frozen_ms > t->frozen_most_ms)
		t->frozen_most_ms = report->frozen_ms;
	run->latest = report->seq;
	if (report->output_too_long && !run->too_long_said)
		log_warning("the output of '%s' is too long now to be kept in checkpoints, "
			    "ignoring: a later run has to be given the file as it is ('>>')",
			    run->o->name);
	run->too_long_said |= report->output_too_long;
	log_info("checkpoint %s@%u: stopped for %.0f ms, stored in %.0f ms", run->o->name,
		 report->seq, report->frozen_ms, report->upload_ms);
}

static void say_failed(struct run *run, const struct frem_error *err)
{
	char lines[sizeof(err->detail)], *rest = lines, *line;

	run->totals.failed++;
	log_warning("a checkpoint of '%s' failed: %s, ignoring: the job goes on", run->o->name,
		    err->text);
	snprintf(lines, sizeof(lines), "%s", err->detail);
	while ((line = strsep(&rest, "\n")))
		if (*line)
			log_warning("  %s", line);
	if (err->hint[0])
		log_notice("hint: %s", err->hint);
}

static bool read_report(int fd, struct report *ret)
{
	size_t got = 0;

	while (got < sizeof(*ret)) {
		ssize_t n = read(fd, (char *)ret + got, sizeof(*ret) - got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		got += (size_t)n;
	}
	return true;
}

static void reap(struct run *run, struct run_attempt *a)
{
	struct frem_error err = {0};

	close(a->fd);
	while (waitpid(a->pid, NULL, 0) < 0 && errno == EINTR)
		;
	if (!a->committed) {
		frem_fail(&err, FREM_FAILED, 0, "the process that made it died");
		say_failed(run, &err);
	}
	*a = (struct run_attempt){0};
}

int run_attempt_hear(struct run *run, struct run_attempt *a)
{
	struct report report;

	if (!read_report(a->fd, &report)) {
		int r = a->committed ? 0 : -1;

		reap(run, a);
		return r;
	}
	/* also where it failed: it has said all that it had to */
	a->committed = true;
	if (report.result < 0) {
		say_failed(run, &report.err);
		return -1;
	}
	count(run, &report);
	return 1;
}

void run_attempts_cancel(struct run *run)
{
	for (size_t i = 0; i < RUN_ATTEMPTS; i++) {
		struct run_attempt *a = &run->attempts[i];

		if (!a->pid)
			continue;
		/* nobody needs the touch set any more, but what is half uploaded is taken back */
		kill(a->pid, a->committed ? SIGKILL : SIGTERM);
		a->committed = true;
		reap(run, a);
	}
}

static void interrupt_attempts(struct run *run)
{
	struct signalfd_siginfo info;

	while (read(run->signals, &info, sizeof(info)) == (ssize_t)sizeof(info))
		if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT)
			for (size_t i = 0; i < RUN_ATTEMPTS; i++)
				if (run->attempts[i].pid)
					kill(run->attempts[i].pid, SIGTERM);
}

void run_attempts_finish(struct run *run)
{
	for (size_t i = 0; i < RUN_ATTEMPTS; i++) {
		struct run_attempt *a = &run->attempts[i];

		while (a->pid) {
			struct pollfd fds[] = {{.fd = run->signals, .events = POLLIN},
					       {.fd = a->fd, .events = POLLIN}};

			if (poll(fds, 2, -1) < 0 && errno != EINTR)
				return;
			interrupt_attempts(run);
			if (fds[1].revents)
				run_attempt_hear(run, a);
		}
	}
}

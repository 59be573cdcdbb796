/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How a job begins: its command, or one of its checkpoints. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "run.h"
#include "run_command.h"
#include "run_namespace.h"
#include "run_outputs.h"
#include "ui.h"

/* The job's pids are above all that a restart in a young namespace takes for itself; the kernel,
 * once beyond 300, never comes back below. */
#define PIDS_OF_FREM 1000

static _Noreturn void become_job(const struct run *run, int report)
{
	int e;

	/* a session outside of the namespace could not be dumped */
	setsid();
	signal(SIGPIPE, SIG_DFL); /* main() ignores it */
	sigprocmask(SIG_SETMASK, &run->mask, NULL);
	environ = run->environment;
	execvp(run->o->command[0], run->o->command);
	e = errno;
	if (write(report, &e, sizeof(e)) < 0)
		_exit(126);
	_exit(127);
}

int run_start(struct run *run, struct frem_error *err)
{
	int r = namespace_skip_pids(PIDS_OF_FREM, err), e = 0, ends[2];

	if (r < 0)
		return r;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return frem_fail(err, FREM_FAILED, errno, "making a pipe");
	run->root = fork();
	if (run->root == 0)
		become_job(run, ends[1]);
	close(ends[1]);
	if (run->root < 0)
		r = frem_fail(err, FREM_FAILED, errno, "starting a process");
	else if (read(ends[0], &e, sizeof(e)) == (ssize_t)sizeof(e))
		r = frem_fail(err, FREM_FAILED, e, "starting '%s'", run->o->command[0]);
	close(ends[0]);
	return r;
}

void run_say_passed_over(struct run *run)
{
	char *rest = run->passed_over, *line;

	while ((line = strsep(&rest, "\n")))
		if (*line)
			log_warning("%s", line);
	free(run->passed_over);
	run->passed_over = NULL;
}

static int prepare(void *arg, int images_fd, struct frem_error *err)
{
	const struct run *run = arg;
	int r = run_command_compare(run->o->command, images_fd, err);

	return r < 0 ? r : run_outputs_give_back(run->outputs, images_fd, err);
}

int run_restart(struct run *run, uint32_t seq, struct frem_error *err)
{
	_cleanup_restart_job_ struct restart_job *job = NULL;
	struct restart_options o = run->o->restart;
	int r;

	o.cmd = run->o->cmd;
	snprintf(o.id.name, sizeof(o.id.name), "%s", run->o->name);
	o.id.seq = seq;
	o.prepare = prepare;
	o.prepare_arg = run;
	run->restart_options = o; /* the job refers to them */
	r = namespace_reuse_pids(err);
	if (r == 0)
		r = restart_job_new(&run->restart_options, run->started_ns, &job, err);
	if (r < 0 || !job)
		return r;
	r = restart_job_restore(job, err);
	ui_progress_done();
	if (r == 0)
		r = namespace_skip_pids(PIDS_OF_FREM, err);
	if (r < 0)
		return r;
	run->root = job->root;
	run->totals.restarted_from = seq;
	run->totals.resumed_ms = job->resumed_ms;
	run->restart = TAKE_PTR(job);
	run_say_passed_over(run);
	log_notice("'%s' goes on from checkpoint %s@%u", run->o->name, run->o->name, seq);
	return 0;
}

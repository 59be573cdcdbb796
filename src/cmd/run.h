/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * frem run: what its parts share. run.c reads the command line and prepares the namespace;
 * everything below happens inside, in one process that is the job's parent.
 */
#ifndef FREM_CMD_RUN_H
#define FREM_CMD_RUN_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/rundir.h"
#include "checkpoint_job.h"
#include "cmd.h"
#include "restart_job.h"
#include "run_streams.h"

/* Checkpointed and stopped on SIGTERM: what HTCondor expects of a job that does so by itself. */
#define RUN_STOPPED 85
#define RUN_ATTEMPTS 2 /* one that is being made, and one whose window is open or being stored */

struct run_options {
	const struct cmd_context *cmd;
	const char *name;
	char **command;
	uint64_t every_ms; /* 0: only on SIGUSR1 and SIGTERM */
	unsigned keep;	   /* 0: all */
	bool clean;
	bool checkpoint_on_term;
	struct checkpoint_options checkpoint;
	struct restart_options restart;
	const char *stats; /* file, or NULL */
};

/* A process that makes a checkpoint. */
struct run_attempt {
	pid_t pid; /* 0: there is none */
	int fd;	   /* its report */
	bool committed;
};

struct run_totals {
	unsigned checkpoints, failed;
	uint32_t restarted_from; /* 0: started from the beginning */
	double resumed_ms;
	double frozen_ms, frozen_most_ms, upload_ms;
	uint64_t stored_bytes;
};

struct run {
	const struct run_options *o;
	uint64_t started_ns;
	struct rundir *dir; /* outside of the namespace, for all run directories inside */
	sigset_t mask;	    /* of signals, as frem was given it: the job's */
	struct run_output outputs[RUN_OUTPUTS];
	bool too_long_said;	     /* that an output is too long to be kept in checkpoints */
	char **environment;	     /* likewise */
	struct restart_job *restart; /* NULL: the job was started from the beginning */
	struct restart_options restart_options; /* its own */
	pid_t root;				/* of the job */
	int signals;				/* signalfd */
	uint64_t due_ns;			/* the next checkpoint; UINT64_MAX: none is due */
	bool wanted;				/* SIGUSR1: a checkpoint now */
	bool stopping;				/* SIGTERM: a checkpoint, and the end */
	bool stopping_now;			/* it is being made */
	bool stopped;				/* it is in the store, and the job has been ended */
	char *passed_over;	 /* why later checkpoints were not taken; NULL: nothing to say */
	uint32_t highest_before; /* number that was taken when the run began */
	uint32_t latest;	 /* highest number that is in the store and could be restarted */
	struct run_attempt attempts[RUN_ATTEMPTS];
	struct run_totals totals;
};

/* ---- run_start.c ---- */

/* Starts the command from its beginning. */
int run_start(struct run *run, struct frem_error *err);
/* Restarts the job from this checkpoint. */
int run_restart(struct run *run, uint32_t seq, struct frem_error *err);
/* Says what run->passed_over holds. Only once the files of the job are rolled back: standard error
 * may be one of them. */
void run_say_passed_over(struct run *run);

/* ---- run_loop.c ---- */

/* From now on signals are the job's, and wait for run_loop(). */
int run_watch_signals(struct run *run, struct frem_error *err);
/* Follows a job that runs until its end. Returns its exit status, RUN_STOPPED, or fails where its
 * memory could not be brought in and it was killed. */
int run_loop(struct run *run, struct frem_error *err);

/* ---- run_attempt.c ---- */

/* Starts a checkpoint in a process of its own, unless one is being made: then it says -EBUSY. */
int run_attempt_start(struct run *run, bool stop, struct frem_error *err);
/* To be called when the attempt's descriptor is readable. Returns 1 where it has just committed, -1
 * where it has failed, 0 where it ended after that. */
int run_attempt_hear(struct run *run, struct run_attempt *a);
/* The one that has not committed, or NULL. */
struct run_attempt *run_attempt_open(struct run *run);
/* Ends them all; what has not committed is taken back. */
void run_attempts_cancel(struct run *run);
/* Lets them all come to their end; a signal to frem ends them earlier. */
void run_attempts_finish(struct run *run);

#endif

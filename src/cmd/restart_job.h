/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The steps of one restart; restart.c puts them in order. */
#ifndef FREM_CMD_RESTART_JOB_H
#define FREM_CMD_RESTART_JOB_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/rundir.h"
#include "cmd.h"
#include "criu/criu.h"
#include "criu/image_files.h"
#include "files.h"
#include "format/name.h"
#include "pager/pager.h"

struct restart_options {
	const struct cmd_context *cmd; /* names the store */
	struct checkpoint_name id;
	enum pager_mode mode;
	enum pager_record record;
	unsigned record_ms; /* PAGER_RECORD_FOR */
	bool detach;
	const char *stats; /* file, or NULL */
	enum restart_files files;
	bool tcp_given;
	enum criu_tcp tcp; /* where it was given; else as the checkpoint says */
	/* NULL, or what is to be done to the image and its files before these are rolled back */
	int (*prepare)(void *arg, int images_fd, struct frem_error *err);
	void *prepare_arg;
};

struct restart_job {
	const struct restart_options *o;
	struct checkpoint_name id; /* with its number */
	struct criu_program criu;
	struct rundir *run;
	int images_fd, work_fd;
	struct pager *pager;
	struct image_rollback *rollback;
	uint64_t started_ns; /* clock_ns() at the start of the command */
	double pager_ms;     /* since then, until the pager was started */
	double resumed_ms;   /* since then, until the tasks ran */
	pid_t root;	     /* our child; 0 before the restore */
	bool drained;
	pid_t recording_pid; /* the process that stores what was recorded: record.c */
	int recording_fd;    /* its words; -1: there is none */
};

/* --resume: now, touch-set or full. Error: FREM_USAGE. */
int restart_parse_mode(const char *text, enum pager_mode *ret, struct frem_error *err);
/* Refuses what can be refused at once, then starts the pager. */
int restart_job_new(const struct restart_options *o, uint64_t started_ns, struct restart_job **ret,
		    struct frem_error *err);
/* If memory is still missing, kills the job. */
void restart_job_free(struct restart_job *job);
/* Waits for the image directory, rolls files back and has CRIU restore the tree. */
int restart_job_restore(struct restart_job *job, struct frem_error *err);
/* Takes the pager's next event; fails where the pager did. *ret may be NULL. */
int restart_job_event(struct restart_job *job, int timeout_ms, enum pager_event_type *ret,
		      struct frem_error *err);
/* Writes the --stats file, whole or not at all; failure may be NULL. */
int restart_job_write_stats(const struct restart_job *job, const struct frem_error *failure,
			    struct frem_error *err);

FREM_CLEANUP(struct restart_job *, cleanup_restart_job, restart_job_free)
#define _cleanup_restart_job_ _cleanup_(cleanup_restart_job)

#endif

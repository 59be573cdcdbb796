/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The open files that a job is given. CRIU names a file by its mount, so what was opened outside of
 * the job's mount namespace is opened once more inside, with the same flags and offset. What frem
 * says itself then goes behind what is in a file, and the job's output is not written over.
 */
#ifndef FREM_CMD_RUN_STREAMS_H
#define FREM_CMD_RUN_STREAMS_H

#include <stdbool.h>

/* What a run was given as standard output or error. */
struct run_output {
	bool is_file;
	bool was_empty; /* new, or cut by the shell, when the run began */
	bool appends;	/* was opened so: who does it again does not cut it, most likely */
};

#define RUN_OUTPUTS 3 /* by descriptor; standard input's is not used */

/* Inside, before the job is started: opens again all that the job inherits. What has no path that
 * leads to it stays as it is. */
void run_streams_reopen(struct run_output ret[RUN_OUTPUTS]);
/* Outside, and inside before anything is printed at the end: the caller's own descriptors of
 * standard output and error are moved behind what the job has written. */
void run_streams_catch_up(void);

#endif

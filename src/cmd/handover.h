/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a checkpoint asks the windows of earlier ones of the same program to close before it clears
 * accessed bits: by a socket in the run directory of each frem that has a window open. It is root's
 * alone, as the directory is, and goes with it, however its owner ends. Nobody is waited for longer
 * than HANDOVER_MS in all: a window that goes on loses a few touches, and nothing else.
 */
#ifndef FREM_CMD_HANDOVER_H
#define FREM_CMD_HANDOVER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/digest.h"
#include "base/error.h"
#include "base/rundir.h"

#define HANDOVER_MS 200

/* A process that is to be checkpointed, and the job that it will be stored as. */
struct handover_request {
	uint64_t magic;
	uint64_t start; /* of the process, as in struct process_info */
	int64_t pid;
	uint8_t job[DIGEST_SIZE]; /* digest of store and name */
};

/* ---- of the next checkpoint ---- */

void handover_request_init(struct handover_request *r, pid_t pid, const char *store,
			   const char *name);
/*
 * Asks all windows beside our run directory, and waits until those of the program are closed.
 * Returns the highest number that a checkpoint of the same job has taken, stored or not; 0 where
 * there is none.
 */
uint32_t handover_ask(const struct rundir *own, const struct handover_request *r);

/* ---- of a window's owner ---- */

/* The listening socket; not blocking. */
int handover_listen(const struct rundir *own, int *ret_fd, struct frem_error *err);
/* Takes one request. False where there is none that makes sense. *ret_fd is for the answer, and is
 * to be closed as soon as there is nothing to wait for. */
bool handover_accept(int listen_fd, struct handover_request *ret, int *ret_fd);
/* seq: the number that the owner's checkpoint has taken if it is of the same job, else 0. */
void handover_answer(int fd, uint32_t seq);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Drives the stock CRIU over its RPC (`criu swrk FD`; images/rpc.proto of CRIU).
 *
 * CRIU runs as a child in a session of its own, so that a Ctrl-C meant for frem never kills it in
 * the middle of a dump. Its log goes to a file in the work directory; on a refusal, its own `Error`
 * lines are taken from there into err->detail, and err->code is FREM_REFUSED. One request at a
 * time; calls block and run the notification callbacks on the calling thread.
 */
#ifndef FREM_CRIU_CRIU_H
#define FREM_CRIU_CRIU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/error.h"

#define CRIU_OLDEST_MAJOR 4
#define CRIU_OLDEST_MINOR 2

struct criu_program {
	char path[4096];
	char version[32]; /* "4.2.1" */
	int major, minor;
};

/*
 * Finds the CRIU to use: $FREM_CRIU; else `criu` in PATH, then the private prefix beside frem's own
 * executable (DIR/criu/criu), then /var/lib/frem/criu, the first that is new enough.
 * Error: FREM_UNABLE (missing, too old), with a hint.
 */
int criu_find(struct criu_program *ret, struct frem_error *err);
/* Runs `criu check`; FREM_UNABLE with CRIU's words if it does not work here. */
int criu_check(const struct criu_program *p, struct frem_error *err);

enum criu_tcp {
	CRIU_TCP_CLOSE,
	CRIU_TCP_ESTABLISHED,
};

/* Called in the middle of a request; a nonzero return makes CRIU give the request up where it can.
 */
struct criu_hooks {
	/* dump: all tasks are dumped and still frozen; n pids of the tree, the root first */
	int (*post_dump)(void *arg, const pid_t *pids, size_t n, struct frem_error *err);
	/* restore: before any task exists */
	int (*pre_restore)(void *arg, struct frem_error *err);
	/* restore: all tasks are in place and stopped just before they run; root: real pid. On
	 * failure the driver kills the tree before it lets CRIU go on. */
	int (*pre_resume)(void *arg, pid_t root, struct frem_error *err);
	void *arg;
};

struct criu_dump {
	pid_t pid;
	int images_fd; /* directory for the image; CRIU's log goes there too and is removed on
			  success */
	bool stop;     /* kill the tasks after the dump, unless the post_dump hook fails */
	enum criu_tcp tcp;
	struct criu_hooks hooks;
};

/* Dumps a tree. Whatever the outcome, the tasks run on afterwards unless `stop` asked otherwise and
 * the dump succeeded. *ret_frozen_ms: how long they were frozen. */
int criu_dump(const struct criu_program *p, const struct criu_dump *d, double *ret_frozen_ms,
	      struct frem_error *err);

struct criu_restore {
	int images_fd;
	int work_fd; /* CRIU's log, and the lazy-pages.socket it connects to */
	bool lazy;
	enum criu_tcp tcp;
	struct criu_hooks hooks;
};

/*
 * Restores a tree. The restored root becomes a child of the caller (rst_sibling). Standard streams
 * that went to a terminal or a pipe outside of the tree at the dump are connected to the caller's.
 * On failure no task of the tree is left. *ret_pid: the root.
 */
int criu_restore(const struct criu_program *p, const struct criu_restore *r, pid_t *ret_pid,
		 struct frem_error *err);

#endif

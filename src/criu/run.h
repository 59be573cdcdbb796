/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Starts CRIU: as a command whose words are wanted, and as the server of one RPC request. */
#ifndef FREM_CRIU_RUN_H
#define FREM_CRIU_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"
#include "criu/criu.h"
#include "rpc.pb-c.h"

/* Runs argv (argv[0] is its path) and collects what it writes, cut at size - 1 bytes. Returns its
 * exit status, or negative where it could not be run or did not end within a while. */
int run_command(const char *const argv[], char *out, size_t size);

/* Request types, and the choices of two options (images/rpc.proto of CRIU). */
#define RPC_DUMP 1
#define RPC_RESTORE 2
#define RPC_NOTIFY 6
#define RPC_CGROUPS_IGNORE 0
#define RPC_LOCK_IPTABLES 1
#define RPC_LOCK_NFTABLES 2
#define RPC_LOCK_SKIP 3

#define SESSION_INHERIT_FIRST 10 /* the number in CRIU of the first inherited descriptor */
#define SESSION_INHERIT_MAX 4

struct criu_session {
	pid_t pid;
	int sock;
};

/* Starts `criu swrk` in a session of its own with n descriptors inherited. */
int session_start(const struct criu_program *p, const int *inherit, size_t n,
		  struct criu_session *ret, struct frem_error *err);
int session_send(struct criu_session *s, const CriuReq *req, struct frem_error *err);
/* The next message, to be freed with criu_resp__free_unpacked(). Where CRIU ended without one, the
 * error says how. */
int session_receive(struct criu_session *s, CriuResp **ret, struct frem_error *err);
/* Answers a notification; external is a list of n keys, for `query-ext-files`. */
int session_answer(struct criu_session *s, bool success, char **external, size_t n,
		   struct frem_error *err);
/* Closes the connection and waits until CRIU has ended. */
void session_end(struct criu_session *s);

/* Adds the first few Error lines of the log below dirfd to the detail of err. */
void log_take_errors(int dirfd, const char *name, const char *message, struct frem_error *err);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "guard.h"

#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "criu/tree.h"

#define RELEASED 0

/* Reads which tree to watch, again and again, until it is told to go or the writer is dead. */
static void be_guard(int from)
{
	pid_t root = RELEASED, next;
	ssize_t n;

	do {
		n = read(from, &next, sizeof(next));
		if (n == (ssize_t)sizeof(next)) {
			root = next;
			if (root == RELEASED)
				_exit(0);
		}
	} while (n > 0 || (n < 0 && errno == EINTR));
	if (root != RELEASED)
		tree_kill(root);
	_exit(1);
}

int guard_start(struct guard *ret, struct frem_error *err)
{
	int ends[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return frem_fail(err, FREM_FAILED, errno, "starting the guard of a restore");
	pid = fork();
	if (pid == 0) {
		setsid();
		signal(SIGINT, SIG_IGN);
		signal(SIGTERM, SIG_IGN);
		signal(SIGHUP, SIG_IGN);
		/* nothing of ours may live on in here: who waits for our end waits for its close */
		if (dup2(ends[0], 0) < 0)
			_exit(1);
		close_range(1, ~0U, 0);
		be_guard(0);
	}
	close(ends[0]);
	if (pid < 0) {
		close(ends[1]);
		return frem_fail(err, FREM_FAILED, EAGAIN, "starting the guard of a restore");
	}
	*ret = (struct guard){.pid = pid, .socket = ends[1]};
	return 0;
}

void guard_watch(struct guard *g, pid_t root)
{
	while (send(g->socket, &root, sizeof(root), MSG_NOSIGNAL) < 0 && errno == EINTR)
		;
}

void guard_release(struct guard *g)
{
	if (g->pid <= 0)
		return;
	guard_watch(g, RELEASED);
	close(g->socket);
	while (waitpid(g->pid, NULL, 0) < 0 && errno == EINTR)
		;
	g->pid = 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"

#define COMMAND_MS 20000 /* `criu check` takes well under a second */
#define MESSAGE_MAX (1 << 20)
#define SESSION_SOCKET 3    /* the number of the RPC socket in CRIU */
#define SESSION_PARKING 200 /* descriptors wait above this until their numbers are free */

/* What CRIU is started with must not depend on what frem blocks or ignores. Only functions that
 * are safe between fork and exec. */
static void reset_signals(void)
{
	struct sigaction plain = {.sa_handler = SIG_DFL};
	sigset_t none;

	for (int i = 1; i < SIGRTMIN; i++)
		sigaction(i, &plain, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void open_null(int number, int flags)
{
	int fd = open("/dev/null", flags);

	if (fd >= 0 && fd != number) {
		dup2(fd, number);
		close(fd);
	}
}

static void become_command(const char *const argv[], int out)
{
	setsid(); /* a Ctrl-C is for frem to act upon */
	reset_signals();
	open_null(STDIN_FILENO, O_RDONLY);
	dup2(out, STDOUT_FILENO);
	dup2(out, STDERR_FILENO);
	execv(argv[0], (char *const *)argv);
	_exit(127);
}

/* Reads until the writer is gone; false where it is still there after COMMAND_MS. */
static bool collect(int fd, char *out, size_t size)
{
	uint64_t start = clock_ns();
	size_t have = 0;
	char cut[512];

	out[0] = '\0';
	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		int left = COMMAND_MS - (int)clock_ms_since(start);
		bool full = have == size - 1;
		ssize_t n;

		if (left <= 0)
			return false;
		if (poll(&p, 1, left) <= 0)
			continue;
		n = read(fd, full ? cut : out + have, full ? sizeof(cut) : size - 1 - have);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return true;
		if (!full)
			have += (size_t)n;
		out[have] = '\0';
	}
}

int run_command(const char *const argv[], char *out, size_t size)
{
	_cleanup_close_ int from = -1;
	int ends[2], status;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	from = ends[0];
	pid = fork();
	if (pid == 0)
		become_command(argv, ends[1]);
	close(ends[1]);
	if (pid < 0)
		return -EAGAIN;
	if (!collect(from, out, size))
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -EIO;
}

/* Puts the descriptors under the numbers that the request names, and nothing else. */
static void place_descriptors(int sock, const int *inherit, size_t n)
{
	int parked[SESSION_INHERIT_MAX];

	sock = fcntl(sock, F_DUPFD, SESSION_PARKING);
	for (size_t i = 0; i < n; i++)
		parked[i] = fcntl(inherit[i], F_DUPFD, SESSION_PARKING);
	open_null(STDIN_FILENO, O_RDONLY);
	open_null(STDOUT_FILENO, O_WRONLY);
	open_null(STDERR_FILENO, O_WRONLY);
	if (dup2(sock, SESSION_SOCKET) < 0)
		_exit(127);
	close_range(SESSION_SOCKET + 1, SESSION_PARKING - 1, 0);
	for (size_t i = 0; i < n; i++)
		if (dup2(parked[i], SESSION_INHERIT_FIRST + (int)i) < 0)
			_exit(127);
	close_range(SESSION_PARKING, ~0U, 0);
}

int session_start(const struct criu_program *p, const int *inherit, size_t n,
		  struct criu_session *ret, struct frem_error *err)
{
	char number[16];
	int pair[2];
	pid_t pid;

	if (n > SESSION_INHERIT_MAX)
		return frem_fail(err, FREM_FAILED, EINVAL, "starting criu");
	/* CRIU needs many descriptors and may not be allowed to raise the limit itself */
	file_raise_nofile();
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return frem_fail(err, FREM_FAILED, errno, "starting criu");
	snprintf(number, sizeof(number), "%d", SESSION_SOCKET);
	pid = fork();
	if (pid == 0) {
		setsid();
		reset_signals();
		place_descriptors(pair[1], inherit, n);
		execl(p->path, p->path, "swrk", number, (char *)NULL);
		_exit(127);
	}
	close(pair[1]);
	if (pid < 0) {
		close(pair[0]);
		return frem_fail(err, FREM_FAILED, EAGAIN, "starting criu");
	}
	ret->pid = pid;
	ret->sock = pair[0];
	return 0;
}

/* CRIU is gone without an answer: says how it ended. */
static int session_lost(struct criu_session *s, struct frem_error *err)
{
	int status;

	while (waitpid(s->pid, &status, 0) < 0)
		if (errno != EINTR) {
			s->pid = -1;
			return frem_fail(err, FREM_FAILED, 0, "criu ended without an answer");
		}
	s->pid = -1;
	if (WIFSIGNALED(status))
		return frem_fail(err, FREM_FAILED, 0, "criu was killed by signal %d",
				 WTERMSIG(status));
	return frem_fail(err, FREM_FAILED, 0, "criu ended without an answer, with status %d",
			 WEXITSTATUS(status));
}

int session_send(struct criu_session *s, const CriuReq *req, struct frem_error *err)
{
	size_t n = criu_req__get_packed_size(req);
	_cleanup_free_ uint8_t *data = malloc(n);

	if (!data)
		return frem_oom(err);
	criu_req__pack(req, data);
	while (send(s->sock, data, n, MSG_NOSIGNAL) < 0)
		if (errno == EPIPE || errno == ECONNRESET)
			return session_lost(s, err);
		else if (errno != EINTR)
			return frem_fail(err, FREM_FAILED, errno, "talking to criu");
	return 0;
}

int session_receive(struct criu_session *s, CriuResp **ret, struct frem_error *err)
{
	_cleanup_free_ uint8_t *data = NULL;
	CriuResp *resp;
	ssize_t n;

	do {
		n = recv(s->sock, NULL, 0, MSG_PEEK | MSG_TRUNC);
	} while (n < 0 && errno == EINTR);
	if (n <= 0)
		return session_lost(s, err);
	if (n > MESSAGE_MAX)
		return frem_fail(err, FREM_FAILED, EMSGSIZE, "talking to criu");
	data = malloc((size_t)n);
	if (!data)
		return frem_oom(err);
	n = recv(s->sock, data, (size_t)n, 0);
	resp = n > 0 ? criu_resp__unpack(NULL, (size_t)n, data) : NULL;
	if (!resp)
		return frem_fail(err, FREM_FAILED, EPROTO, "talking to criu");
	*ret = resp;
	return 0;
}

int session_answer(struct criu_session *s, bool success, char **external, size_t n,
		   struct frem_error *err)
{
	CriuOpts opts = CRIU_OPTS__INIT;
	CriuReq req = CRIU_REQ__INIT;

	req.type = RPC_NOTIFY;
	req.has_notify_success = 1;
	req.notify_success = success;
	if (n) {
		opts.images_dir_fd = -1;
		opts.external = external;
		opts.n_external = n;
		req.opts = &opts;
	}
	return session_send(s, &req, err);
}

void session_end(struct criu_session *s)
{
	if (s->sock >= 0)
		close(s->sock);
	s->sock = -1;
	while (s->pid > 0 && waitpid(s->pid, NULL, 0) < 0 && errno == EINTR)
		;
	s->pid = -1;
}

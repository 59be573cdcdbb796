/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "handover.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "process.h"

#define SOCKET_NAME "window"
#define REQUEST_MAGIC UINT64_C(0x31776f646e69776d) /* raised when the messages change */
#define OWNER_WAITS_MS 100 /* for a request: it is sent right after connecting */

/* A path to the socket that is short enough for any run directory. */
static void address_of(int dir_fd, struct sockaddr_un *ret)
{
	*ret = (struct sockaddr_un){.sun_family = AF_UNIX};
	snprintf(ret->sun_path, sizeof(ret->sun_path), "/proc/self/fd/%d/" SOCKET_NAME, dir_fd);
}

/* ---- asking ---- */

void handover_request_init(struct handover_request *r, pid_t pid, const char *store,
			   const char *name)
{
	struct process_info info = {0};
	struct digest_stream job;

	memset(r, 0, sizeof(*r));
	r->magic = REQUEST_MAGIC;
	r->pid = pid;
	if (process_info_read(pid, &info, NULL) == 0)
		r->start = info.start;
	digest_start(&job);
	digest_update(&job, store, strlen(store) + 1);
	digest_update(&job, name, strlen(name));
	digest_finish(&job, r->job);
}

struct asking {
	const struct handover_request *request;
	struct pollfd *owners;
	nfds_t n;
};

static int ask_owner(int dir_fd, const struct handover_request *r)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sockaddr_un address;

	address_of(dir_fd, &address);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    send(fd, r, sizeof(*r), MSG_NOSIGNAL) != sizeof(*r))
		return -1;
	return take_fd(&fd);
}

static void ask_one(void *arg, int dir_fd)
{
	struct asking *a = arg;
	struct pollfd *grown;
	int fd;

	/* most run directories are of restarts, or of no one */
	if (faccessat(dir_fd, SOCKET_NAME, F_OK, 0) < 0)
		return;
	grown = reallocarray(a->owners, a->n + 1, sizeof(*grown));
	if (!grown)
		return;
	a->owners = grown;
	fd = ask_owner(dir_fd, a->request);
	if (fd >= 0)
		a->owners[a->n++] = (struct pollfd){.fd = fd, .events = POLLIN};
}

/* Takes the answers that are there; returns how many owners are still at work. */
static nfds_t take_answers(struct asking *a, uint32_t *highest)
{
	nfds_t open = 0;

	for (nfds_t i = 0; i < a->n; i++) {
		struct pollfd *p = &a->owners[i];
		uint32_t seq;

		if (p->fd >= 0 && p->revents) {
			if (recv(p->fd, &seq, sizeof(seq), 0) == sizeof(seq)) {
				*highest = seq > *highest ? seq : *highest;
			} else {
				close(p->fd);
				p->fd = -1;
			}
		}
		open += p->fd >= 0;
	}
	return open;
}

uint32_t handover_ask(const struct rundir *own, const struct handover_request *r)
{
	uint64_t start = clock_ns();
	struct asking a = {.request = r};
	uint32_t highest = 0;
	nfds_t open;

	rundir_others(own, ask_one, &a);
	open = a.n;
	while (open) {
		int left = HANDOVER_MS - (int)clock_ms_since(start);

		if (left <= 0 || (poll(a.owners, a.n, left) < 0 && errno != EINTR))
			break;
		open = take_answers(&a, &highest);
	}
	if (a.n)
		log_info("asked %u other tracking windows in %.1f ms, %u did not close in time",
			 (unsigned)a.n, clock_ms_since(start), (unsigned)open);
	for (nfds_t i = 0; i < a.n; i++)
		cleanup_close(&a.owners[i].fd);
	free(a.owners);
	return highest;
}

/* ---- being asked ---- */

int handover_listen(const struct rundir *own, int *ret_fd, struct frem_error *err)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sockaddr_un address;

	address_of(rundir_fd(own), &address);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(fd, SOMAXCONN) < 0)
		return frem_fail(err, FREM_FAILED, errno, "making the window's socket");
	*ret_fd = take_fd(&fd);
	return 0;
}

bool handover_accept(int listen_fd, struct handover_request *ret, int *ret_fd)
{
	_cleanup_close_ int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	struct handover_request r;

	if (fd < 0 || poll(&p, 1, OWNER_WAITS_MS) <= 0 || recv(fd, &r, sizeof(r), 0) != sizeof(r) ||
	    r.magic != REQUEST_MAGIC)
		return false;
	*ret = r;
	*ret_fd = take_fd(&fd);
	return true;
}

void handover_answer(int fd, uint32_t seq)
{
	/* one that does not wait for it any more has gone on without */
	if (send(fd, &seq, sizeof(seq), MSG_NOSIGNAL) < 0)
		log_debug("the next checkpoint did not wait: %s", strerror(errno));
}

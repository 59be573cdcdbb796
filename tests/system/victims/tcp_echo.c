/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tcp_echo STATUS: listens on a free port of 127.0.0.1, appends "port N" to STATUS, and sends back
 * what each connection sends. It looks about at least every ten milliseconds; SIGUSR1 is answered
 * with how often it has.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "victim.h"

#define CLIENTS 16

struct echo {
	struct pollfd fds[1 + CLIENTS]; /* the listening socket first; -1: free */
	uint64_t rounds;
};

static void listen_somewhere(struct echo *e, const char *status)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(sin);
	int one = 1, s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	FILE *f = fopen(status, "ae");

	if (s < 0 || setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(s, (struct sockaddr *)&sin, len) < 0 || listen(s, CLIENTS) < 0 ||
	    getsockname(s, (struct sockaddr *)&sin, &len) < 0)
		victim_die("listening socket");
	if (!f || fprintf(f, "port %d\n", ntohs(sin.sin_port)) < 0 || fclose(f))
		victim_die("status file");
	for (int i = 0; i <= CLIENTS; i++)
		e->fds[i] = (struct pollfd){.fd = i ? -1 : s, .events = POLLIN};
}

static void take_client(struct echo *e)
{
	int s = accept(e->fds[0].fd, NULL, NULL);

	for (int i = 1; s >= 0 && i <= CLIENTS; i++)
		if (e->fds[i].fd < 0) {
			e->fds[i] = (struct pollfd){.fd = s, .events = POLLIN};
			return;
		}
	if (s >= 0)
		close(s);
}

static void serve_client(struct pollfd *client)
{
	char data[4096];
	ssize_t n = recv(client->fd, data, sizeof(data), 0);

	if (n < 0 && errno == EINTR)
		return;
	if (n <= 0 || send(client->fd, data, (size_t)n, MSG_NOSIGNAL) != n) {
		close(client->fd);
		client->fd = -1;
	}
}

int main(int argc, char **argv)
{
	static struct echo e;

	if (argc != 2) {
		fputs("usage: tcp_echo STATUS\n", stderr);
		return 2;
	}
	victim_init(argv[1]);
	listen_somewhere(&e, argv[1]);
	victim_ready();
	for (;;) {
		poll(e.fds, 1 + CLIENTS, 10);
		e.rounds++;
		if (e.fds[0].revents)
			take_client(&e);
		for (int i = 1; i <= CLIENTS; i++)
			if (e.fds[i].fd >= 0 && e.fds[i].revents)
				serve_client(&e.fds[i]);
		if (victim_asked(0))
			victim_ok(e.rounds);
	}
}

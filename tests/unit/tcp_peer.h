/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Raw TCP on the loopback for tests of HTTP: a peer that says what it was told to, and a client. */
#ifndef FREM_TESTS_TCP_PEER_H
#define FREM_TESTS_TCP_PEER_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A listening socket on a free port. */
static inline int tcp_listen(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 16) < 0)
		abort();
	return fd;
}

static inline void tcp_url(int fd, char *out, size_t size)
{
	struct sockaddr_in a = {0};
	socklen_t n = sizeof(a);

	if (getsockname(fd, (struct sockaddr *)&a, &n) < 0)
		abort();
	snprintf(out, size, "http://127.0.0.1:%u", ntohs(a.sin_port));
}

/* Answers the head of every connection's first request with the same bytes, then hangs up. */
struct tcp_peer {
	pthread_t thread;
	int fd;
	const char *answer;
	size_t n;
	char url[64];
};

static inline void tcp_peer_serve(const struct tcp_peer *p, int fd)
{
	char head[8192];
	size_t got = 0;
	ssize_t n;

	while (got < sizeof(head) - 1) {
		n = read(fd, head + got, sizeof(head) - 1 - got);
		if (n <= 0)
			return;
		got += (size_t)n;
		head[got] = '\0';
		if (strstr(head, "\r\n\r\n"))
			break;
	}
	if (send(fd, p->answer, p->n, MSG_NOSIGNAL) == (ssize_t)p->n)
		shutdown(fd, SHUT_WR);
	/* until the other side has taken it, so that no reset destroys the answer */
	while (read(fd, head, sizeof(head)) > 0)
		;
}

static inline void *tcp_peer_run(void *arg)
{
	struct tcp_peer *p = arg;
	int fd;

	while ((fd = accept4(p->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		tcp_peer_serve(p, fd);
		close(fd);
	}
	return NULL;
}

static inline struct tcp_peer *tcp_peer_start(const char *answer, size_t n)
{
	struct tcp_peer *p = calloc(1, sizeof(*p));

	p->fd = tcp_listen();
	p->answer = answer;
	p->n = n;
	tcp_url(p->fd, p->url, sizeof(p->url));
	if (pthread_create(&p->thread, NULL, tcp_peer_run, p))
		abort();
	return p;
}

static inline const char *tcp_peer_url(const struct tcp_peer *p)
{
	return p->url;
}

/* All connections to it have to be closed by then. */
static inline void tcp_peer_stop(struct tcp_peer *p)
{
	shutdown(p->fd, SHUT_RDWR);
	pthread_join(p->thread, NULL);
	close(p->fd);
	free(p);
}

/* Connects to http://127.0.0.1:PORT. */
static inline int tcp_connect(const char *url)
{
	struct sockaddr_in a = {.sin_family = AF_INET};
	const struct timeval patience = {.tv_sec = 20};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	a.sin_port = htons((unsigned short)strtoul(strrchr(url, ':') + 1, NULL, 10));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		abort();
	return fd;
}

static inline bool tcp_send(int fd, const void *data, size_t n)
{
	const char *p = data;

	while (n) {
		ssize_t put = send(fd, p, n, MSG_NOSIGNAL);

		if (put <= 0)
			return false;
		p += put;
		n -= (size_t)put;
	}
	return true;
}

/* Reads up to the peer's hang-up; out is NUL-terminated. */
static inline size_t tcp_read_all(int fd, char *out, size_t size)
{
	size_t got = 0;
	ssize_t n;

	while (got < size - 1 && (n = read(fd, out + got, size - 1 - got)) > 0)
		got += (size_t)n;
	out[got] = '\0';
	return got;
}

/* The status of an answer, 0 if it is none. */
static inline int tcp_status(const char *answer)
{
	return strncmp(answer, "HTTP/1.1 ", 9) == 0 ? (int)strtol(answer + 9, NULL, 10) : 0;
}

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An HTTP server that keeps one object in memory and does wrong what it is told to do wrong. */
#ifndef FREM_TESTS_FAULTY_SERVER_H
#define FREM_TESTS_FAULTY_SERVER_H

#include <stdatomic.h>
#include <stdint.h>

#include "tcp_peer.h"

enum fault {
	FAULT_NONE,
	FAULT_RESET,
	FAULT_503,
	FAULT_500,
	FAULT_401,
	FAULT_403,
	FAULT_404,
	FAULT_GARBAGE,
	FAULT_SHORT,	   /* half of the body, then the end of the connection */
	FAULT_WRONG_RANGE, /* the bytes behind those that were asked for */
	FAULT_SILENT,	   /* nothing, for as long as the client waits */
	FAULT_STUCK,	   /* half of the body, then nothing for as long as the client waits */
	FAULT_CORRUPT,	   /* one wrong byte */
	FAULT_LOST,	   /* it does what it should, but the answer is lost */
};

struct faulty_server {
	pthread_t thread;
	int fd;
	char url[64];
	uint8_t *object;
	size_t size;
	bool present;
	_Atomic(enum fault) fault;
	atomic_int faults; /* requests it concerns, -1: all */
	atomic_int requests, connections;
	atomic_int room; /* for connections, 0: for all; others are served `crowded` and end */
	atomic_int inside, turned_away;
	_Atomic(enum fault) crowded;
};

static inline void faulty_send(int fd, const char *text)
{
	tcp_send(fd, text, strlen(text));
}

static inline enum fault faulty_next(struct faulty_server *s)
{
	int left = s->faults;

	while (left > 0 && !atomic_compare_exchange_weak(&s->faults, &left, left - 1))
		;
	return left ? s->fault : FAULT_NONE;
}

static inline void faulty_status(int fd, enum fault fault)
{
	static const char *const heads[] = {[FAULT_503] = "503 Later",
					    [FAULT_500] = "500 Oops",
					    [FAULT_401] = "401 Who",
					    [FAULT_403] = "403 No",
					    [FAULT_404] = "404 None"};
	char head[128];

	snprintf(head, sizeof(head), "HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n", heads[fault]);
	faulty_send(fd, head);
}

static inline bool faulty_body(struct faulty_server *s, int fd, size_t first, size_t n,
			       enum fault fault)
{
	const uint8_t *from = s->object + first;
	uint8_t *copy = NULL, until_closed;
	bool ok;

	if (fault == FAULT_CORRUPT) {
		copy = malloc(n);
		memcpy(copy, from, n);
		copy[n / 2] ^= 1;
		from = copy;
	}
	if (fault == FAULT_SHORT || fault == FAULT_STUCK)
		ok = tcp_send(fd, from, n / 2) && false;
	else
		ok = tcp_send(fd, from, n);
	while (fault == FAULT_STUCK && read(fd, &until_closed, 1) > 0)
		;
	free(copy);
	return ok;
}

static inline bool faulty_get(struct faulty_server *s, int fd, const char *request,
			      enum fault fault)
{
	const char *range = strcasestr(request, "range: bytes=");
	size_t first = 0, last = s->size - 1, shift = fault == FAULT_WRONG_RANGE;
	char head[256], *end = NULL;

	if (range) {
		first = strtoul(range + 13, &end, 10);
		if (*end == '-' && end[1] >= '0' && end[1] <= '9')
			last = strtoul(end + 1, NULL, 10);
	}
	if (last >= s->size)
		last = s->size - 1;
	if (!s->present) {
		faulty_status(fd, FAULT_404);
		return true;
	}
	if (first >= s->size)
		snprintf(head, sizeof(head),
			 "HTTP/1.1 416 Behind\r\nContent-Length: 0\r\n"
			 "Content-Range: bytes */%zu\r\n\r\n",
			 s->size);
	else if (!range)
		snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n",
			 s->size);
	else
		snprintf(head, sizeof(head),
			 "HTTP/1.1 206 Part\r\nContent-Length: %zu\r\n"
			 "Content-Range: bytes %zu-%zu/%zu\r\n\r\n",
			 last - first + 1, first + shift, last + shift, s->size);
	faulty_send(fd, head);
	return first >= s->size || faulty_body(s, fd, first, last - first + 1, fault);
}

/* What is left of a request's body in the connection would be taken for the next request. */
static inline uint8_t *faulty_upload(int fd, const char *request, size_t have, size_t *n)
{
	const char *length = strcasestr(request, "content-length: ");
	const char *start = strstr(request, "\r\n\r\n") + 4;
	uint8_t *body;

	*n = length ? strtoul(length + 16, NULL, 10) : 0;
	body = malloc(*n + 1);
	if (strcasestr(request, "expect: 100"))
		faulty_send(fd, "HTTP/1.1 100 Go on\r\n\r\n");
	memcpy(body, start, have < *n ? have : *n);
	while (have < *n) {
		ssize_t got = read(fd, body + have, *n - have);

		if (got <= 0)
			break;
		have += (size_t)got;
	}
	return body;
}

static inline bool faulty_put(struct faulty_server *s, int fd, const char *request, size_t have,
			      enum fault fault)
{
	size_t n;
	uint8_t *body = faulty_upload(fd, request, have, &n);

	if (fault >= FAULT_503 && fault <= FAULT_404) {
		faulty_status(fd, fault);
	} else if (s->present && strcasestr(request, "if-none-match")) {
		faulty_send(fd, "HTTP/1.1 412 Taken\r\nContent-Length: 0\r\n\r\n");
	} else {
		memcpy(s->object, body, n);
		s->size = n;
		s->present = true;
		if (fault != FAULT_LOST)
			faulty_send(fd, "HTTP/1.1 201 Made\r\nContent-Length: 0\r\n\r\n");
	}
	free(body);
	return fault != FAULT_LOST;
}

static inline void faulty_reset(int fd)
{
	const struct linger at_once = {.l_onoff = 1};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
}

static inline bool faulty_answer(struct faulty_server *s, int fd, const char *request, size_t have)
{
	enum fault fault = faulty_next(s);
	char nothing[256];

	s->requests++;
	if (fault == FAULT_RESET) {
		faulty_reset(fd);
		return false;
	}
	if (strncmp(request, "PUT ", 4) == 0 && fault != FAULT_GARBAGE && fault != FAULT_SILENT)
		return faulty_put(s, fd, request, have, fault);
	switch (fault) {
	case FAULT_503:
	case FAULT_500:
	case FAULT_401:
	case FAULT_403:
	case FAULT_404:
		faulty_status(fd, fault);
		return true;
	case FAULT_GARBAGE:
		faulty_send(fd, "what?\r\n\r\n");
		return false;
	case FAULT_SILENT:
		while (read(fd, nothing, sizeof(nothing)) > 0)
			;
		return false;
	default:
		break;
	}
	if (strncmp(request, "DELETE ", 7) == 0) {
		faulty_status(fd, FAULT_404);
		return true;
	}
	return faulty_get(s, fd, request, fault);
}

struct faulty_connection {
	struct faulty_server *server;
	int fd;
};

static inline bool faulty_enter(struct faulty_server *s, int fd)
{
	if (atomic_fetch_add(&s->inside, 1) < s->room || s->room == 0)
		return true;
	s->inside--;
	s->turned_away++;
	if (s->crowded == FAULT_RESET)
		faulty_reset(fd);
	else
		faulty_status(fd, s->crowded);
	return false;
}

static inline void *faulty_connection_run(void *arg)
{
	struct faulty_connection *c = arg;
	char in[8192];
	bool entered = false;
	size_t n = 0;

	for (;;) {
		ssize_t got = read(c->fd, in + n, sizeof(in) - 1 - n);
		char *end;

		if (got <= 0)
			break;
		n += (size_t)got;
		in[n] = '\0';
		end = strstr(in, "\r\n\r\n");
		if (!end)
			continue;
		entered = entered || faulty_enter(c->server, c->fd);
		if (!entered)
			break;
		/* one request at a time: what is behind the head is its body */
		if (!faulty_answer(c->server, c->fd, in, n - (size_t)(end + 4 - in)))
			break;
		n = 0;
	}
	c->server->inside -= entered;
	close(c->fd);
	c->server->connections--;
	free(c);
	return NULL;
}

static inline void *faulty_run(void *arg)
{
	struct faulty_server *s = arg;
	int fd;

	while ((fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		struct faulty_connection *c = malloc(sizeof(*c));
		pthread_t thread;

		*c = (struct faulty_connection){s, fd};
		s->connections++;
		if (pthread_create(&thread, NULL, faulty_connection_run, c))
			abort();
		pthread_detach(thread);
	}
	return NULL;
}

/* Serves a copy of the n bytes, under any key. */
static inline struct faulty_server *faulty_start(const uint8_t *object, size_t n)
{
	struct faulty_server *s = calloc(1, sizeof(*s));

	s->fd = tcp_listen();
	s->object = malloc(n);
	memcpy(s->object, object, n);
	s->size = n;
	s->present = true;
	tcp_url(s->fd, s->url, sizeof(s->url));
	if (pthread_create(&s->thread, NULL, faulty_run, s))
		abort();
	return s;
}

/* The next n requests (-1: all) fail so. */
static inline void faulty_set(struct faulty_server *s, enum fault fault, int n)
{
	s->faults = 0;
	s->fault = fault;
	s->requests = 0;
	s->faults = n;
}

/* All its clients have to be gone by then. */
static inline void faulty_stop(struct faulty_server *s)
{
	shutdown(s->fd, SHUT_RDWR);
	pthread_join(s->thread, NULL);
	close(s->fd);
	while (s->connections)
		usleep(1000);
	free(s->object);
	free(s);
}

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A web server of one page: it serves files, holds them back, damages them, or is not there. */
#include "pager_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pager_fixture.h"

#define CHUNK 65536

static const char *server_root;
static struct control *server_control;

/* How many of n bytes of the object may go now. */
static long may_send(const char *path, long n)
{
	size_t len = strlen(path);
	atomic_long *open = NULL;
	long left;

	if (len > 6 && strcmp(path + len - 6, "/pages") == 0)
		open = &server_control->pages_open;
	if (len > 6 && strcmp(path + len - 6, "/touch") == 0)
		open = &server_control->touch_open;
	if (!open)
		return n;
	left = *open;
	if (left < 0)
		return n;
	n = n < left ? n : left;
	atomic_fetch_sub(open, n);
	return n;
}

static bool to_damage(const char *path)
{
	bool touch = strstr(path, "/touch");
	atomic_int *left = touch ? &server_control->corrupt_touch : &server_control->corrupt;
	int n;

	if (!touch && !strstr(path, "/pages"))
		return false;
	n = *left;
	while (n > 0)
		if (atomic_compare_exchange_weak(left, &n, n - 1))
			return true;
	return n < 0;
}

/* One answer; false: the connection ends. */
static bool answer(int sock, const char *path, long first, long last)
{
	char file[512], header[256], data[CHUNK];
	bool damage = to_damage(path), whole = first < 0;
	struct stat st;
	int fd, n;

	snprintf(file, sizeof(file), "%s%s", server_root, path);
	fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0) {
		static const char none[] = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";

		return write(sock, none, sizeof(none) - 1) > 0;
	}
	if (strstr(path, "/pages"))
		server_control->requests++;
	if (whole)
		first = 0;
	if (last < 0 || last >= st.st_size)
		last = st.st_size - 1;
	if (whole)
		n = snprintf(header, sizeof(header),
			     "HTTP/1.1 200 OK\r\nContent-Length: %ld\r\n\r\n", (long)st.st_size);
	else
		n = snprintf(header, sizeof(header),
			     "HTTP/1.1 206 Partial Content\r\nContent-Length: %ld\r\n"
			     "Content-Range: bytes %ld-%ld/%ld\r\nAccept-Ranges: bytes\r\n\r\n",
			     last - first + 1, first, last, (long)st.st_size);
	if (send(sock, header, (size_t)n, MSG_NOSIGNAL) != n)
		last = first - 1;
	while (first <= last) {
		long want = last - first + 1 < CHUNK ? last - first + 1 : CHUNK;

		want = may_send(path, want);
		if (server_control->dead)
			break;
		if (want == 0) {
			char byte;

			if (recv(sock, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
				break;
			usleep(500);
			continue;
		}
		if (pread(fd, data, (size_t)want, first) != want)
			break;
		if (damage)
			data[want / 2] ^= 1;
		if (send(sock, data, (size_t)want, MSG_NOSIGNAL) != want)
			break;
		first += want;
	}
	close(fd);
	return first > last;
}

static void *serve(void *arg)
{
	int sock = (int)(intptr_t)arg;
	char in[8192];
	size_t n = 0;

	while (!server_control->dead) {
		char path[256], *end, *range;
		long first = -1, last = -1;
		ssize_t got = read(sock, in + n, sizeof(in) - 1 - n);

		if (got <= 0)
			break;
		n += (size_t)got;
		in[n] = '\0';
		while ((end = strstr(in, "\r\n\r\n"))) {
			*end = '\0';
			first = last = -1;
			range = strcasestr(in, "range: bytes=");
			if (range) {
				first = strtol(range + 13, &range, 10);
				if (*range == '-' && range[1] >= '0' && range[1] <= '9')
					last = strtol(range + 1, NULL, 10);
			}
			if (sscanf(in, "%*s %255s", path) != 1 || !answer(sock, path, first, last))
				goto out;
			n -= (size_t)(end + 4 - in);
			memmove(in, end + 4, n + 1);
		}
	}
out:
	close(sock);
	return NULL;
}

pid_t pager_server_start(const char *root, struct control *control, char url[64])
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(a);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	pid_t pid;

	assert_int_equal(bind(listener, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(listener, 64), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&a, &n), 0);
	snprintf(url, 64, "http://127.0.0.1:%d", ntohs(a.sin_port));
	pid = fork();
	if (pid) {
		close(listener);
		return pid;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	server_root = root;
	server_control = control;
	for (;;) {
		int sock = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		pthread_t t;

		if (sock < 0)
			continue;
		if (control->dead || pthread_create(&t, NULL, serve, (void *)(intptr_t)sock))
			close(sock);
		else
			pthread_detach(t);
	}
}

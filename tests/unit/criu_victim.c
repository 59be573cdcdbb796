/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A program for test_criu_real to dump and restore.
 *
 *   criu_victim STATE ROLE [ARGUMENT]
 *
 * It fills memory with a pattern and, for ever, checks all of it and then counts one up in the file
 * STATE (8 bytes). A wrong byte makes it write UINT64_MAX there and end. Only that and what the
 * role does: see the table at the end.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORDS ((size_t)512 * 1024)

static uint64_t *memory;
static uint64_t count;
static int state = -1;

static uint64_t pattern(uint64_t i)
{
	i += 0x9e3779b97f4a7c15;
	i = (i ^ (i >> 30)) * 0xbf58476d1ce4e5b9;
	return i ^ (i >> 27);
}

static void say(uint64_t value)
{
	if (pwrite(state, &value, sizeof(value), 0) != sizeof(value))
		_exit(4);
}

static void check(void)
{
	for (size_t i = 0; i < WORDS; i++)
		if (memory[i] != pattern(i)) {
			say(UINT64_MAX);
			_exit(3);
		}
	say(++count);
}

static void check_for_ever(void)
{
	for (;;) {
		check();
		usleep(1000);
	}
}

static void fill(void)
{
	memory = mmap(NULL, WORDS * 8, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		_exit(4);
	for (size_t i = 0; i < WORDS; i++)
		memory[i] = pattern(i);
}

/* Keeps a number of its own moving; the main thread only counts while all of them do. */
static void *spin(void *arg)
{
	_Atomic uint64_t *mine = arg;

	for (;;) {
		(*mine)++;
		usleep(500);
	}
	return NULL;
}

static void threads(const char *arg)
{
	static _Atomic uint64_t turns[3];
	uint64_t seen[3] = {0};
	pthread_t t;

	(void)arg;
	for (int i = 0; i < 3; i++)
		pthread_create(&t, NULL, spin, (void *)&turns[i]);
	for (;;) {
		for (int i = 0; i < 3; i++) {
			while (turns[i] == seen[i])
				usleep(500);
			seen[i] = turns[i];
		}
		check();
	}
}

/* Root, child and grandchild pass a byte around in pipes; each checks its memory when it has it. */
static void relay(int from, int to)
{
	char c;

	while (read(from, &c, 1) == 1) {
		check();
		usleep(500);
		if (write(to, &c, 1) != 1)
			break;
	}
	_exit(5);
}

static void tree(const char *arg)
{
	int p[3][2];

	(void)arg;
	for (int i = 0; i < 3; i++)
		if (pipe(p[i]) < 0)
			_exit(4);
	if (fork() == 0) {
		if (fork() == 0)
			relay(p[1][0], p[2][1]);
		relay(p[0][0], p[1][1]);
	}
	if (write(p[0][1], "x", 1) != 1)
		_exit(4);
	relay(p[2][0], p[0][1]);
}

/* Says a line on stdout for each check, and echoes on stderr what it reads on stdin. */
static void talk(const char *arg)
{
	char line[64];

	(void)arg;
	if (open("/dev/tty", O_RDWR) < 0 && errno != ENXIO) /* held open, as editors do */
		_exit(4);
	fcntl(0, F_SETFL, fcntl(0, F_GETFL) | O_NONBLOCK);
	for (;;) {
		ssize_t n = read(0, line, sizeof(line));

		if (n > 0 && write(2, line, (size_t)n) < 0)
			_exit(6);
		check();
		dprintf(1, "line %d\n", (int)count);
		usleep(2000);
	}
}

/* As talk, with stdin and stdout in an epoll set, as event loops have them. */
static void poll_talk(const char *arg)
{
	int set = epoll_create1(0);
	struct epoll_event e = {.events = EPOLLIN};

	epoll_ctl(set, EPOLL_CTL_ADD, 0, &e);
	e.events = EPOLLET | EPOLLOUT;
	epoll_ctl(set, EPOLL_CTL_ADD, 1, &e);
	talk(arg);
}

/* Writes a log, one line of nine bytes a check. */
static void write_log(const char *path, int flags)
{
	int fd = open(path, O_WRONLY | O_CREAT | flags, 0644);

	for (;;) {
		check();
		dprintf(fd, "%08d\n", (int)count);
		usleep(1000);
	}
}

static void grow(const char *arg)
{
	write_log(arg, 0);
}

static void append(const char *arg)
{
	write_log(arg, O_APPEND);
}

/* Echoes to any number of clients; its port is in the state file's second word. */
static void serve(const char *arg)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				.sin_port = htons((uint16_t)strtol(arg, NULL, 10))};
	int s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), set = epoll_create1(0), one = 1;
	struct epoll_event e = {.events = EPOLLIN, .data.fd = s};
	char data[256];

	setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(s, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(s, 8) < 0)
		_exit(4);
	epoll_ctl(set, EPOLL_CTL_ADD, s, &e);
	for (;;) {
		ssize_t n;

		if (epoll_wait(set, &e, 1, 1) == 1 && e.data.fd == s) {
			e.data.fd = accept(s, NULL, NULL);
			e.events = EPOLLIN;
			if (e.data.fd >= 0)
				epoll_ctl(set, EPOLL_CTL_ADD, e.data.fd, &e);
		} else if (e.data.fd != s && (e.events & (EPOLLIN | EPOLLHUP | EPOLLERR))) {
			n = recv(e.data.fd, data, sizeof(data), MSG_DONTWAIT);
			if (n > 0)
				send(e.data.fd, data, (size_t)n, MSG_NOSIGNAL);
			else if (n == 0 || errno != EAGAIN)
				close(e.data.fd);
		}
		e.data.fd = s;
		check();
	}
}

/* Holds what CRIU cannot dump: a packetized pipe. */
static void refuse(const char *arg)
{
	int p[2];

	(void)arg;
	if (pipe2(p, O_DIRECT) < 0)
		_exit(4);
	check_for_ever();
}

static void plain(const char *arg)
{
	(void)arg;
	check_for_ever();
}

/* A child that has ended and is not waited for. */
static void zombie(const char *arg)
{
	(void)arg;
	if (fork() == 0)
		_exit(7);
	check_for_ever();
}

static const struct {
	const char *name;
	void (*run)(const char *arg);
} roles[] = {
	{"plain", plain},    {"threads", threads}, {"tree", tree},     {"talk", talk},
	{"poll", poll_talk}, {"grow", grow},	   {"append", append}, {"serve", serve},
	{"refuse", refuse},  {"zombie", zombie},
};

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	state = open(argv[1], O_RDWR | O_CREAT, 0600);
	if (state < 0)
		return 2;
	fill();
	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++)
		if (!strcmp(argv[2], roles[i].name))
			roles[i].run(argc > 3 ? argv[3] : "0");
	return 2;
}

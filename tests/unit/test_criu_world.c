/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Dumps and restores small programs (criu_victim.c) with the real CRIU: what ties them to the world
 * outside, that is terminals, pipes, sockets, TCP connections and growing files. */
#include "criu_fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "criu/image_files.h"

#define DEADLINE_MS 20000

/* Reads fd until `text` was seen behind what was read before. */
static void expect(int fd, const char *text)
{
	uint64_t began = clock_ns();
	size_t n = 0;
	char seen[8192];

	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		ssize_t got;

		assert_true(clock_ms_since(began) < DEADLINE_MS);
		if (poll(&p, 1, 100) <= 0)
			continue;
		if (n > sizeof(seen) / 2) {
			memmove(seen, seen + n - 64, 64);
			n = 64;
		}
		got = read(fd, seen + n, sizeof(seen) - 1 - n);
		assert_true(got > 0);
		n += (size_t)got;
		seen[n] = '\0';
		if (strstr(seen, text))
			return;
	}
}

/* Throws away what is there to read. */
static void drain(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char data[4096];

	while (poll(&p, 1, 0) > 0 && read(fd, data, sizeof(data)) > 0)
		;
}

/* The victim's lines keep coming on fd. */
static void expect_lines(struct fixture *f, int fd)
{
	char line[32];

	for (int i = 0; i < 3; i++) {
		drain(fd);
		snprintf(line, sizeof(line), "line %d\n", (int)count_of(f) + 3);
		line[strlen(line) - 1] = '\0'; /* a terminal makes it \r\n */
		expect(fd, line);
	}
}

/* A process with standard streams of its own that restores, as `frem restart` would. */
struct restorer {
	pid_t pid;
	int control; /* closing it ends the job and the restorer */
	pid_t job;
};

struct outcome {
	int r;
	pid_t pid;
	struct frem_error err;
};

static void be_restorer(struct fixture *f, const int fds[3], int from, int to)
{
	struct outcome o = {0};
	char c;

	setsid();
	for (int i = 0; i < 3; i++)
		if (fds[i] < 0)
			close(i);
		else
			dup2(fds[i], i);
	if (isatty(0))
		ioctl(0, TIOCSCTTY, 0);
	o.r = try_restore(f, (struct criu_restore){0});
	o.pid = f->pid;
	o.err = f->err;
	if (write(to, &o, sizeof(o)) < 0)
		_exit(1);
	close(to);
	while (read(from, &c, 1) > 0)
		;
	if (o.r == 0)
		end_victim(f);
	_exit(0);
}

static struct restorer restore_with(struct fixture *f, int in, int out, int error)
{
	struct restorer r = {0};
	struct outcome o = {0};
	int control[2], result[2];

	f->pid = 0;
	assert_int_equal(pipe2(control, O_CLOEXEC), 0);
	assert_int_equal(pipe2(result, O_CLOEXEC), 0);
	r.pid = fork();
	if (r.pid == 0) {
		close(control[1]);
		close(result[0]);
		be_restorer(f, (const int[]){in, out, error}, control[0], result[1]);
	}
	close(control[0]);
	close(result[1]);
	assert_int_equal(read(result[0], &o, sizeof(o)), sizeof(o));
	close(result[0]);
	if (o.r < 0)
		fail_with(&o.err);
	r.control = control[1];
	r.job = o.pid;
	return r;
}

static void end_restorer(struct restorer r)
{
	close(r.control);
	waitpid(r.pid, NULL, 0);
	assert_int_equal(kill(r.job, 0), -1);
}

static void open_terminal(int *master, int *slave)
{
	struct termios t;

	assert_int_equal(openpty(master, slave, NULL, NULL, NULL), 0);
	fcntl(*master, F_SETFD, FD_CLOEXEC);
	fcntl(*slave, F_SETFD, FD_CLOEXEC);
	tcgetattr(*slave, &t);
	t.c_lflag |= ECHO | ICANON;
	tcsetattr(*slave, TCSANOW, &t);
}

/* Dumps a talking program, ends it, and closes its old streams. */
static void take_off(struct fixture *f, int watch)
{
	expect_lines(f, watch);
	dump(f, (struct criu_dump){0});
	expect_lines(f, watch);
	end_victim(f);
}

static void terminal(struct fixture *f, const char *role, bool session)
{
	int master, slave, again, mine;
	struct restorer r;
	struct termios t;

	open_terminal(&master, &slave);
	start(f, role, NULL, (const int[]){slave, slave, slave}, session);
	expect_lines(f, master);
	/* as an editor would */
	tcgetattr(slave, &t);
	t.c_lflag &= ~(tcflag_t)(ECHO | ICANON);
	tcsetattr(slave, TCSANOW, &t);
	take_off(f, master);
	close(slave);
	close(master);
	open_terminal(&again, &mine);
	r = restore_with(f, mine, mine, mine);
	expect_lines(f, again);
	tcgetattr(mine, &t);
	assert_int_equal(t.c_lflag & (ECHO | ICANON), 0);
	assert_int_equal(write(again, "typed", 5), 5);
	expect(again, "typed"); /* by the program: the terminal does not echo */
	end_restorer(r);
	close(again);
	close(mine);
}

static void terminal_of_a_shell(void **state)
{
	terminal(*state, "talk", false);
}

static void terminal_of_its_own(void **state)
{
	terminal(*state, "talk", true);
}

static void terminal_in_an_event_loop(void **state)
{
	terminal(*state, "poll", true);
}

static uint64_t size_of(const char *path)
{
	struct stat st;

	return stat(path, &st) < 0 ? UINT64_MAX : (uint64_t)st.st_size;
}

/* The job had a terminal; who restores it has none. */
static void terminal_is_gone(void **state)
{
	struct fixture *f = *state;
	int master, slave, out[2], file;
	struct restorer r;
	char data[64];

	open_terminal(&master, &slave);
	start(f, "poll", NULL, (const int[]){slave, slave, slave}, true);
	take_off(f, master);
	close(slave);
	close(master);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	r = restore_with(f, -1, out[1], -1);
	expect_lines(f, out[0]);
	end_restorer(r);
	/* with output to a file, which no event loop can watch */
	file = open(f->other, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(write(file, "before\n", 7), 7);
	r = restore_with(f, -1, file, -1);
	do {
		assert_goes_on(f);
	} while (size_of(f->other) < sizeof(data));
	end_restorer(r);
	assert_true(pread(file, data, sizeof(data), 0) == sizeof(data));
	assert_memory_equal(data, "before\nline ", 12);
	close(file);
	close(out[0]);
	close(out[1]);
}

static void between_pipes(void **state)
{
	struct fixture *f = *state;
	int in[2], out[2], in2[2], out2[2];
	struct restorer r;

	assert_int_equal(pipe2(in, O_CLOEXEC) | pipe2(out, O_CLOEXEC), 0);
	assert_int_equal(pipe2(in2, O_CLOEXEC) | pipe2(out2, O_CLOEXEC), 0);
	start(f, "talk", NULL, (const int[]){in[0], out[1], out[1]}, false);
	take_off(f, out[0]);
	assert_int_equal(write(in[1], "still", 5), 5);
	r = restore_with(f, in2[0], out2[1], out2[1]);
	expect_lines(f, out2[0]);
	assert_int_equal(write(in2[1], "hello", 5), 5);
	expect(out2[0], "hello");
	end_restorer(r);
	for (int i = 0; i < 2; i++) {
		close(in[i]);
		close(out[i]);
		close(in2[i]);
		close(out2[i]);
	}
}

static void on_sockets(void **state)
{
	struct fixture *f = *state;
	int a[2], b[2];
	struct restorer r;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, a), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, b), 0);
	start(f, "poll", NULL, (const int[]){a[1], a[1], a[1]}, true);
	take_off(f, a[0]);
	r = restore_with(f, b[1], b[1], b[1]);
	expect_lines(f, b[0]);
	assert_int_equal(write(b[0], "hello", 5), 5);
	expect(b[0], "hello");
	end_restorer(r);
	for (int i = 0; i < 2; i++) {
		close(a[i]);
		close(b[i]);
	}
}

static uint16_t free_port(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(a);
	int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(s, (struct sockaddr *)&a, n), 0);
	assert_int_equal(getsockname(s, (struct sockaddr *)&a, &n), 0);
	close(s);
	return ntohs(a.sin_port);
}

static int connect_to(uint16_t port)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				.sin_port = htons(port)};
	int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	for (int i = 0; i < 5000 && connect(s, (struct sockaddr *)&a, sizeof(a)) < 0; i++)
		usleep(1000);
	return s;
}

static void echo(int s, const char *text)
{
	assert_int_equal(send(s, text, strlen(text), MSG_NOSIGNAL), strlen(text));
	expect(s, text);
}

static void wait_for_stop(struct fixture *f)
{
	uint64_t began = clock_ns();

	while (state_of(f->pid) != 'T') {
		assert_true(clock_ms_since(began) < DEADLINE_MS);
		usleep(1000);
	}
}

/* --tcp close: the live connection is left alone; after the restore, only listening is back. */
static void connections_closed(void **state)
{
	struct fixture *f = *state;
	uint16_t port = free_port();
	char text[16];
	int client, waiting;

	snprintf(text, sizeof(text), "%d", port);
	start(f, "serve", text, NULL, true);
	client = connect_to(port);
	echo(client, "one");
	dump(f, (struct criu_dump){.tcp = CRIU_TCP_CLOSE});
	echo(client, "two");
	/* a client that is not accepted yet, of a program that was stopped by its user */
	kill(f->pid, SIGSTOP);
	wait_for_stop(f);
	waiting = connect_to(port);
	file_empty_dir(f->images);
	dump(f, (struct criu_dump){.tcp = CRIU_TCP_CLOSE});
	wait_for_stop(f); /* CRIU stops it again when it lets go of it */
	kill(f->pid, SIGCONT);
	echo(waiting, "three");
	echo(client, "four");
	end_victim(f);
	close(waiting);
	close(client);
	restore(f, (struct criu_restore){.tcp = CRIU_TCP_CLOSE});
	kill(f->pid, SIGCONT);
	assert_goes_on(f);
	client = connect_to(port);
	echo(client, "five");
	close(client);
}

static void connections_kept(void **state)
{
	struct fixture *f = *state;
	uint16_t port = free_port();
	char text[16];
	int client;

	snprintf(text, sizeof(text), "%d", port);
	start(f, "serve", text, NULL, true);
	client = connect_to(port);
	echo(client, "one");
	dump(f, (struct criu_dump){.tcp = CRIU_TCP_ESTABLISHED});
	echo(client, "two");
	file_empty_dir(f->images);
	dump(f, (struct criu_dump){.tcp = CRIU_TCP_ESTABLISHED, .stop = true});
	end_victim(f);
	/* sent while nobody is there: must arrive after the restore */
	assert_int_equal(send(client, "three", 5, MSG_NOSIGNAL), 5);
	restore(f, (struct criu_restore){.tcp = CRIU_TCP_ESTABLISHED});
	expect(client, "three");
	echo(client, "four");
	close(client);
}

struct noted {
	char tail[128];
	uint64_t bytes;
	int times;
};

static void note(void *arg, const char *path, const char *tail, uint64_t bytes)
{
	struct noted *n = arg;

	(void)path;
	snprintf(n->tail, sizeof(n->tail), "%s", tail);
	n->bytes = bytes;
	n->times++;
}

static void growing_log(struct fixture *f, const char *role, bool criu_minds)
{
	struct image_rollback *back = NULL;
	struct noted n = {0};
	uint64_t full, tail_bytes;
	char line[16] = "", expected[128];
	int fd;

	start(f, role, f->other, NULL, true);
	assert_goes_on(f);
	dump(f, (struct criu_dump){0});
	assert_goes_on(f);
	end_victim(f);
	full = size_of(f->other);
	if (criu_minds) {
		assert_true(try_restore(f, (struct criu_restore){0}) < 0);
		assert_int_equal(f->err.code, FREM_REFUSED);
		assert_non_null(strstr(f->err.detail, "has bad size"));
		assert_true(f->err.hint[0] != 0);
	}

	/* undone, nothing has changed */
	if (image_rollback(f->images, "job@1", note, &n, &back, &f->err) < 0)
		fail_with(&f->err);
	assert_int_equal(n.times, 1);
	snprintf(expected, sizeof(expected), "%s.frem-tail-job@1", f->other);
	assert_string_equal(n.tail, expected);
	assert_int_equal(size_of(f->other), full - n.bytes);
	assert_int_equal(size_of(n.tail), n.bytes);
	image_rollback_undo(back);
	image_rollback_free(back);
	assert_int_equal(size_of(f->other), full);
	assert_int_equal(size_of(n.tail), UINT64_MAX);

	/* a tail of that name is there already: it is kept */
	fd = open(expected, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, "older", 5), 5);
	close(fd);
	assert_int_equal(image_rollback(f->images, "job@1", note, &n, &back, &f->err), 0);
	image_rollback_free(back);
	assert_int_equal(size_of(expected), 5);
	strncat(expected, "-2", sizeof(expected) - strlen(expected) - 1);
	assert_string_equal(n.tail, expected);
	tail_bytes = n.bytes;
	restore(f, (struct criu_restore){0});
	assert_goes_on(f);
	/* the log goes on where the image left it: no line is missing or doubled */
	fd = open(f->other, O_RDONLY | O_CLOEXEC);
	for (int i = 1; pread(fd, line, 9, (off_t)(i - 1) * 9) == 9; i++)
		assert_int_equal(strtol(line, NULL, 10), i);
	close(fd);
	fd = open(n.tail, O_RDONLY | O_CLOEXEC);
	assert_int_equal(pread(fd, line, 9, 0), 9);
	assert_int_equal(strtol(line, NULL, 10), (full - tail_bytes) / 9 + 1);
	close(fd);
}

static void written_log(void **state)
{
	growing_log(*state, "grow", true);
}

static void appended_log(void **state)
{
	growing_log(*state, "append", false);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		VICTIM_TEST(terminal_of_a_shell),
		VICTIM_TEST(terminal_of_its_own),
		VICTIM_TEST(terminal_in_an_event_loop),
		VICTIM_TEST(terminal_is_gone),
		VICTIM_TEST(between_pipes),
		VICTIM_TEST(on_sockets),
		VICTIM_TEST(connections_closed),
		VICTIM_TEST(connections_kept),
		VICTIM_TEST(written_log),
		VICTIM_TEST(appended_log),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, fixture_find_criu, NULL);
}

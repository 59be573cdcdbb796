/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The HTTP server, spoken to over raw sockets: what a client may rely on, and may not do. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/file.h"
#include "server/server.h"
#include "store/store.h"
#include "tcp_peer.h"

#define MAX_OBJECT 1000000
#define ANSWER_MAX 65536

struct world {
	char root[64], outside[64];
	struct server *server;
	struct frem_error err;
	char answer[ANSWER_MAX];
};

static int start(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct server_options o = {.listen = "127.0.0.1:0", .max_object = MAX_OBJECT};

	snprintf(w->root, sizeof(w->root), "/tmp/frem-test-XXXXXX");
	snprintf(w->outside, sizeof(w->outside), "/tmp/frem-test-XXXXXX");
	if (!mkdtemp(w->root) || !mkdtemp(w->outside))
		return -1;
	o.root = w->root;
	*state = w;
	return server_start(&o, &w->server, &w->err);
}

static int stop(void **state)
{
	struct world *w = *state;

	server_free(w->server);
	file_remove_tree(w->root);
	file_remove_tree(w->outside);
	free(w);
	return 0;
}

/* Sends n bytes as they are and reads to the hang-up; returns the status, 0 if there was none. */
static int talk_to(const char *url, const void *request, size_t n, char *answer)
{
	int fd = tcp_connect(url);

	tcp_send(fd, request, n);
	tcp_read_all(fd, answer, ANSWER_MAX);
	close(fd);
	return tcp_status(answer);
}

/* The request as it is written here: "METHOD PATH[\nHeader: value...][\n\nbody]". */
__attribute__((format(printf, 2, 3))) static int ask(struct world *w, const char *fmt, ...)
{
	char text[8192], whole[9000];
	char *lines, *content;
	int n;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	content = strstr(text, "\n\n");
	if (content) {
		*content = '\0';
		content += 2;
	}
	lines = text;
	n = snprintf(whole, sizeof(whole), "%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n",
		     strsep(&lines, "\n"));
	while (lines)
		n += snprintf(whole + n, sizeof(whole) - (size_t)n, "%s\r\n", strsep(&lines, "\n"));
	n += snprintf(whole + n, sizeof(whole) - (size_t)n, "\r\n%s", content ? content : "");
	return talk_to(server_url(w->server), whole, (size_t)n, w->answer);
}

static const char *body(const struct world *w)
{
	const char *end = strstr(w->answer, "\r\n\r\n");

	return end ? end + 4 : "";
}

/* Copies the value of a header of the last answer; "" if there is none. */
static const char *head(const struct world *w, const char *name, char *out, size_t size)
{
	const char *p = w->answer, *end = strstr(p, "\r\n\r\n");
	size_t n = strlen(name);

	out[0] = '\0';
	while (p && p < end) {
		if (strncasecmp(p, name, n) == 0 && p[n] == ':') {
			p += n + 2;
			snprintf(out, size, "%.*s", (int)strcspn(p, "\r"), p);
			break;
		}
		p = strstr(p, "\r\n");
		p = p ? p + 2 : NULL;
	}
	return out;
}

static void write_file(const char *dir, const char *name, const char *text)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(file_write_all(fd, text, strlen(text)), 0);
	close(fd);
}

static void make_dir(const char *dir, const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	assert_int_equal(mkdir(path, 0700), 0);
}

/* Entries of a directory whose names start with prefix. */
static int entries(const char *path, const char *prefix)
{
	_cleanup_closedir_ DIR *d = opendir(path);
	struct dirent *e;
	int n = 0;

	while ((e = readdir(d)))
		n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
		     strncmp(e->d_name, prefix, strlen(prefix)) == 0;
	return n;
}

static void put_object(struct world *w, const char *key, const char *text)
{
	if (ask(w, "PUT /%s\nContent-Length: %zu\n\n%s", key, strlen(text), text) != 201)
		fail_msg("%s", w->answer);
}

/* ---- what a client may rely on ---- */

static void an_object_is_put_once(void **state)
{
	struct world *w = *state;
	char etag[99], again[99];

	assert_int_equal(ask(w, "PUT /a/1/m\nIf-None-Match: *\nContent-Length: 5\n\nfirst"), 201);
	head(w, "ETag", etag, sizeof(etag));
	assert_int_equal(etag[0], '"');
	assert_int_equal(ask(w, "PUT /a/1/m\nIf-None-Match: *\nContent-Length: 6\n\nsecond"), 412);
	assert_int_equal(ask(w, "GET /a/1/m"), 200);
	assert_string_equal(body(w), "first");
	assert_string_equal(head(w, "ETag", again, sizeof(again)), etag);
	assert_int_equal(ask(w, "PUT /a/1/m\nContent-Length: 6\n\nsecond"), 201);
	assert_int_equal(ask(w, "GET /a/1/m"), 200);
	assert_string_equal(body(w), "second");
	assert_string_not_equal(head(w, "ETag", again, sizeof(again)), etag);
}

/* The refusal comes instead of "100 Continue", before a byte of the body was sent. */
static void a_refusal_comes_before_the_body(void **state)
{
	struct world *w = *state;

	put_object(w, "a/1/m", "taken");
	assert_int_equal(ask(w, "PUT /a/1/m\nIf-None-Match: *\nExpect: 100-continue\n"
				"Content-Length: 500000"),
			 412);
	assert_int_equal(ask(w, "PUT /a/1/n\nExpect: 100-continue\nContent-Length: 1000001"), 413);
	assert_int_equal(ask(w, "PUT /..\nExpect: 100-continue\nContent-Length: 5"), 400);
	assert_int_equal(ask(w, "PUT /a/1/n\nExpect: 100-continue\nContent-Length: 2\n\nok"), 100);
	assert_non_null(strstr(w->answer, "HTTP/1.1 201"));
}

/* Of many uploads of one key at once, one wins and the others are told. */
static void *race(void *arg)
{
	char answer[ANSWER_MAX];
	static const char request[] = "PUT /r/1/m HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
				      "If-None-Match: *\r\nTransfer-Encoding: chunked\r\n\r\n";
	int fd = tcp_connect(server_url(((struct world *)arg)->server));
	int *status = malloc(sizeof(*status));

	tcp_send(fd, request, strlen(request));
	for (int i = 0; i < 20; i++)
		tcp_send(fd, "1\r\nx\r\n", 6);
	tcp_send(fd, "0\r\n\r\n", 5);
	tcp_read_all(fd, answer, sizeof(answer));
	close(fd);
	*status = tcp_status(answer);
	return status;
}

static void one_of_many_wins(void **state)
{
	struct world *w = *state;
	pthread_t t[8];
	int won = 0;

	for (int i = 0; i < 8; i++)
		assert_int_equal(pthread_create(&t[i], NULL, race, w), 0);
	for (int i = 0; i < 8; i++) {
		int *status;

		pthread_join(t[i], (void **)&status);
		assert_true(*status == 201 || *status == 412);
		won += *status == 201;
		free(status);
	}
	assert_int_equal(won, 1);
	assert_int_equal(entries(w->root, ".tmp-"), 0);
	assert_int_equal(ask(w, "GET /r/1/m"), 200);
	assert_string_equal(body(w), "xxxxxxxxxxxxxxxxxxxx");
}

static void ranges(void **state)
{
	static const struct {
		const char *range;
		int status;
		const char *content_range, *body;
	} cases[] = {
		{"bytes=0-2", 206, "bytes 0-2/10", "012"},
		{"bytes=3-3", 206, "bytes 3-3/10", "3"},
		{"bytes=7-", 206, "bytes 7-9/10", "789"},
		{"bytes=-2", 206, "bytes 8-9/10", "89"},
		{"bytes=-99", 206, "bytes 0-9/10", "0123456789"},
		{"bytes=8-99", 206, "bytes 8-9/10", "89"},
		{"bytes=9-18446744073709551616", 206, "bytes 9-9/10", "9"},
		{"bytes=10-", 416, "bytes */10", NULL},
		{"bytes=18446744073709551617-", 416, "bytes */10", NULL},
		{"bytes=-0", 416, "bytes */10", NULL},
		{"bytes=5-2", 200, "", "0123456789"},
		{"bytes=0-1,3-4", 200, "", "0123456789"},
		{"bytes=x-", 200, "", "0123456789"},
		{"lines=1-2", 200, "", "0123456789"},
		{"bytes=-", 200, "", "0123456789"},
	};
	struct world *w = *state;
	char value[99];

	put_object(w, "a/1/x", "0123456789");
	put_object(w, "a/1/empty", "");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(ask(w, "GET /a/1/x\nRange: %s", cases[i].range), cases[i].status);
		assert_string_equal(head(w, "Content-Range", value, sizeof(value)),
				    cases[i].content_range);
		if (cases[i].body)
			assert_string_equal(body(w), cases[i].body);
	}
	assert_int_equal(ask(w, "GET /a/1/empty\nRange: bytes=0-"), 416);
	assert_int_equal(ask(w, "GET /a/1/empty"), 200);
	assert_string_equal(body(w), "");
}

static void conditions_and_head(void **state)
{
	struct world *w = *state;
	char etag[99], value[99];

	put_object(w, "a/1/x", "0123456789");
	assert_int_equal(ask(w, "HEAD /a/1/x"), 200);
	assert_string_equal(head(w, "Content-Length", value, sizeof(value)), "10");
	assert_string_equal(body(w), "");
	head(w, "ETag", etag, sizeof(etag));
	assert_int_equal(ask(w, "GET /a/1/x\nIf-None-Match: %s", etag), 304);
	assert_int_equal(ask(w, "GET /a/1/x\nIf-None-Match: \"q,\", W/%s", etag), 304);
	assert_int_equal(ask(w, "GET /a/1/x\nIf-None-Match: \"other\""), 200);
	assert_int_equal(ask(w, "GET /a/1/x\nIf-Range: %s\nRange: bytes=0-1", etag), 206);
	assert_int_equal(ask(w, "GET /a/1/x\nIf-Range: \"other\"\nRange: bytes=0-1"), 200);
	assert_int_equal(ask(w, "HEAD /a/1/none"), 404);
}

static void removal_and_listing(void **state)
{
	struct world *w = *state;

	put_object(w, "a/1/x", "123");
	put_object(w, "b/1/%C3%B6%22", "1");
	assert_int_equal(ask(w, "GET /?prefix=b%%2F"), 200);
	assert_non_null(strstr(body(w), "\"key\":\"b/1/\xc3\xb6\\\"\""));
	assert_null(strstr(body(w), "a/1/x"));
	assert_int_equal(ask(w, "GET /"), 200);
	assert_non_null(strstr(body(w), "\"key\":\"a/1/x\",\"size\":3,\"modified\":"));
	assert_int_equal(ask(w, "GET /?prefix=%%00"), 400);
	assert_int_equal(ask(w, "GET /?prefix=%%zz"), 400);
	assert_int_equal(ask(w, "GET /?prefix=../"), 200);
	assert_string_equal(body(w), "{\"objects\":[]}");
	assert_int_equal(ask(w, "DELETE /a/1/x"), 204);
	assert_int_equal(ask(w, "DELETE /a/1/x"), 404);
	assert_int_equal(ask(w, "GET /a/1/x"), 404);
	assert_int_equal(ask(w, "DELETE /"), 405);
}

static void other_requests_get_a_status(void **state)
{
	struct world *w = *state;
	char value[99];

	put_object(w, "a/1/x", "123");
	assert_int_equal(ask(w, "POST /a/1/x\nContent-Length: 3\n\nabc"), 405);
	assert_string_equal(head(w, "Allow", value, sizeof(value)), "GET, HEAD, PUT, DELETE");
	assert_int_equal(ask(w, "BREW /a/1/x"), 405);
	assert_int_equal(ask(w, "PUT /a/1/y\nContent-Range: bytes 0-2/9\nContent-Length: 3\n\nabc"),
			 400);
	assert_int_equal(ask(w, "PUT /a/1/y\nIf-Match: \"x\"\nContent-Length: 3\n\nabc"), 501);
	assert_int_equal(ask(w, "PUT /a/1/y"), 411);
	assert_int_equal(ask(w, "PUT /a/1/x/y\nContent-Length: 3\n\nabc"), 409);
	assert_int_equal(ask(w, "PUT /a/1\nContent-Length: 3\n\nabc"), 409);
	assert_int_equal(ask(w, "GET /a/1/x"), 200);
	assert_string_equal(body(w), "123");
}

/* Sends n chunks of 40000 bytes; returns the status, with the answer in w. */
static int put_chunks(struct world *w, const char *key, int n)
{
	char head[256], data[40001];
	int fd = tcp_connect(server_url(w->server));

	snprintf(head, sizeof(head),
		 "PUT /%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
		 "Transfer-Encoding: chunked\r\n\r\n",
		 key);
	tcp_send(fd, head, strlen(head));
	snprintf(data, sizeof(data), "%040000d", 0);
	for (int i = 0; i < n; i++) {
		tcp_send(fd, "9c40\r\n", 6);
		tcp_send(fd, data, 40000);
		tcp_send(fd, "\r\n", 2);
	}
	tcp_send(fd, "0\r\n\r\n", 5);
	tcp_read_all(fd, w->answer, ANSWER_MAX);
	close(fd);
	return tcp_status(w->answer);
}

static void too_large_is_refused(void **state)
{
	struct world *w = *state;

	assert_int_equal(ask(w, "PUT /a/1/x\nContent-Length: 1000001\nExpect: 100-continue"), 413);
	/* of unknown length: found out on the way */
	assert_int_equal(put_chunks(w, "a/1/x", 26), 413);
	assert_int_equal(entries(w->root, ""), 0);
}

static ssize_t endless(void *arg, void *data, size_t n, struct frem_error *err)
{
	(void)err;
	memset(data, 'x', n);
	*(uint64_t *)arg += n;
	return (ssize_t)n;
}

/* The answer comes in the middle of the body, and our own client heeds it. */
static void an_endless_upload_is_ended(void **state)
{
	struct world *w = *state;
	struct store *s = NULL;
	uint64_t sent = 0;
	struct store_source source = {endless, &sent, STORE_WHOLE, NULL};

	assert_int_equal(store_open(server_url(w->server), &s, &w->err), 0);
	assert_int_equal(store_put(s, "a/1/x", &source, false, &w->err), -EFBIG);
	assert_int_equal(w->err.code, FREM_STORE);
	assert_non_null(strstr(w->err.text, "put 'a/1/x': the server answered 413 'the object is"));
	assert_in_range(sent, MAX_OBJECT, 50 * MAX_OBJECT);
	assert_int_equal(store_put_bytes(s, "a/1/x", "1", 1, true, &w->err), 0);
	store_free(s);
}

/* ---- what a client may not do ---- */

static void names_do_not_escape(void **state)
{
	static const char *const paths[] = {"/../secret",
					    "/a/../../secret",
					    "/%2e%2e/secret",
					    "/%2E%2E%2Fsecret",
					    "/..%2fsecret",
					    "//etc/passwd",
					    "/a//x",
					    "/./secret",
					    "/.hidden",
					    "/a/.x/y",
					    "/.tmp-1",
					    "/a/x%00",
					    "/a/%0a",
					    "/a/%7f",
					    "/a/%ff",
					    "/a/%zz",
					    "/a/%2",
					    "secret",
					    "http://x/a/1/x",
					    "/a/%c0%ae%c0%ae/x",
					    "/1/2/3/4/5/6/7/8/9",
					    "/link/secret",
					    "/a/1/link",
					    "/a/link/secret"};
	struct world *w = *state;
	char target[128], link[128];

	write_file(w->outside, "secret", "SECRET");
	make_dir(w->root, "a");
	make_dir(w->root, "a/1");
	snprintf(link, sizeof(link), "%s/link", w->root);
	assert_int_equal(symlink(w->outside, link), 0);
	snprintf(link, sizeof(link), "%s/a/link", w->root);
	assert_int_equal(symlink(w->outside, link), 0);
	snprintf(link, sizeof(link), "%s/a/1/link", w->root);
	snprintf(target, sizeof(target), "%s/secret", w->outside);
	assert_int_equal(symlink(target, link), 0);
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		if (ask(w, "GET %s", paths[i]) != 400 || strstr(w->answer, "SECRET"))
			fail_msg("GET %s: %s", paths[i], w->answer);
		if (ask(w, "DELETE %s", paths[i]) != 400)
			fail_msg("DELETE %s: %s", paths[i], w->answer);
		if (strcmp(paths[i], "/a/1/link") == 0)
			continue; /* replacing the link itself harms nothing */
		if (ask(w, "PUT %s\nContent-Length: 4\n\nevil", paths[i]) != 400)
			fail_msg("PUT %s: %s", paths[i], w->answer);
		assert_int_equal(strcspn(body(w), "\n") + 1, strlen(body(w)));
	}
	assert_int_equal(ask(w, "GET /?prefix=link"), 200);
	assert_string_equal(body(w), "{\"objects\":[]}");
	assert_int_equal(entries(w->outside, ""), 1);
	assert_int_equal(ask(w, "PUT /a/1/link\nContent-Length: 4\n\nmine"), 201);
	assert_int_equal(access(target, F_OK), 0);
	assert_int_equal(ask(w, "GET /a/1/link"), 200);
	assert_string_equal(body(w), "mine");
}

static void a_fifo_holds_nobody_up(void **state)
{
	struct world *w = *state;
	char path[128];

	make_dir(w->root, "a");
	snprintf(path, sizeof(path), "%s/a/fifo", w->root);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(ask(w, "GET /a/fifo"), 404);
	assert_int_equal(ask(w, "DELETE /a/fifo"), 404);
	assert_int_equal(ask(w, "GET /"), 200);
	assert_string_equal(body(w), "{\"objects\":[]}");
}

static void garbage_does_no_harm(void **state)
{
	static const char nul[] = "GET /a/1/x\0y HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
	struct world *w = *state;
	char junk[70000];
	uint32_t x = 7;
	int open_fds[20];

	put_object(w, "a/1/x", "123");
	/* libmicrohttpd ends the path at a raw NUL: a name within the root like any other */
	assert_int_not_equal(talk_to(server_url(w->server), nul, sizeof(nul) - 1, w->answer), 0);
	for (int round = 0; round < 50; round++) {
		size_t n = (size_t)round * 20;
		int fd = tcp_connect(server_url(w->server));

		for (size_t i = 0; i < n; i++) {
			x = x * 1664525 + 1013904223;
			junk[i] = (char)(x >> 24);
		}
		tcp_send(fd, junk, n);
		close(fd);
	}
	/* a header without end, and connections that say nothing */
	memset(junk, 'a', sizeof(junk));
	for (int i = 0; i < 20; i++) {
		open_fds[i] = tcp_connect(server_url(w->server));
		if (i % 2 && tcp_send(open_fds[i], "GET /", 5))
			tcp_send(open_fds[i], junk, sizeof(junk));
	}
	assert_int_equal(ask(w, "GET /a/1/x"), 200);
	assert_string_equal(body(w), "123");
	for (int i = 0; i < 20; i++)
		close(open_fds[i]);
}

/* ---- trouble ---- */

static int begin_upload(const char *url)
{
	static const char head_and_part[] = "PUT /a/1/x HTTP/1.1\r\nHost: x\r\n"
					    "Content-Length: 100000\r\n\r\nsome of it";
	int fd = tcp_connect(url);

	tcp_send(fd, head_and_part, strlen(head_and_part));
	return fd;
}

static void wait_for_temporary_files(const char *root, int n)
{
	for (int i = 0; i < 20000 && entries(root, ".tmp-") != n; i++)
		usleep(1000);
	assert_int_equal(entries(root, ".tmp-"), n);
}

static void an_aborted_upload_leaves_nothing(void **state)
{
	struct world *w = *state;
	int fd = begin_upload(server_url(w->server));

	wait_for_temporary_files(w->root, 1);
	assert_int_equal(ask(w, "GET /"), 200);
	assert_string_equal(body(w), "{\"objects\":[]}");
	close(fd);
	wait_for_temporary_files(w->root, 0);
	assert_int_equal(entries(w->root, ""), 0);
}

static void stopping_ends_an_upload(void **state)
{
	struct world *w = *state;
	int fd = begin_upload(server_url(w->server));

	wait_for_temporary_files(w->root, 1);
	server_free(w->server);
	w->server = NULL;
	assert_int_equal(entries(w->root, ""), 0);
	close(fd);
}

/* A server in a process of its own; returns its pid and URL. */
static pid_t fork_server(const char *root, char *url, size_t size)
{
	struct server_options o = {.root = root, .listen = "127.0.0.1:0"};
	struct frem_error err = {0};
	struct server *s = NULL;
	int ends[2];
	pid_t pid;
	ssize_t n;

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		close(ends[0]);
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* also when a check below fails */
		if (server_start(&o, &s, &err) < 0 ||
		    write(ends[1], server_url(s), strlen(server_url(s)) + 1) < 0)
			_exit(1);
		for (;;)
			pause();
	}
	close(ends[1]);
	n = read(ends[0], url, size);
	close(ends[0]);
	assert_true(n > 0);
	return pid;
}

static void a_killed_server_leaves_nothing_visible(void **state)
{
	struct world *w = *state;
	struct server_options o = {.listen = "127.0.0.1:0", .root = w->root};
	int status, fd, live;
	char url[64];
	pid_t pid;

	/* the living server's upload is left alone by the start of another */
	live = begin_upload(server_url(w->server));
	wait_for_temporary_files(w->root, 1);
	pid = fork_server(w->root, url, sizeof(url));
	fd = begin_upload(url);
	wait_for_temporary_files(w->root, 2);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	assert_int_equal(entries(w->root, ".tmp-"), 2);
	close(fd);
	pid = fork_server(w->root, url, sizeof(url));
	assert_int_equal(entries(w->root, ".tmp-"), 1);
	assert_int_equal(ask(w, "GET /"), 200);
	assert_string_equal(body(w), "{\"objects\":[]}");
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	close(live);
	server_free(w->server);
	w->server = NULL;
	assert_int_equal(server_start(&o, &w->server, &w->err), 0);
	assert_int_equal(entries(w->root, ""), 0);
}

/* In a mount namespace of its own, on a file system of 2 MB; returns 77 where that cannot be. */
static int fill_disk(struct world *w)
{
	struct server_options o = {.listen = "127.0.0.1:0", .root = w->root};

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", w->root, "tmpfs", 0, "size=2m") < 0)
		return 77;
	if (server_start(&o, &w->server, &w->err) < 0)
		return 1;
	/* known beforehand: refused before the body */
	if (ask(w, "PUT /a/1/x\nExpect: 100-continue\nContent-Length: 4000000") != 507)
		return 2;
	/* found out on the way */
	if (put_chunks(w, "a/1/x", 100) != 507 ||
	    strcmp(body(w), "writing the file: No space left on device\n") != 0)
		return 3;
	if (entries(w->root, "") != 0)
		return 4;
	if (ask(w, "PUT /a/1/x\nContent-Length: 5\n\nsmall") != 201)
		return 5;
	return 0;
}

static void a_full_disk_loses_nothing(void **state)
{
	struct world *w = *state;
	int status;
	pid_t pid;

	server_free(w->server); /* the child starts its own */
	w->server = NULL;
	pid = fork();
	if (pid == 0)
		_exit(fill_disk(w));
	waitpid(pid, &status, 0);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77) {
		print_message("skipped: needs the right to mount\n");
		skip();
	}
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void options_are_checked(void **state)
{
	static const char *const bad[] = {"",
					  "127.0.0.1",
					  "127.0.0.1:",
					  ":80",
					  "127.0.0.1:x",
					  "127.0.0.1:99999",
					  "::1:80",
					  "no.such.host.invalid:1"};
	struct frem_error err = {0};
	struct server *s = NULL;
	struct server_options o = {.root = "/tmp"};
	struct world *w = *state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		o.listen = bad[i];
		assert_true(server_start(&o, &s, &err) < 0);
		assert_int_equal(err.code, FREM_USAGE);
		assert_null(s);
	}
	o.listen = server_url(w->server) + strlen("http://");
	assert_int_equal(server_start(&o, &s, &err), -EADDRINUSE);
	assert_int_equal(err.code, FREM_FAILED);
	o = (struct server_options){.root = "/tmp/frem-no-such-directory", .listen = "127.0.0.1:0"};
	assert_int_equal(server_start(&o, &s, &err), -ENOENT);
	assert_int_equal(err.code, FREM_USAGE);
	o.root = w->root;
	o.listen = "[::1]:0";
	if (server_start(&o, &s, &err) == 0) { /* where there is IPv6 */
		assert_memory_equal(server_url(s), "http://[::1]:", 13);
		server_free(s);
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_object_is_put_once),
		TEST(a_refusal_comes_before_the_body),
		TEST(one_of_many_wins),
		TEST(ranges),
		TEST(conditions_and_head),
		TEST(removal_and_listing),
		TEST(other_requests_get_a_status),
		TEST(too_large_is_refused),
		TEST(an_endless_upload_is_ended),
		TEST(names_do_not_escape),
		TEST(a_fifo_holds_nobody_up),
		TEST(garbage_does_no_harm),
		TEST(an_aborted_upload_leaves_nothing),
		TEST(stopping_ends_an_upload),
		TEST(a_killed_server_leaves_nothing_visible),
		TEST(a_full_disk_loses_nothing),
		TEST(options_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

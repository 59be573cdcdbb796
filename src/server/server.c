/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One thread a connection: requests block in the file system (a cold read inside sendfile(), the
 * sync at the end of an upload), and that must hold up nobody else.
 */
#include "server_impl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"

#define CONNECTIONS_MAX 2048U /* a restart uses up to 64 */
#define IDLE_SECONDS 120U
/* Holds a request's headers and the chunk of an upload that is handed over at once. */
#define CONNECTION_MEMORY ((size_t)256 << 10)
#define THREAD_STACK ((size_t)256 << 10)
#define STOP_WAIT_MS 3000
#define BACKLOG 1024 /* of several restarts that begin at once */

__attribute__((format(printf, 2, 0))) static void on_log(void *cls, const char *fmt, va_list ap)
{
	char line[512];

	(void)cls;
	vsnprintf(line, sizeof(line), fmt, ap);
	line[strcspn(line, "\n")] = '\0';
	log_debug("http: %s", line);
}

/* The path and the query stay encoded until they are taken apart here. */
static size_t keep_encoded(void *cls, struct MHD_Connection *c, char *s)
{
	(void)cls;
	(void)c;
	return strlen(s);
}

/* Takes the path apart; -EINVAL for one that can be no key. */
static int set_key(struct request *r, const char *path)
{
	size_t n;

	if (path[0] != '/' || url_decode(path + 1, r->key, sizeof(r->key)) < 0)
		return -EINVAL;
	n = strlen(r->key);
	r->listing = n == 0 || r->key[n - 1] == '/';
	if (n == 0)
		return 0;
	if (r->listing)
		r->key[n - 1] = '\0';
	return objdir_check_key(r->key, NULL);
}

static enum MHD_Result method_not_allowed(struct MHD_Connection *c)
{
	static char text[] = "method not allowed\n";
	struct MHD_Response *response =
		MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_PERSISTENT);

	if (response)
		MHD_add_response_header(response, "Allow", "GET, HEAD, PUT, DELETE");
	return answer(c, MHD_HTTP_METHOD_NOT_ALLOWED, response);
}

static enum MHD_Result dispatch(struct request *r, struct MHD_Connection *c, const char *path,
				const char *method)
{
	bool get = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
	bool delete = strcmp(method, "DELETE") == 0;

	if (!get && !delete)
		return method_not_allowed(c);
	if (set_key(r, path) < 0)
		return answer_text(c, MHD_HTTP_BAD_REQUEST, "not a valid key");
	if (get)
		return r->listing ? serve_listing(r, c) : serve_get(r, c);
	if (r->listing)
		return method_not_allowed(c);
	return serve_delete(r, c);
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *c, const char *path,
				  const char *method, const char *version, const char *data,
				  size_t *data_size, void **state)
{
	struct server *s = cls;
	struct request *r = *state;
	bool put = strcmp(method, "PUT") == 0;

	(void)version;
	if (!r) {
		r = calloc(1, sizeof(*r));
		if (!r)
			return MHD_NO;
		r->server = s;
		*state = r;
		atomic_fetch_add(&s->busy, 1);
		if (!put)
			return MHD_YES;
		if (set_key(r, path) < 0 || r->listing) {
			r->refused = MHD_HTTP_BAD_REQUEST;
			snprintf(r->why, sizeof(r->why), "not a valid key");
		}
		return upload_begin(r, c);
	}
	if (*data_size) {
		if (put)
			return upload_data(r, c, data, data_size);
		*data_size = 0; /* a body that means nothing here */
		return MHD_YES;
	}
	return put ? upload_end(r, c) : dispatch(r, c, path, method);
}

static void on_completed(void *cls, struct MHD_Connection *c, void **state,
			 enum MHD_RequestTerminationCode code)
{
	struct server *s = cls;
	struct request *r = *state;

	(void)c;
	(void)code;
	if (!r)
		return;
	objdir_upload_free(r->upload);
	free(r);
	*state = NULL;
	atomic_fetch_sub(&s->busy, 1);
}

/* ---- starting and stopping ---- */

/* Splits "ADDR:PORT" or "[ADDR]:PORT". */
static int split_listen(const char *text, char *host, size_t size, const char **ret_port)
{
	const char *colon = strrchr(text, ':');
	size_t n;

	if (!colon || !colon[1] || strspn(colon + 1, "0123456789") != strlen(colon + 1))
		return -EINVAL;
	n = (size_t)(colon - text);
	if (n >= 2 && text[0] == '[' && text[n - 1] == ']') {
		text++;
		n -= 2;
	} else if (memchr(text, ':', n)) {
		return -EINVAL;
	}
	if (n == 0 || n >= size || strtoul(colon + 1, NULL, 10) > 65535 || strlen(colon) > 6)
		return -EINVAL;
	memcpy(host, text, n);
	host[n] = '\0';
	*ret_port = colon + 1;
	return 0;
}

static int bind_socket(struct server *s, const struct addrinfo *a)
{
	_cleanup_close_ int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int one = 1;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (a->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(fd, a->ai_addr, a->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0)
		return -errno;
	s->listen_fd = take_fd(&fd);
	return 0;
}

static int set_url(struct server *s, struct frem_error *err)
{
	char host[INET6_ADDRSTRLEN + 16], port[8];
	struct sockaddr_storage addr = {0};
	socklen_t n = sizeof(addr);
	bool v6;

	if (getsockname(s->listen_fd, (struct sockaddr *)&addr, &n) < 0 ||
	    getnameinfo((struct sockaddr *)&addr, n, host, sizeof(host), port, sizeof(port),
			NI_NUMERICHOST | NI_NUMERICSERV))
		return frem_fail(err, FREM_FAILED, EINVAL, "looking at the socket");
	v6 = addr.ss_family == AF_INET6;
	if (asprintf(&s->url, "http://%s%s%s:%s", v6 ? "[" : "", host, v6 ? "]" : "", port) < 0) {
		s->url = NULL;
		return frem_oom(err);
	}
	return 0;
}

static int open_socket(struct server *s, const char *listen_text, struct frem_error *err)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
	struct addrinfo *list = NULL;
	const char *port;
	char host[256];
	int r;

	if (split_listen(listen_text, host, sizeof(host), &port) < 0)
		return frem_fail(err, FREM_USAGE, 0, "'%s' is not ADDR:PORT", listen_text);
	r = getaddrinfo(host, port, &hints, &list);
	if (r) {
		r = frem_fail(err, FREM_USAGE, 0, "address '%s': %s", host, gai_strerror(r));
		return r;
	}
	r = bind_socket(s, list);
	freeaddrinfo(list);
	if (r < 0)
		return frem_fail(err, FREM_FAILED, -r, "listening on '%s'", listen_text);
	return set_url(s, err);
}

static int start_daemon(struct server *s, struct frem_error *err)
{
	s->daemon = MHD_start_daemon(
		MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL |
			MHD_USE_ITC | MHD_USE_ERROR_LOG,
		0, NULL, NULL, on_request, s, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL,
		MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_LISTEN_SOCKET, s->listen_fd,
		MHD_OPTION_UNESCAPE_CALLBACK, keep_encoded, NULL, MHD_OPTION_NOTIFY_COMPLETED,
		on_completed, s, MHD_OPTION_NOTIFY_CONNECTION, connections_notify, &s->connections,
		MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
		IDLE_SECONDS, MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY,
		MHD_OPTION_THREAD_STACK_SIZE, THREAD_STACK, MHD_OPTION_END);
	if (!s->daemon)
		return frem_fail(err, FREM_FAILED, 0, "starting the HTTP server");
	return 0;
}

int server_start(const struct server_options *o, struct server **ret, struct frem_error *err)
{
	_cleanup_server_ struct server *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return frem_oom(err);
	s->listen_fd = -1;
	connections_init(&s->connections);
	s->max_object = o->max_object ? o->max_object : INT64_MAX;
	r = objdir_open(o->root, &s->objdir, err);
	if (r < 0) {
		if (err)
			err->code = FREM_USAGE;
		return frem_context(err, r, "root '%s'", o->root);
	}
	objdir_sweep(s->objdir);
	r = open_socket(s, o->listen, err);
	if (r == 0)
		r = start_daemon(s, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(s);
	return 0;
}

const char *server_url(const struct server *s)
{
	return s->url;
}

void server_free(struct server *s)
{
	const struct timespec pause = {.tv_nsec = 5000000};

	if (!s)
		return;
	if (s->daemon) {
		uint64_t start = clock_ns();

		MHD_quiesce_daemon(s->daemon);
		while (atomic_load(&s->busy) && clock_ms_since(start) < STOP_WAIT_MS)
			nanosleep(&pause, NULL);
		connections_end(&s->connections, STOP_WAIT_MS);
		MHD_stop_daemon(s->daemon);
	}
	if (s->listen_fd >= 0)
		close(s->listen_fd);
	connections_done(&s->connections);
	objdir_free(s->objdir);
	free(s->url);
	free(s);
}

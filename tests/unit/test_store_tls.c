/* SPDX-License-Identifier: GPL-2.0-or-later */
/* https://, over HTTP/1.1 and HTTP/2, with nginx as the server; skipped where that is not there. */
#include "store_world.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "tcp_peer.h"

#define NGINX "/usr/sbin/nginx"
#define OPENSSL "/usr/bin/openssl"
#define START_MS 20000

struct tls_world {
	char dir[64];
	pid_t nginx;
	char http1[64], http2[64]; /* URLs */
	uint8_t *bytes;
	struct frem_error err;
};

static const char config[] =
	"daemon off;\nuser root;\nworker_processes 1;\npid %1$s/pid;\nerror_log %1$s/error;\n"
	"events { worker_connections 256; }\n"
	"http {\n"
	"  log_format p '$server_protocol $connection';\n  access_log %1$s/access p;\n"
	"  client_body_temp_path %1$s/t1; proxy_temp_path %1$s/t2; fastcgi_temp_path %1$s/t3;\n"
	"  uwsgi_temp_path %1$s/t4; scgi_temp_path %1$s/t5;\n"
	"  ssl_certificate %1$s/cert; ssl_certificate_key %1$s/key;\n"
	"  root %1$s/root;\n"
	"  server { listen 127.0.0.1:%2$u ssl; }\n"
	"  server { listen 127.0.0.1:%3$u ssl http2; }\n"
	"}\n";

static bool run_openssl(const char *dir, const char *key, const char *cert)
{
	char command[512];

	snprintf(command, sizeof(command),
		 OPENSSL " req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
			 "-subj /CN=frem-test -addext subjectAltName=IP:127.0.0.1 "
			 "-keyout %s/%s -out %s/%s 2>/dev/null",
		 dir, key, dir, cert);
	return system(command) == 0;
}

static unsigned free_port(void)
{
	char url[64];
	int fd = tcp_listen();

	tcp_url(fd, url, sizeof(url));
	close(fd);
	return (unsigned)strtoul(strrchr(url, ':') + 1, NULL, 10);
}

static void write_file(const char *dir, const char *name, const void *data, size_t n)
{
	char path[160];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "we");
	if (!f || fwrite(data, 1, n, f) != n || fclose(f))
		abort();
}

static bool listens(unsigned port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	_cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0;
}

static bool start_nginx(struct tls_world *w)
{
	unsigned port[2] = {free_port(), 0};
	uint64_t start = clock_ns();
	char text[2048], path[160];

	do
		port[1] = free_port();
	while (port[1] == port[0]);
	snprintf(w->http1, sizeof(w->http1), "https://127.0.0.1:%u", port[0]);
	snprintf(w->http2, sizeof(w->http2), "https://127.0.0.1:%u", port[1]);
	snprintf(text, sizeof(text), config, w->dir, port[0], port[1]);
	write_file(w->dir, "conf", text, strlen(text));
	snprintf(path, sizeof(path), "%s/conf", w->dir);
	w->nginx = fork();
	if (w->nginx == 0) {
		int null = open("/dev/null", O_RDWR | O_CLOEXEC);

		prctl(PR_SET_PDEATHSIG, SIGTERM);
		dup2(null, 2);
		execl(NGINX, NGINX, "-c", path, NULL);
		_exit(1);
	}
	while (!listens(port[1])) {
		if (waitpid(w->nginx, NULL, WNOHANG) != 0 || clock_ms_since(start) > START_MS)
			return false;
		usleep(5000);
	}
	return true;
}

static int set_up(void **state)
{
	struct tls_world *w = calloc(1, sizeof(*w));
	char path[160];

	*state = w;
	if (access(NGINX, X_OK) || access(OPENSSL, X_OK))
		return 0;
	snprintf(w->dir, sizeof(w->dir), "/tmp/frem-test-XXXXXX");
	if (!mkdtemp(w->dir))
		return -1;
	for (const char **name = (const char *[]){"root", "root/a", "root/a/1", NULL}; *name;
	     name++) {
		snprintf(path, sizeof(path), "%s/%s", w->dir, *name);
		if (mkdir(path, 0755))
			return -1;
	}
	w->bytes = pattern(BIG);
	write_file(w->dir, "root/a/1/x", w->bytes, BIG);
	if (!run_openssl(w->dir, "key", "cert") || !run_openssl(w->dir, "key2", "cert2"))
		return -1;
	return start_nginx(w) ? 0 : -1;
}

static int tear_down(void **state)
{
	struct tls_world *w = *state;

	unsetenv("CURL_CA_BUNDLE");
	if (w->nginx > 0) {
		kill(w->nginx, SIGTERM);
		waitpid(w->nginx, NULL, 0);
		file_remove_tree(w->dir);
	}
	free(w->bytes);
	free(w);
	return 0;
}

static struct tls_world *need_nginx(void **state, const char *trusted)
{
	struct tls_world *w = *state;
	char path[160];

	if (!w->nginx)
		skip(); /* no nginx, or no openssl */
	snprintf(path, sizeof(path), "%s/%s", w->dir, trusted);
	setenv("CURL_CA_BUNDLE", path, 1);
	return w;
}

/* Everything comes, and in the log is nothing but this protocol. */
static void all_comes_over(struct tls_world *w, const char *url, const char *protocol)
{
	_cleanup_store_ struct store *s = NULL;
	_cleanup_fetcher_ struct fetcher *f = NULL;
	_cleanup_buffer_ struct buffer b = {0};
	struct sink bulk = {0}, urgent[8] = {0};
	char command[256];

	assert_int_equal(store_open(url, &s, &w->err), 0);
	store_set_timeout(s, 0);
	if (store_get(s, "a/1/x", 7, 1000, 1000, &b, &w->err) < 0)
		fail_msg("%s", w->err.text);
	assert_memory_equal(b.data, w->bytes + 7, 1000);
	assert_int_equal(fetcher_new(s, &f, &w->err), 0);
	sink_start(f, &bulk, "a/1/x", 0, STORE_WHOLE, false);
	for (int i = 0; i < 8; i++)
		sink_start(f, &urgent[i], "a/1/x", (uint64_t)i * 100000, 131072, true);
	run_all(f);
	if (bulk.r)
		fail_msg("%s", bulk.err.text);
	assert_int_equal(bulk.b.len, BIG);
	assert_memory_equal(bulk.b.data, w->bytes, BIG);
	buffer_done(&bulk.b);
	for (int i = 0; i < 8; i++) {
		assert_int_equal(urgent[i].r, 0);
		assert_memory_equal(urgent[i].b.data, w->bytes + i * 100000, 131072);
		buffer_done(&urgent[i].b);
	}
	snprintf(command, sizeof(command), "! grep -v '^%s ' %s/access && test -s %s/access",
		 protocol, w->dir, w->dir);
	assert_int_equal(system(command), 0);
}

static void https_works(void **state)
{
	struct tls_world *w = need_nginx(state, "cert");

	all_comes_over(w, w->http1, "HTTP/1.1");
}

static void http2_is_spoken_where_it_can_be(void **state)
{
	struct tls_world *w = need_nginx(state, "cert");

	all_comes_over(w, w->http2, "HTTP/2.0");
}

static void an_untrusted_certificate_is_refused_at_once(void **state)
{
	struct tls_world *w = need_nginx(state, "cert2");
	_cleanup_store_ struct store *s = NULL;
	_cleanup_fetcher_ struct fetcher *f = NULL;
	_cleanup_buffer_ struct buffer b = {0};
	struct sink sink = {0};

	assert_int_equal(store_open(w->http2, &s, &w->err), 0);
	store_set_timeout(s, 60000);
	assert_int_equal(store_get(s, "a/1/x", 0, 10, 10, &b, &w->err), -EKEYREJECTED);
	assert_int_equal(w->err.code, FREM_STORE);
	assert_non_null(strstr(w->err.text, "certificate is not trusted"));
	assert_non_null(strstr(w->err.hint, "CURL_CA_BUNDLE"));
	assert_int_equal(fetcher_new(s, &f, &w->err), 0);
	sink_start(f, &sink, "a/1/x", 0, 10, true);
	run_all(f);
	assert_int_equal(sink.r, -EKEYREJECTED);
}

static void a_missing_bundle_is_said(void **state)
{
	struct tls_world *w = need_nginx(state, "nothing");
	_cleanup_store_ struct store *s = NULL;
	_cleanup_buffer_ struct buffer b = {0};

	assert_int_equal(store_open(w->http1, &s, &w->err), 0);
	assert_int_equal(store_get(s, "a/1/x", 0, 10, 10, &b, &w->err), -EKEYREJECTED);
	assert_non_null(strstr(w->err.text, "nothing"));
}

#define TLS(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TLS(https_works),
		TLS(http2_is_spoken_where_it_can_be),
		TLS(an_untrusted_certificate_is_refused_at_once),
		TLS(a_missing_bundle_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

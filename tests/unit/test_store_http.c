/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What only HTTP can get wrong: URLs, servers that are not there, and servers that lie. */
#include "store_world.h"
#include "tcp_peer.h"

/* ---- opening ---- */

static void urls_say_what_they_are(void **state)
{
	static const char *const bad[] = {"",
					  "ftp://h/",
					  "http://",
					  "file://rel/x",
					  "http://h:99999/",
					  "http://h/?q",
					  "http://h/#f"};
	struct frem_error err = {0};
	struct store *s = NULL;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_true(store_open(bad[i], &s, &err) < 0);
		assert_int_equal(err.code, FREM_USAGE);
		assert_null(s);
	}
	assert_int_equal(store_open("/tmp/frem-no-such-directory", &s, &err), -ENOENT);
	assert_int_equal(err.code, FREM_STORE);
	assert_string_equal(err.hint, "make it first: mkdir '/tmp/frem-no-such-directory'");
	assert_int_equal(store_open("file:///%74mp", &s, &err), 0);
	assert_string_equal(store_url(s), "/tmp");
	store_free(s);
	assert_int_equal(store_open("http://user:secret@127.0.0.1:1/p/", &s, &err), 0);
	assert_string_equal(store_url(s), "http://user@127.0.0.1:1/p");
	store_free(s);
}

static void a_prefix_is_a_store_of_its_own(void **state)
{
	_cleanup_store_list_ struct store_list *l = NULL, *all = NULL;
	_cleanup_store_ struct store *s = NULL;
	struct world *w = *state;
	char url[128];

	snprintf(url, sizeof(url), "%s/team/", server_url(w->server));
	assert_int_equal(store_open(url, &s, &w->err), 0);
	assert_int_equal(store_list(s, "", &l, &w->err), 0);
	assert_int_equal(l->n, 0);
	store_list_free(TAKE_PTR(l));
	assert_int_equal(store_put_bytes(s, "a/1/x", "1", 1, true, &w->err), 0);
	put(w, "b/1/x", "1", 1);
	assert_int_equal(store_list(s, "", &l, &w->err), 0);
	assert_int_equal(l->n, 1);
	assert_string_equal(l->objects[0].key, "a/1/x");
	assert_int_equal(store_list(w->store, "", &all, &w->err), 0);
	assert_int_equal(all->n, 2);
	assert_string_equal(all->objects[1].key, "team/a/1/x");
}

/* ---- servers that are not there, or lie ---- */

/* Opens a store whose first failure is final. */
static int open_strict(const char *url, struct store **ret, struct frem_error *err)
{
	int r = store_open(url, ret, err);

	if (r == 0)
		store_set_timeout(*ret, 0);
	return r;
}

static void nobody_listens(void **state)
{
	_cleanup_store_ struct store *s = NULL;
	_cleanup_fetcher_ struct fetcher *f = NULL;
	_cleanup_buffer_ struct buffer b = {0};
	struct frem_error err = {0};
	struct sink sink = {0};
	int fd = tcp_listen();
	char url[64], text[256];

	(void)state;
	tcp_url(fd, url, sizeof(url));
	close(fd);
	assert_int_equal(store_open(url, &s, &err), 0);
	assert_int_equal(store_get(s, "a/1/head", 0, 9, 9, &b, &err), -ECONNREFUSED);
	assert_int_equal(err.code, FREM_STORE);
	snprintf(text, sizeof(text),
		 "store '%s': get 'a/1/head': could not connect: Connection refused", url);
	assert_string_equal(err.text, text);
	assert_int_equal(store_put_bytes(s, "a/1/head", "", 0, true, &err), -ECONNREFUSED);
	assert_int_equal(fetcher_new(s, &f, &err), 0);
	sink_start(f, &sink, "a/1/head", 0, 9, true);
	run_all(f);
	assert_int_equal(sink.r, -ECONNREFUSED);
	assert_string_equal(sink.err.text, text);
}

#define OK_100 "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
#define PART(range) "HTTP/1.1 206 Partial\r\nContent-Range: " range "\r\n"
#define TEN "0123456789"

/* Each is answered to a request for 10 bytes at offset 5; the connection is then closed. */
static const struct lie {
	const char *answer;
	int r;
	enum frem_code code;
} lies[] = {
	{"", -EIO, FREM_STORE},
	{"garbage\r\n\r\n" TEN, -EIO, FREM_STORE},
	{"HTTP/1.1 206", -EIO, FREM_STORE},
	{"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" TEN, -EIO, FREM_STORE},
	{PART("bytes 5-14/50") "Content-Length: 10\r\n\r\n01234", -EIO, FREM_STORE},
	{PART("bytes 5-14/50") "Content-Length: 5\r\n\r\n01234", -EIO, FREM_STORE},
	{PART("bytes 5-14/50") "\r\n01234", -EIO, FREM_STORE},
	{PART("bytes 6-15/50") "Content-Length: 10\r\n\r\n" TEN, -EIO, FREM_STORE},
	{PART("bytes 5-15/50") "Content-Length: 11\r\n\r\n" TEN "x", -EIO, FREM_STORE},
	{PART("bytes 5-12/50") "Content-Length: 8\r\n\r\n01234567", -EIO, FREM_STORE},
	{PART("bytes 5-14/12") "Content-Length: 10\r\n\r\n" TEN, -EIO, FREM_STORE},
	{PART("bytes 5-x/50") "Content-Length: 10\r\n\r\n" TEN, -EIO, FREM_STORE},
	{PART("bytes 99999999999999999999-5/6") "Content-Length: 10\r\n\r\n" TEN, -EIO, FREM_STORE},
	{"HTTP/1.1 206 Partial\r\nContent-Length: 10\r\n\r\n" TEN, -EIO, FREM_STORE},
	{PART("bytes 5-14/50") "Transfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n0\r\n\r\n", -EIO,
	 FREM_STORE},
	{PART("bytes 5-14/50") "Transfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n", -EIO,
	 FREM_STORE},
	{PART("bytes 5-14/50") "Transfer-Encoding: chunked\r\n\r\nzz\r\n01234\r\n", -EIO,
	 FREM_STORE},
	{"HTTP/1.1 416 No\r\nContent-Range: bytes */50\r\nContent-Length: 0\r\n\r\n", -EIO,
	 FREM_STORE},
	{"HTTP/1.1 204 No Content\r\n\r\n", -EIO, FREM_STORE},
	{"HTTP/1.1 304 Not Modified\r\n\r\n", -EIO, FREM_STORE},
	{"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n", -EIO,
	 FREM_STORE},
	{"HTTP/1.1 500 Oops\r\nContent-Length: 9\r\n\r\nno\ndetail", -EIO, FREM_STORE},
	{"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", -EACCES, FREM_STORE},
	{"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", -EACCES, FREM_STORE},
	{"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", -ENOENT, FREM_NOT_FOUND},
};

static void lies_are_never_passed_on(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		struct tcp_peer *p = tcp_peer_start(lies[i].answer, strlen(lies[i].answer));
		_cleanup_buffer_ struct buffer b = {0};
		struct frem_error err = {0};
		struct store *s = NULL;
		struct fetcher *f = NULL;
		struct sink sink = {0};
		int r;

		assert_int_equal(open_strict(tcp_peer_url(p), &s, &err), 0);
		r = store_get(s, "a/1/x", 5, 10, 10, &b, &err);
		if (r != lies[i].r && !(lies[i].r == -EIO && r == -ECONNRESET))
			fail_msg("lie %zu: %d %s", i, r, err.text);
		assert_int_equal(err.code, lies[i].code);
		assert_int_equal(b.len, 0);
		store_free(s); /* the peer knows one connection at a time */
		assert_int_equal(open_strict(tcp_peer_url(p), &s, &err), 0);
		assert_int_equal(fetcher_new(s, &f, &err), 0);
		sink_start(f, &sink, "a/1/x", 5, 10, true);
		run_all(f);
		assert_int_equal(sink.done, 1);
		if (sink.r != lies[i].r && !(lies[i].r == -EIO && sink.r == -ECONNRESET))
			fail_msg("lie %zu: fetch %d %s", i, sink.r, sink.err.text);
		assert_int_equal(sink.err.code, lies[i].code);
		assert_true(sink.b.len < 10);
		buffer_done(&sink.b);
		fetcher_free(f);
		store_free(s);
		tcp_peer_stop(p);
	}
}

static void refusals_quote_the_server(void **state)
{
	static const char answer[] = "HTTP/1.1 500 Oops\r\nContent-Length: 14\r\n\r\n"
				     "disk on fire\nx";
	struct tcp_peer *p = tcp_peer_start(answer, strlen(answer));
	_cleanup_buffer_ struct buffer b = {0};
	struct frem_error err = {0};
	struct store *s = NULL;

	(void)state;
	assert_int_equal(open_strict(tcp_peer_url(p), &s, &err), 0);
	assert_int_equal(store_get(s, "a/1/x", 0, 10, 10, &b, &err), -EIO);
	assert_non_null(strstr(err.text, "get 'a/1/x': the server answered 500 'disk on fire'"));
	store_free(s);
	tcp_peer_stop(p);
}

/* A server without ranges is good enough from the start of an object. */
static void a_whole_answer_is_cut(void **state)
{
	char answer[4096];
	struct frem_error err = {0};
	_cleanup_buffer_ struct buffer b = {0};
	struct store *s = NULL;
	struct tcp_peer *p;

	(void)state;
	snprintf(answer, sizeof(answer), OK_100 "%0100d", 7);
	p = tcp_peer_start(answer, strlen(answer));
	assert_int_equal(open_strict(tcp_peer_url(p), &s, &err), 0);
	assert_int_equal(store_get(s, "a/1/x", 0, 10, 10, &b, &err), 0);
	assert_int_equal(b.len, 10);
	assert_int_equal(store_get(s, "a/1/x", 0, STORE_WHOLE, 99, &b, &err), -EFBIG);
	assert_int_equal(b.len, 10);
	store_free(s);
	tcp_peer_stop(p);
}

/* Where the end of the connection is the end of the body, half of it looks like all of it. */
static void a_body_has_to_say_where_it_ends(void **state)
{
	static const struct {
		const char *answer;
		int r;
	} cases[] = {
		{"HTTP/1.1 200 OK\r\n\r\n" TEN, -EIO},
		{"HTTP/1.0 200 OK\r\n\r\n" TEN, -EIO},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n" TEN "\r\n", -EIO},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n" TEN "\r\n0\r\n\r\n",
		 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct tcp_peer *p = tcp_peer_start(cases[i].answer, strlen(cases[i].answer));
		_cleanup_buffer_ struct buffer b = {0};
		struct frem_error err = {0};
		struct store *s = NULL;

		assert_int_equal(open_strict(tcp_peer_url(p), &s, &err), 0);
		assert_int_equal(store_get(s, "a/1/x", 0, STORE_WHOLE, 99, &b, &err), cases[i].r);
		assert_int_equal(b.len, cases[i].r ? 0 : 10);
		store_free(s);
		tcp_peer_stop(p);
	}
}

static void redirects_are_followed(void **state)
{
	struct world *w = *state;
	_cleanup_buffer_ struct buffer b = {0};
	struct store *s = NULL;
	struct tcp_peer *p;
	char answer[512];

	put(w, "a/1/x", TEN, 10);
	snprintf(answer, sizeof(answer),
		 "HTTP/1.1 302 Found\r\nLocation: %s/a/1/x\r\nContent-Length: 0\r\n\r\n",
		 server_url(w->server));
	p = tcp_peer_start(answer, strlen(answer));
	assert_int_equal(open_strict(tcp_peer_url(p), &s, &w->err), 0);
	assert_int_equal(store_get(s, "a/1/x", 2, 3, 10, &b, &w->err), 0);
	assert_int_equal(b.len, 3);
	assert_memory_equal(b.data, "234", 3);
	store_free(s);
	tcp_peer_stop(p);
}

static void a_silent_server_is_given_up(void **state)
{
	_cleanup_buffer_ struct buffer b = {0};
	_cleanup_store_ struct store *s = NULL;
	_cleanup_fetcher_ struct fetcher *f = NULL;
	struct frem_error err = {0};
	struct sink sink = {0};
	int fd = tcp_listen(); /* the kernel takes connections; nobody answers */
	char url[64];

	(void)state;
	tcp_url(fd, url, sizeof(url));
	assert_int_equal(open_strict(url, &s, &err), 0);
	store_set_stall_limit(s, 200);
	assert_int_equal(store_get(s, "a/1/x", 0, 10, 10, &b, &err), -ETIMEDOUT);
	assert_int_equal(err.code, FREM_STORE);
	assert_int_equal(fetcher_new(s, &f, &err), 0);
	sink_start(f, &sink, "a/1/x", 0, 10, false);
	run_all(f);
	assert_int_equal(sink.r, -ETIMEDOUT);
	close(fd);
}

static void listings_are_checked(void **state)
{
	static const char *const bodies[] = {
		"<html>",
		"[]",
		"{}",
		"{\"objects\":[],\"next\":\"a\"}",
		"{\"objects\":[{\"key\":\"../x\",\"size\":1,\"modified\":1}]}",
		"{\"objects\":[{\"key\":\"b/1/x\",\"size\":1,\"modified\":1}]}",
		"{\"objects\":[{\"key\":\"a/1/x\",\"size\":-1,\"modified\":1}]}",
		"{\"objects\":[{\"key\":\"a/1/x\",\"size\":1}]}",
		/* the same page again and again */
		"{\"objects\":[{\"key\":\"a/1/x\",\"size\":1,\"modified\":1}],\"next\":\"a/1/x\"}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		struct frem_error err = {0};
		struct store_list *l = NULL;
		struct store *s = NULL;
		struct tcp_peer *p;
		char answer[512];

		snprintf(answer, sizeof(answer), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s",
			 strlen(bodies[i]), bodies[i]);
		p = tcp_peer_start(answer, strlen(answer));
		assert_int_equal(open_strict(tcp_peer_url(p), &s, &err), 0);
		assert_int_equal(store_list(s, "a/", &l, &err), -EIO);
		assert_int_equal(err.code, FREM_STORE);
		assert_null(l);
		store_free(s);
		tcp_peer_stop(p);
	}
}

static void a_refused_upload_is_not_sent(void **state)
{
	struct supply supply = {.left = BIG};
	struct store_source source = {supply_to_end, &supply, STORE_WHOLE, NULL};
	struct world *w = *state;

	put(w, "a/1/x", "taken", 5);
	assert_int_equal(store_put(w->store, "a/1/x", &source, true, &w->err), -EEXIST);
	assert_int_equal(supply.calls, 0);
	source.size = BIG;
	assert_int_equal(store_put(w->store, "a/1/x", &source, true, &w->err), -EEXIST);
	assert_int_equal(supply.calls, 0);
}

static void success_before_the_end_is_none(void **state)
{
	static const char answer[] = "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n";
	struct tcp_peer *p = tcp_peer_start(answer, strlen(answer));
	struct supply supply = {.left = BIG};
	struct store_source source = {supply_to_end, &supply, BIG, NULL};
	struct frem_error err = {0};
	struct store *s = NULL;

	(void)state;
	assert_int_equal(open_strict(tcp_peer_url(p), &s, &err), 0);
	assert_true(store_put(s, "a/1/x", &source, true, &err) < 0);
	assert_int_equal(err.code, FREM_STORE);
	store_free(s);
	tcp_peer_stop(p);
}

/* A connection kept from before is dead by then, which is nobody's failure. */
static void a_restarted_server_is_found_again(void **state)
{
	_cleanup_free_ uint8_t *big = pattern(BIG);
	_cleanup_buffer_ struct buffer b = {0};
	struct world *w = *state;
	char listen[64];

	snprintf(listen, sizeof(listen), "%s", server_url(w->server) + strlen("http://"));
	put(w, "a/1/x", big, BIG);
	for (int i = 0; i < 4; i++) {
		struct server_options o = {.root = w->root, .listen = listen};
		struct supply s = {.left = BIG};
		struct store_source source = {supply_to_end, &s, i == 2 ? BIG : STORE_WHOLE, NULL};

		server_free(w->server);
		w->server = NULL;
		assert_int_equal(server_start(&o, &w->server, &w->err), 0);
		if (i == 0)
			assert_int_equal(store_get(w->store, "a/1/x", 0, BIG, BIG, &b, &w->err), 0);
		else if (i == 1)
			put(w, "a/1/small", "1", 1);
		else if (store_put(w->store, "a/1/big", &source, false, &w->err) < 0)
			fail_msg("%s", w->err.text);
	}
}

#define HTTP(test) cmocka_unit_test_setup_teardown(test, start_http, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		HTTP(a_prefix_is_a_store_of_its_own),
		HTTP(redirects_are_followed),
		HTTP(a_refused_upload_is_not_sent),
		HTTP(a_restarted_server_is_found_again),
		cmocka_unit_test(urls_say_what_they_are),
		cmocka_unit_test(nobody_listens),
		cmocka_unit_test(lies_are_never_passed_on),
		cmocka_unit_test(refusals_quote_the_server),
		cmocka_unit_test(a_body_has_to_say_where_it_ends),
		cmocka_unit_test(a_whole_answer_is_cut),
		cmocka_unit_test(a_silent_server_is_given_up),
		cmocka_unit_test(listings_are_checked),
		cmocka_unit_test(success_before_the_end_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "http_call.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define CONNECT_TIMEOUT_MS 10000L
#define RECEIVE_SIZE (256L << 10)
/* Up to this size a body is sent at once; above, the server is first asked whether it wants it. */
#define SMALL_BODY (size_t)(64 << 10)
#define EXPECT_WAIT_MS 3000L
#define REFUSAL_MOST (64 << 10)

/* ---- what curl calls ---- */

static void note_connect_time(struct http_call *c)
{
	curl_off_t lookup = 0, connect = 0;
	long connects = 0;

	curl_easy_getinfo(c->easy, CURLINFO_NUM_CONNECTS, &connects);
	curl_easy_getinfo(c->easy, CURLINFO_NAMELOOKUP_TIME_T, &lookup);
	curl_easy_getinfo(c->easy, CURLINFO_CONNECT_TIME_T, &connect);
	if (connects != 1 || connect <= lookup)
		return;
	if (c->h->rtt_ms <= 0 || (double)(connect - lookup) / 1000 < c->h->rtt_ms)
		c->h->rtt_ms = (double)(connect - lookup) / 1000;
}

double http_call_delay_ms(const struct http_call *c)
{
	curl_off_t sent = 0, first = 0;

	curl_easy_getinfo(c->easy, CURLINFO_PRETRANSFER_TIME_T, &sent);
	curl_easy_getinfo(c->easy, CURLINFO_STARTTRANSFER_TIME_T, &first);
	return first > sent ? (double)(first - sent) / 1000 : 0;
}

static bool is_redirect(const struct http_call *c)
{
	return c->method == HTTP_GET && c->status >= 300 && c->status < 400;
}

/* The head is complete: decide what to do with the body. */
static int head_complete(struct http_call *c)
{
	curl_off_t length = -1;
	long version = 0;
	int r;

	curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &c->status);
	if (c->status < 200 || is_redirect(c))
		return 0; /* another head follows */
	note_connect_time(c);
	curl_easy_getinfo(c->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
	curl_easy_getinfo(c->easy, CURLINFO_HTTP_VERSION, &version);
	r = http_answer_check(c, length, c->chunked || version >= CURL_HTTP_VERSION_2_0);
	if (r == 0 && c->answered && c->accepted)
		r = c->r = c->accepted(c);
	return r;
}

static bool header_is(const char *line, size_t n, const char *name, const char **ret_value,
		      size_t *ret_len)
{
	size_t k = strlen(name);

	if (n <= k || strncasecmp(line, name, k) != 0 || line[k] != ':')
		return false;
	line += k + 1;
	n -= k + 1;
	while (n && (*line == ' ' || *line == '\t'))
		line++, n--;
	while (n && (line[n - 1] == '\r' || line[n - 1] == '\n' || line[n - 1] == ' '))
		n--;
	*ret_value = line;
	*ret_len = n;
	return true;
}

static size_t on_header(char *line, size_t size, size_t n, void *arg)
{
	struct http_call *c = arg;
	const char *value;
	size_t len;

	n *= size;
	c->moved = clock_ns();
	if (c->answered || c->refused) /* trailers say nothing to us */
		return n;
	if (n >= 5 && strncasecmp(line, "HTTP/", 5) == 0) {
		c->chunked = false;
		c->content_range[0] = '\0';
	} else if (header_is(line, n, "Transfer-Encoding", &value, &len)) {
		c->chunked = len == 7 && strncasecmp(value, "chunked", 7) == 0;
	} else if (header_is(line, n, "Content-Range", &value, &len)) {
		len = len < sizeof(c->content_range) ? len : 0;
		memcpy(c->content_range, value, len);
		c->content_range[len] = '\0';
	} else if (line[0] == '\r' || line[0] == '\n') {
		if (head_complete(c))
			return 0;
	}
	return n;
}

static size_t ignore_body(struct http_call *c, const char *data, size_t n)
{
	size_t room = sizeof(c->said) - 1 - c->said_len;
	size_t take = n < room ? n : room;

	if (c->refused && take) {
		memcpy(c->said + c->said_len, data, take);
		c->said_len += take;
	}
	c->ignored += n;
	return c->ignored > REFUSAL_MOST ? 0 : n;
}

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
	struct http_call *c = arg;
	size_t take;

	n *= size;
	c->moved = clock_ns();
	if (!c->answered || c->method != HTTP_GET || c->status == 416)
		return ignore_body(c, data, n);
	if (n == 0)
		return 0;
	take = n;
	if (take > c->want - c->got)
		take = (size_t)(c->want - c->got);
	if (take > c->most - c->got) {
		c->r = store_fail_big(&c->err, c->most);
		return 0;
	}
	c->got += take;
	if (take)
		c->r = c->data(c, data, take);
	if (c->r)
		return 0;
	if (c->longer && c->got == c->want) {
		/* a server without ranges sends on: what was wanted is here */
		c->cut = true;
		return 0;
	}
	return n;
}

static size_t on_upload(char *data, size_t size, size_t n, void *arg)
{
	struct http_call *c = arg;
	ssize_t got;

	n *= size;
	if (c->small) {
		size_t left = c->small_len - c->small_pos;

		n = n < left ? n : left;
		memcpy(data, c->small + c->small_pos, n);
		c->small_pos += n;
		c->uploaded = c->small_pos == c->small_len;
		c->moved = clock_ns();
		return n;
	}
	got = c->source->read(c->source->arg, data, n, &c->err);
	c->moved = clock_ns(); /* behind the read: it may have blocked for long */
	if (got < 0) {
		c->r = (int)got;
		return CURL_READFUNC_ABORT;
	}
	c->got += (uint64_t)got;
	c->uploaded = got == 0 || c->got == c->source->size;
	return (size_t)got;
}

static int on_rewind(void *arg, curl_off_t offset, int origin)
{
	struct http_call *c = arg;

	if (!c->small || origin != SEEK_SET || offset < 0 || (size_t)offset > c->small_len)
		return CURL_SEEKFUNC_CANTSEEK;
	c->small_pos = (size_t)offset;
	return CURL_SEEKFUNC_OK;
}

/* ---- setting up ---- */

char *http_encode(const char *before, const char *text, bool query)
{
	static const char unreserved[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
					 "0123456789-._~";
	size_t n = strlen(before);
	char *out = malloc(n + 3 * strlen(text) + 1);
	char *p = out;

	if (!out)
		return NULL;
	memcpy(p, before, n);
	p += n;
	for (; *text; text++) {
		if (strchr(unreserved, *text) || (*text == '/' && !query))
			*p++ = *text;
		else
			p += sprintf(p, "%%%02X", (unsigned char)*text);
	}
	*p = '\0';
	return out;
}

static int add_header(struct http_call *c, const char *line)
{
	struct curl_slist *l = curl_slist_append(c->headers, line);

	if (!l)
		return -ENOMEM;
	c->headers = l;
	return 0;
}

static int read_small_body(struct http_call *c, struct frem_error *err)
{
	uint64_t size = c->source->size;

	if (size > SMALL_BODY)
		return 0;
	c->small = malloc(size ? size : 1);
	if (!c->small)
		return frem_oom(err);
	while (c->small_len < size) {
		ssize_t got = c->source->read(c->source->arg, c->small + c->small_len,
					      size - c->small_len, err);

		if (got < 0)
			return (int)got;
		c->small_len += (size_t)got;
	}
	c->uploaded = size == 0;
	return 0;
}

static int set_up_put(struct http_call *c, struct frem_error *err)
{
	CURL *e = c->easy;
	int r = read_small_body(c, err);

	if (r < 0)
		return r;
	curl_easy_setopt(e, CURLOPT_UPLOAD, 1L);
	curl_easy_setopt(e, CURLOPT_READFUNCTION, on_upload);
	curl_easy_setopt(e, CURLOPT_READDATA, c);
	curl_easy_setopt(e, CURLOPT_SEEKFUNCTION, on_rewind);
	curl_easy_setopt(e, CURLOPT_SEEKDATA, c);
	curl_easy_setopt(e, CURLOPT_UPLOAD_BUFFERSIZE, RECEIVE_SIZE);
	curl_easy_setopt(e, CURLOPT_EXPECT_100_TIMEOUT_MS, EXPECT_WAIT_MS);
	if (c->source->size != STORE_WHOLE)
		curl_easy_setopt(e, CURLOPT_INFILESIZE_LARGE, (curl_off_t)c->source->size);
	if (add_header(c, c->small ? "Expect:" : "Expect: 100-continue") < 0 ||
	    add_header(c, "Content-Type: application/octet-stream") < 0 ||
	    (c->if_absent && add_header(c, "If-None-Match: *") < 0))
		return frem_oom(err);
	return 0;
}

static void set_up_get(struct http_call *c)
{
	char range[48];

	curl_easy_setopt(c->easy, CURLOPT_FOLLOWLOCATION, 1L);
	curl_easy_setopt(c->easy, CURLOPT_MAXREDIRS, 5L);
	curl_easy_setopt(c->easy, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
	if (c->len == 0) { /* only: is it there? */
		curl_easy_setopt(c->easy, CURLOPT_NOBODY, 1L);
		return;
	}
	if (c->offset == 0 && c->len == STORE_WHOLE)
		return;
	if (c->len == STORE_WHOLE)
		snprintf(range, sizeof(range), "%llu-", (unsigned long long)c->offset);
	else
		snprintf(range, sizeof(range), "%llu-%llu", (unsigned long long)c->offset,
			 (unsigned long long)(c->offset + c->len - 1));
	curl_easy_setopt(c->easy, CURLOPT_RANGE, range);
	c->range_sent = true;
}

static void set_up_common(struct http_call *c)
{
	CURL *e = c->easy;

	curl_easy_setopt(e, CURLOPT_PRIVATE, c);
	curl_easy_setopt(e, CURLOPT_ERRORBUFFER, c->curl_error);
	curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
	curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
	curl_easy_setopt(e, CURLOPT_TCP_NODELAY, 1L);
	curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(e, CURLOPT_BUFFERSIZE, RECEIVE_SIZE);
	curl_easy_setopt(e, CURLOPT_USERAGENT, "frem");
	curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(e, CURLOPT_WRITEDATA, c);
	curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(e, CURLOPT_HEADERDATA, c);
}

static void set_up_trust(struct http_call *c)
{
	const struct http_store *h = c->h;

	curl_easy_setopt(c->easy, CURLOPT_SHARE, h->share);
	if (h->ca)
		curl_easy_setopt(c->easy, CURLOPT_CAINFO, h->ca);
	if (h->ca_path)
		curl_easy_setopt(c->easy, CURLOPT_CAPATH, h->ca_path);
}

static int set_up(struct http_call *c, const char *path, struct frem_error *err)
{
	struct http_store *h = c->h;
	_cleanup_free_ char *url = NULL;
	int r = 0;

	if (asprintf(&url, "%s%s", h->base, path) < 0)
		return frem_oom(err);
	c->easy = h->n_spare ? h->spare[--h->n_spare] : curl_easy_init();
	if (!c->easy)
		return frem_oom(err);
	set_up_common(c);
	set_up_trust(c);
	if (curl_easy_setopt(c->easy, CURLOPT_URL, url) != CURLE_OK)
		return frem_oom(err);
	if (c->method == HTTP_PUT)
		r = set_up_put(c, err);
	else if (c->method == HTTP_DELETE)
		curl_easy_setopt(c->easy, CURLOPT_CUSTOMREQUEST, "DELETE");
	else
		set_up_get(c);
	if (r == 0 && c->headers)
		curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, c->headers);
	return r;
}

int http_call_start(struct http_call *c, struct http_store *h, struct http_conn *conn,
		    const char *path, struct frem_error *err)
{
	int r;

	c->h = h;
	c->conn = conn;
	c->want = c->total = STORE_WHOLE;
	r = set_up(c, path, err);
	if (r == 0 && curl_multi_add_handle(conn->multi, c->easy) != CURLM_OK)
		r = frem_fail(err, FREM_FAILED, EINVAL, "starting a transfer");
	if (r < 0) {
		http_call_done(c);
		return r;
	}
	c->moved = clock_ns();
	c->started = true;
	TAILQ_INSERT_TAIL(&conn->calls, c, link);
	return 0;
}

void http_call_done(struct http_call *c)
{
	struct http_store *h = c->h;

	if (c->started) {
		http_conn_remove(c->conn, c->easy);
		if (!c->finished)
			TAILQ_REMOVE(&c->conn->calls, c, link);
		c->started = false;
	}
	if (c->easy && h->n_spare < HTTP_SPARE_HANDLES) {
		curl_easy_reset(c->easy);
		h->spare[h->n_spare++] = c->easy;
	} else {
		curl_easy_cleanup(c->easy);
	}
	c->easy = NULL;
	curl_slist_free_all(c->headers);
	c->headers = NULL;
	free(c->small);
	c->small = NULL;
}

void http_call_finish(struct http_call *c, CURLcode code)
{
	http_answer_conclude(c, code);
	c->finished = true;
	TAILQ_REMOVE(&c->conn->calls, c, link);
	if (c->over)
		c->over(c);
}

/* ---- blocking ---- */

/* Waits for what there is to do, not much longer than until something can have stalled, and does
 * it. */
static int move(struct http_store *h, struct frem_error *err)
{
	unsigned stall = h->store.stall_ms;
	struct epoll_event events[8];
	uint64_t now = clock_ns(), until = now + (stall / 16 + 1) * NSEC_PER_MSEC;
	int n, r;

	if (h->conn.timer_ns && h->conn.timer_ns < until)
		until = h->conn.timer_ns;
	n = epoll_wait(h->epoll_fd, events, 8,
		       until <= now ? 0 : (int)((until - now) / NSEC_PER_MSEC) + 1);
	if (n < 0 && errno != EINTR)
		return frem_fail(err, FREM_FAILED, errno, "waiting for transfers");
	for (int i = 0; i < n; i++) {
		r = http_conn_event(&h->conn, &events[i], err);
		if (r < 0)
			return r;
	}
	now = clock_ns();
	r = http_conn_kick(&h->conn, now, err);
	http_conn_end_stalled(&h->conn, stall, now);
	return r;
}

int http_call_run(struct http_call *c, struct http_store *h, const char *path,
		  struct frem_error *err)
{
	int r;

	if (h->conn.in_curl)
		return frem_fail(err, FREM_FAILED, EDEADLK, "called from within a transfer");
	r = http_call_start(c, h, &h->conn, path, err);
	if (r < 0)
		return r;
	while (r == 0 && !c->finished) {
		if (h->store.interrupted && h->store.interrupted())
			r = frem_fail(err, FREM_FAILED, EINTR, "waiting for the store");
		else
			r = move(h, err);
	}
	http_call_done(c);
	if (r == 0 && c->r < 0) {
		r = c->r;
		if (err)
			*err = c->err;
	}
	return r;
}

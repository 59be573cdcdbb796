/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a server's answer means: is it the range that was asked for, or why not. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "http_call.h"

/* "bytes A-B/T" or "bytes" with "*" before "/T"; what is absent is STORE_WHOLE. */
struct content_range {
	uint64_t first, last, total;
};

static bool parse_number(const char **p, uint64_t *ret)
{
	char *end;

	if (!isdigit((unsigned char)**p))
		return false;
	errno = 0;
	*ret = strtoull(*p, &end, 10);
	*p = end;
	return errno == 0 && *ret != STORE_WHOLE;
}

static bool parse_content_range(const char *p, struct content_range *ret)
{
	*ret = (struct content_range){STORE_WHOLE, STORE_WHOLE, STORE_WHOLE};
	if (strncasecmp(p, "bytes ", 6) != 0)
		return false;
	p += 6;
	if (*p == '*') {
		p++;
	} else {
		if (!parse_number(&p, &ret->first) || *p++ != '-' ||
		    !parse_number(&p, &ret->last) || ret->last < ret->first)
			return false;
	}
	if (*p++ != '/')
		return false;
	if (*p == '*')
		p++;
	else if (!parse_number(&p, &ret->total))
		return false;
	return *p == '\0' && (ret->last == STORE_WHOLE || ret->last < ret->total);
}

static int fail_answer(struct http_call *c, const char *what)
{
	return c->r = store_fail(&c->err, FREM_STORE, EIO, "wrong answer of the server: %s", what);
}

static int check_size(struct http_call *c)
{
	if (c->want != STORE_WHOLE && c->want > c->most)
		return c->r = store_fail_big(&c->err, c->most);
	return 0;
}

int http_answer_whole(struct http_call *c)
{
	c->want = c->len;
	c->longer = c->total == STORE_WHOLE ? c->len != STORE_WHOLE : c->total > c->len;
	if (c->total != STORE_WHOLE && c->total < c->len) {
		if (c->exact && c->len != STORE_WHOLE)
			return c->r = store_fail_short(&c->err, c->total);
		c->want = c->total;
	}
	return check_size(c);
}

static int check_whole(struct http_call *c, int64_t content_length, bool framed)
{
	if (c->offset > 0)
		return fail_answer(c, "it ignored the range");
	if (content_length < 0 && !framed)
		return fail_answer(c, "a body of unknown length");
	c->total = content_length < 0 ? STORE_WHOLE : (uint64_t)content_length;
	return http_answer_whole(c);
}

/* A range without a byte is asked for by HEAD. */
static int check_empty(struct http_call *c, int64_t content_length)
{
	if (c->exact && content_length >= 0 && (uint64_t)content_length < c->offset)
		return c->r = store_fail_short(&c->err, (uint64_t)content_length);
	c->total = content_length < 0 ? STORE_WHOLE : (uint64_t)content_length;
	c->want = 0;
	return 0;
}

static int check_part(struct http_call *c, int64_t content_length)
{
	uint64_t asked = c->len == STORE_WHOLE ? STORE_WHOLE : c->offset + c->len - 1;
	struct content_range range;
	uint64_t last;

	if (!c->range_sent)
		return fail_answer(c, "a part where all was asked for");
	if (!parse_content_range(c->content_range, &range) || range.first == STORE_WHOLE)
		return fail_answer(c, "no usable Content-Range");
	last = range.total != STORE_WHOLE && range.total - 1 < asked ? range.total - 1 : asked;
	if (range.first != c->offset || range.last != last)
		return fail_answer(c, "another range than the one asked for");
	c->total = range.total;
	c->want = last - c->offset + 1;
	if (content_length >= 0 && (uint64_t)content_length != c->want)
		return fail_answer(c, "its length is not that of its range");
	if (c->exact && c->len != STORE_WHOLE && c->want < c->len)
		return c->r = store_fail_short(&c->err, range.total);
	return check_size(c);
}

/* 416: the object ends at or before the offset. */
static int check_beyond(struct http_call *c)
{
	struct content_range range;

	if (!c->range_sent || !parse_content_range(c->content_range, &range) ||
	    range.total == STORE_WHOLE || range.total > c->offset)
		return fail_answer(c, "it refused a range that it must have");
	if (c->exact && !(c->len == STORE_WHOLE && range.total == c->offset))
		return c->r = store_fail_short(&c->err, range.total);
	c->total = range.total;
	c->want = 0;
	return 0;
}

int http_answer_check(struct http_call *c, int64_t content_length, bool framed)
{
	int r = 0;

	switch (c->method) {
	case HTTP_GET:
		if (c->status == 200 && c->len == 0)
			r = check_empty(c, content_length);
		else if (c->status == 200)
			r = check_whole(c, content_length, framed);
		else if (c->status == 206)
			r = check_part(c, content_length);
		else if (c->status == 416)
			r = check_beyond(c);
		else
			c->refused = true;
		break;
	case HTTP_PUT:
		c->refused = c->status != 200 && c->status != 201 && c->status != 204;
		break;
	case HTTP_DELETE:
		c->refused = c->status != 200 && c->status != 204;
		break;
	}
	c->answered = r == 0 && !c->refused;
	return r;
}

/* The first line of what a refusing server says, fit to be shown. */
static void tidy_said(struct http_call *c)
{
	size_t n = 0;

	while (n < c->said_len && (unsigned char)c->said[n] >= 0x20 && c->said[n] != 0x7f)
		n++;
	while (n && c->said[n - 1] == ' ')
		n--;
	c->said[n] = '\0';
}

static void conclude_refused(struct http_call *c)
{
	static const struct {
		long status;
		int errnum;
	} known[] = {{401, EACCES}, {403, EACCES}, {407, EACCES}, {408, EAGAIN}, {412, EEXIST},
		     {413, EFBIG},  {425, EAGAIN}, {429, EAGAIN}, {503, EAGAIN}, {507, ENOSPC}};
	/* what the server could not do now, and what it does not do at all */
	int errnum = c->status >= 400 && c->status < 500 ? EINVAL : EIO;

	if (c->status == 404) {
		c->r = store_fail_missing(&c->err);
		return;
	}
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i].status == c->status)
			errnum = known[i].errnum;
	tidy_said(c);
	if (c->status == 412 && c->if_absent)
		c->r = store_fail(&c->err, FREM_STORE, EEXIST, "there is such an object already");
	else
		c->r = store_fail(&c->err, FREM_STORE, errnum, "the server answered %ld%s%s%s",
				  c->status, c->said[0] ? " '" : "", c->said,
				  c->said[0] ? "'" : "");
}

/* The transfer itself failed. */
static void conclude_broken(struct http_call *c, CURLcode code)
{
	const char *why = c->curl_error[0] ? c->curl_error : curl_easy_strerror(code);
	long os_error = 0;

	curl_easy_getinfo(c->easy, CURLINFO_OS_ERRNO, &os_error);
	switch (code) {
	case CURLE_COULDNT_CONNECT:
		c->r = frem_fail(&c->err, FREM_STORE, os_error ? (int)os_error : ECONNREFUSED,
				 "could not connect");
		break;
	case CURLE_OPERATION_TIMEDOUT:
		c->r = store_fail(&c->err, FREM_STORE, ETIMEDOUT, "could not connect: timed out");
		break;
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
		c->r = store_fail(&c->err, FREM_STORE, EHOSTUNREACH,
				  "could not find the host's address");
		break;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_ISSUER_ERROR:
		c->r = store_fail(&c->err, FREM_STORE, EKEYREJECTED,
				  "the server's certificate is not trusted: %s", why);
		frem_hint(&c->err, 0,
			  "name the file with the certificate of its authority in CURL_CA_BUNDLE");
		break;
	case CURLE_PARTIAL_FILE:
	case CURLE_GOT_NOTHING:
	case CURLE_RECV_ERROR:
	case CURLE_SEND_ERROR:
	case CURLE_HTTP2:
	case CURLE_HTTP2_STREAM:
		c->r = store_fail(&c->err, FREM_STORE, os_error ? (int)os_error : EIO,
				  "the connection broke: %s", why);
		break;
	default:
		c->r = store_fail(&c->err, FREM_STORE, EIO, "%s", why);
	}
}

void http_answer_conclude(struct http_call *c, CURLcode code)
{
	if (c->r || c->cut)
		return;
	if (c->refused)
		conclude_refused(c);
	else if (code != CURLE_OK)
		conclude_broken(c, code);
	else if (!c->answered)
		fail_answer(c, "a status without meaning here");
	else if (c->method == HTTP_PUT && !c->uploaded)
		fail_answer(c, "success before all was sent");
	else if (c->method == HTTP_GET && c->want != STORE_WHOLE && c->got < c->want) {
		/* a chunked body names its length only by its end */
		if (c->status == 206)
			fail_answer(c, "a body shorter than its range");
		else if (c->exact)
			c->r = store_fail_short(&c->err, c->offset + c->got);
	}
}

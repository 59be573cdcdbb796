/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One HTTP request of a store, made on one of its http_conn, so that connections outlive requests.
 * A call checks the answer before a byte of it is passed on: status, range, length. Everything a
 * server may do wrong ends as an error in call->err.
 */
#ifndef FREM_STORE_HTTP_CALL_H
#define FREM_STORE_HTTP_CALL_H

#include "http_conn.h"
#include "store_impl.h"

#define HTTP_SPARE_HANDLES 32

struct http_store {
	struct store store;
	int epoll_fd;	       /* of the blocking calls */
	struct http_conn conn; /* likewise */
	char *base;	       /* without a final '/' */
	bool tls;
	CURLSH *share;	    /* names, TLS sessions */
	char *ca, *ca_path; /* certificates to trust, NULL: the system's */
	double rtt_ms;	    /* smallest connect time seen, 0 before the first */
	CURL *spare[HTTP_SPARE_HANDLES];
	unsigned n_spare;
};

enum http_method { HTTP_GET, HTTP_PUT, HTTP_DELETE };

struct http_call {
	/* set by the caller */
	enum http_method method;
	uint64_t offset, len; /* GET: the range; STORE_WHOLE for all behind offset */
	bool exact;	      /* GET: an object that ends before the range does is an error */
	uint64_t most;	      /* GET: refuse larger answers */
	bool if_absent;	      /* PUT */
	const struct store_source *source; /* PUT */
	/* Takes bytes of the body; nonzero ends the call with that value. */
	int (*data)(struct http_call *c, const void *data, size_t n);
	/* NULL, or told that the answer's head was accepted: status, total and want are known. A
	 * nonzero return, with err, ends the call with that value. */
	int (*accepted)(struct http_call *c);
	/* NULL, or told that the call is over; handles must not be touched there. */
	void (*over)(struct http_call *c);
	void *arg;

	/* the outcome */
	bool finished;
	int r; /* 0, or what data() said, or -errno with err */
	struct frem_error err;

	/* how far it is */
	TAILQ_ENTRY(http_call) link;
	struct http_store *h;
	struct http_conn *conn;
	CURL *easy;
	struct curl_slist *headers;
	bool started;
	bool range_sent;
	bool answered; /* the final headers are in and were accepted */
	bool refused;  /* the status says no; said collects why */
	bool longer;   /* the body goes on behind what is wanted */
	bool cut;      /* ended by us on purpose: all that was wanted is here */
	bool uploaded; /* the source is at its end */
	long status;
	bool chunked;
	char content_range[96];
	uint64_t total; /* size of the object; STORE_WHOLE where it is not known */
	uint64_t want;	/* bytes to pass on; STORE_WHOLE where it is not known */
	uint64_t got;
	uint64_t moved; /* clock_ns() of the last sign of life */
	char said[160]; /* the beginning of a refusal's body */
	size_t said_len;
	uint64_t ignored;
	char curl_error[CURL_ERROR_SIZE];
	uint8_t *small; /* PUT: a body short enough to be sent again on a fresh connection */
	size_t small_len, small_pos;
};

/* Starts it: path is what follows the base, already encoded. Not from within curl. */
int http_call_start(struct http_call *c, struct http_store *h, struct http_conn *conn,
		    const char *path, struct frem_error *err);
/* The transfer has ended so: for http_conn alone. */
void http_call_finish(struct http_call *c, CURLcode code);
/* Ends it at whatever point and frees what it holds, not c itself. */
void http_call_done(struct http_call *c);
/* Starts it, runs it to its end and ends it: 0 or c->r with err. */
int http_call_run(struct http_call *c, struct http_store *h, const char *path,
		  struct frem_error *err);
/* Milliseconds from the request, or on a new connection from its handshake, to the first byte of
 * the answer; 0 where there is none. */
double http_call_delay_ms(const struct http_call *c);

/* '/' and the key, percent-encoded; with `query` true, all but unreserved characters are. NULL
 * without memory. */
char *http_encode(const char *before, const char *text, bool query);

/* Sets c->want for an answer with the whole object, of which c->len bytes are wanted. */
int http_answer_whole(struct http_call *c);
/* Reads the answer's head: may its body be passed on? Defined in http_answer.c. */
int http_answer_check(struct http_call *c, int64_t content_length, bool framed);
/* Sets c->r and c->err from how the transfer ended. Defined in http_answer.c. */
void http_answer_conclude(struct http_call *c, CURLcode code);

int http_fetcher_new(struct store *s, struct fetcher **ret, struct frem_error *err);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One place for transfers with a connection cache of its own (a curl multi handle), moved by the
 * events of its owner's epoll. To have one for each connection is what lets the owner say which
 * connection a request goes to.
 */
#ifndef FREM_STORE_HTTP_CONN_H
#define FREM_STORE_HTTP_CONN_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/queue.h>

#include "base/error.h"

struct http_call;
TAILQ_HEAD(http_calls, http_call);

struct http_conn {
	CURLM *multi;
	int epoll_fd; /* the owner's */
	uint32_t id;  /* in the owner's events */
	bool tls;
	bool in_curl;		 /* curl is at work: handles must be neither added nor removed */
	uint64_t timer_ns;	 /* when curl wants to be called whatever happens; 0: it does not */
	struct http_calls calls; /* under way */
};

/* At most `connections` are kept. Must not move in memory. */
int http_conn_init(struct http_conn *n, int epoll_fd, uint32_t id, bool tls, long connections,
		   struct frem_error *err);
/* All calls are over. */
void http_conn_done(struct http_conn *n);
/* Of which connection an event is. */
uint32_t http_conn_of(const struct epoll_event *e);
int http_conn_event(struct http_conn *n, const struct epoll_event *e, struct frem_error *err);
/* Moves what is due at `now` without an event: new calls among others. */
int http_conn_kick(struct http_conn *n, uint64_t now, struct frem_error *err);
/* Ends calls for which nothing has moved for so long. */
void http_conn_end_stalled(struct http_conn *n, unsigned stall_ms, uint64_t now);
/* Removes a handle. */
void http_conn_remove(struct http_conn *n, CURL *easy);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The connections of one fetcher to one server, and which of them a request goes to.
 *
 * A request has its connection for itself until it is answered. How much of the answer
 * comes in one flight is up to the server's congestion window, which grows with use and is lost
 * when a connection rests (RFC 5681 4.1; Linux: tcp_slow_start_after_idle), or to its pacing, which
 * gives each connection its share of the link. So bulk takes the connections by turns, which keeps
 * all of them warm, and leaves some free at any moment for what is urgent; and what is urgent is
 * spread over all that are free.
 *
 * A connection that speaks HTTP/2 is used in the same way. To have two carry everything instead was
 * measured at 200 ms and 7 MB/s, with nginx: bulk 5.6 MB/s instead of 6.2, and what is urgent
 * waited 1.4 to 1.8 round trips (p99 3.6 to 6.0) instead of 1.3 (1.8 to 2.7).
 */
#ifndef FREM_STORE_HTTP_SLOTS_H
#define FREM_STORE_HTTP_SLOTS_H

#include "http_conn.h"

/*
 * Connections at most. A new one brings ten segments in its first round trip, and twice as many in
 * each that follows: so many at once that a link of 1 to 2 MB in flight is full in the third.
 */
#define SLOTS_MOST 64u
/* What is used of them once the link's rate is known: fewer are kept warm more easily. */
#define SLOTS_FEW 32u
/* As many at first: where a handshake is over in NEAR_MS, a few carry as much, and cost less. */
#define SLOTS_FIRST 16u
#define NEAR_MS 2.0
/* Bulk requests at once, while the link's rate is being found: all grow their windows at the same
 * time. The others are for what is urgent. */
#define SLOTS_URGENT 8u
#define SLOTS_BULK_START (SLOTS_MOST - SLOTS_URGENT)
#define SLOTS_BULK_NEAR 2u
/* What a new or rested connection brings at once: ten segments (RFC 6928), with the answer's head.
 */
#define SLOT_COLD_BYTES UINT64_C(12000)

struct http_slot {
	struct http_conn conn;
	unsigned active;  /* requests under way */
	uint64_t used_ns; /* when the last one ended; 0: never */
	bool works;	  /* an answer came over it */
	uint64_t rest_ns; /* the server refused it: not used before that */
};

struct http_slots {
	int epoll_fd;
	bool tls;
	struct http_slot *slot[SLOTS_MOST];
	unsigned n;
	unsigned most;	   /* that are used now, if so many are there */
	uint64_t first_ns; /* when the first one was opened */
	bool any_works;
	uint64_t rest_ns; /* none is opened before that */
};

int http_slots_init(struct http_slots *s, bool tls, struct frem_error *err);
/* Nothing is under way. */
void http_slots_done(struct http_slots *s);
/* To be called before connections are asked for: how many there may be. rtt_ms 0: not known yet.
 * bulk_most: of http_slots_bulk_most(). */
void http_slots_look(struct http_slots *s, double rtt_ms, unsigned bulk_most, uint64_t now);
/* The request on it was answered, or not; the slot is free again. */
void http_slots_ended(struct http_slots *s, struct http_slot *slot, bool answered, uint64_t now);
/*
 * A request failed without an answer, and is over. True where nothing ever came over its connection
 * but others work, or may still: the server wants fewer, so this one rests for a while, no others
 * are opened, and the request is to be made again.
 */
bool http_slots_refused(struct http_slots *s, struct http_slot *slot, uint64_t now);
/* When http_slots_look() should be called again; 0: there is no need. */
uint64_t http_slots_more_at(const struct http_slots *s);
/* At most so many bulk requests at once; full: the link's rate is known, for so many rounds. */
unsigned http_slots_bulk_most(double rtt_ms, bool full, unsigned full_rounds);
/* The connection for the next bulk request, where of `most` `busy` are under way. *ret is NULL, and
 * the result 0, where there is none. */
int http_slots_for_bulk(struct http_slots *s, unsigned busy, unsigned most, struct http_slot **ret,
			struct frem_error *err);
/* The same for what is urgent; *ret_bytes of the `len` that are wanted should be asked for on it.
 * warm: bulk keeps the connections so. */
int http_slots_for_urgent(struct http_slots *s, uint64_t len, bool warm, double rtt_ms,
			  struct http_slot **ret, uint64_t *ret_bytes, struct frem_error *err);

#endif

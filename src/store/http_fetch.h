/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fetches over HTTP. A fetch is asked for in parts, each a request of its own: as many at once as
 * the lane's budget allows, on as many connections. What arrives before its turn is held until
 * then, so the receiver sees one stream of bytes in order.
 */
#ifndef FREM_STORE_HTTP_FETCH_H
#define FREM_STORE_HTTP_FETCH_H

#include "http_call.h"
#include "http_slots.h"
#include "pace.h"

enum { LANE_URGENT, LANE_BULK, N_LANES };

enum fetch_state {
	FETCH_ASKING,	 /* parts of it are still to be asked for */
	FETCH_ASKED,	 /* all were */
	FETCH_OVER,	 /* done is to be called */
	FETCH_CANCELLED, /* to be freed */
};

struct part {
	struct http_call call; /* first: one is the other */
	TAILQ_ENTRY(part) link;
	struct fetch *fetch; /* NULL: abandoned */
	struct http_slot *slot;
	bool waits; /* its connection was refused or overtaken: it is to be asked for again */
	uint64_t offset, len;
	uint64_t owed;	    /* of len, what is under way still */
	uint64_t given;	    /* to the receiver */
	unsigned overtaken; /* so often its place was another part's that stood still */
	struct buffer held; /* not yet given, where the receiver brought no room */
};

TAILQ_HEAD(parts, part);

struct fetch {
	TAILQ_ENTRY(fetch) link;
	struct http_fetcher *fetcher;
	struct fetch_request req;
	char *key, *path;
	enum fetch_state state;
	struct parts parts; /* by offset: the first one's turn it is */
	uint64_t asked;	    /* parts were asked for up to here */
	uint64_t given;	    /* all before was given to the receiver */
	uint64_t limit;	    /* up to where parts may be asked for */
	uint64_t end;	    /* STORE_WHOLE: the object's, which is not known yet */
	uint64_t total;	    /* size of the object as far as known, else STORE_WHOLE */
	int r;
	struct frem_error err;
};

TAILQ_HEAD(fetches, fetch);

struct http_lane {
	uint64_t in_flight; /* bytes asked for and not here */
	unsigned busy;	    /* parts under way */
	struct fetches asking;
	struct fetcher_lane_stats stats;
};

struct http_fetcher {
	struct fetcher fetcher;
	struct http_store *h;
	struct http_slots slots;
	struct pace pace;
	struct http_lane lane[N_LANES];
	struct fetches asked, over, cancelled;
	bool ended;		/* calls are over that were not looked at */
	struct parts abandoned; /* to be freed outside of curl */
	bool fresh;		/* a fetch was started since the last step */
	bool stepping;		/* within step(): nothing is freed */
	bool called;		/* a callback was called in this step */
	uint64_t last_step, last_stall_check;
	uint64_t came_ns; /* when a part came whole, the last time; 0: never */
};

/* ---- http_fetch.c: one fetch ---- */

struct http_lane *fetch_lane(const struct fetch *t);
/* Bytes that may be asked for and were not; STORE_WHOLE: nobody knows how many. */
uint64_t fetch_unasked(const struct fetch *t);
/* Asks for the next len bytes of it. */
int fetch_ask(struct fetch *t, struct http_slot *slot, uint64_t len, struct frem_error *err);
/* Asks for parts again whose connections were refused or overtaken. */
int fetch_ask_again(struct fetch *t, struct frem_error *err);
/*
 * Parts that have stood still for late_ns (twice as long for each time before), while others came
 * whole, are to be asked for once more, on other connections: TCP needs seconds for one that has
 * lost the same packet several times, and the receiver, who wants bytes in order, waits for it.
 * A full queue on the link drops packets of many connections at once.
 */
int fetch_overtake(struct fetch *t, uint64_t late_ns, struct frem_error *err);
/* Looks at parts that have ended. */
void fetches_settle(struct http_fetcher *f);
/* Takes it out of its list; its parts are abandoned. The caller puts it into another list. */
void fetch_unlink(struct fetch *t);
void fetch_free(struct fetch *t);
/* Frees what was abandoned or cancelled. */
void fetches_reap(struct http_fetcher *f);

/* ---- http_ask.c: what is asked for next ---- */

/* Bytes of one request, now. */
uint64_t fetch_part_size(const struct http_fetcher *f);
/* For how long a part may stand still; 0: not known yet. */
uint64_t fetch_late_ns(const struct http_fetcher *f);
/* Starts what the lanes' budgets allow. */
int fetches_pump(struct http_fetcher *f, struct frem_error *err);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Several stores as one, or one store whose trouble is waited out. A replica that fails is put
 * aside for a while, longer each time; meanwhile another one is asked.
 */
#ifndef FREM_STORE_REPLICAS_H
#define FREM_STORE_REPLICAS_H

#include "store_impl.h"

#define REPLICAS_MOST 32u /* bits of a mask */

struct replica {
	struct store *store;
	unsigned strikes;     /* failures since it was last of use */
	uint64_t aside_until; /* clock_ns() */
	unsigned wrong;	      /* answers that proved wrong */
	uint64_t doubted_until;
};

struct replicas {
	struct store store;
	struct replica *of;
	unsigned n;
	bool answered;	     /* one of them has been of use */
	uint64_t trouble_ns; /* since when none has been; 0: one was of use last */
	uint64_t failed_ns;  /* the last failure */
	uint64_t random;
};

enum replica_verdict {
	REPLICA_PASSING, /* another try may help */
	REPLICA_CANNOT,	 /* not this one, but perhaps another */
	REPLICA_FINAL,	 /* it is not the replica's failure */
};

/* What a failure means. */
enum replica_verdict replica_judge(const struct frem_error *err);
void replica_good(struct replicas *s, unsigned i);
void replica_strike(struct replicas *s, unsigned i);
/* It gave what it should not have: others are preferred for a while, whatever else it does. */
void replica_doubt(struct replicas *s, unsigned i);
/* Which one to ask, none of those in the mask `out`: the first that is not set aside, best one that
 * is not doubted, or else the one that is set aside for the shortest time, or -1. */
int replica_pick(const struct replicas *s, uint32_t out, uint64_t now);
/* How long trouble may last, now. */
uint64_t replicas_patience_ns(const struct replicas *s);
/* When it has lasted too long for something that waits since start_ns. What gives up does so for
 * those that come after it, too: they try once. */
uint64_t replicas_deadline(const struct replicas *s, uint64_t start_ns);
bool replicas_given_up(const struct replicas *s, uint64_t start_ns, uint64_t now);
/* Whether the failure a says more than b. */
bool replica_says_more(const struct frem_error *a, const struct frem_error *b);

/* Takes over n stores, also on failure. */
int replicas_new(struct store **of, unsigned n, struct store **ret, struct frem_error *err);
int replica_fetcher_new(struct store *s, struct fetcher **ret, struct frem_error *err);
/* Passes on what was set for the whole. */
void replicas_settings(struct replicas *s);

#endif

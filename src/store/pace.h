/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How much bulk data may be asked for ahead so that a link is full and no long queue stands on it.
 *
 * What arrives in a round (one round-trip time) gives the rate; the quickest answer ever gives the
 * delay, and the quickest of a round, against it, the queue. Their product, the bandwidth-delay
 * product, is what a link holds. More than that is asked for, since connections whose windows are
 * still small hold back what was asked of them: so much more that the queue stays between two
 * marks (as in TCP Vegas, Brakmo and Peterson 1994). At first, while the rate is unknown, a guess
 * grows with what arrives, until the rate no longer grows or a queue shows (as in BBR and HyStart).
 *
 * Pure: the caller gives the time.
 */
#ifndef FREM_STORE_PACE_H
#define FREM_STORE_PACE_H

#include <stdbool.h>
#include <stdint.h>

#define PACE_ROUNDS 8

struct pace {
	double rounds[PACE_ROUNDS]; /* bytes a second of the last ones */
	unsigned at;
	uint64_t round_start, round_bytes; /* round_start 0: nothing flows */
	double round_delay;		   /* the least in it; 0: none was measured */
	bool round_short;		   /* less was asked for than was allowed */
	bool full;			   /* the link's rate is found */
	unsigned full_rounds;		   /* since then */
	uint64_t total;			   /* bytes until then */
	double best;			   /* the rate that has to be outgrown until then */
	unsigned flat;			   /* rounds in which it was not */
	double gain;			   /* asked for, over the bandwidth-delay product */
	bool lowered;			   /* in the last round */
	double base_ms;			   /* the delay; 0: not known */
	uint64_t base_ns;		   /* when base_ms was measured */
	double probe_ms;		   /* the smallest delay within a probe */
	uint64_t probe_end;		   /* 0: no probe */
};

/* From a request to the first byte of its answer, or for a connect, it took so long. */
void pace_delay(struct pace *p, double ms, uint64_t now);
/* n bytes arrived. */
void pace_bytes(struct pace *p, uint64_t n, uint64_t now);
/* There is less to ask for than might be: the round says little about the link. */
void pace_short(struct pace *p);
/* Nothing is under way any more. */
void pace_idle(struct pace *p);

/* Bytes a second; 0: not known yet. */
double pace_rate(const struct pace *p);
/* Bytes that may be asked for and not yet here. */
uint64_t pace_budget(const struct pace *p);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "pace.h"

#include "base/clock.h"

#define BUDGET_LEAST (UINT64_C(64) << 10)
#define BUDGET_MOST (UINT64_C(256) << 20)
/* The first guess: connections that have just begun bring little at once, but go on. */
#define FIRST_RATE 60e6
#define FIRST_MOST 3e6
#define UNKNOWN_MS 200.0
/* However short the delay: a server reads its disk meanwhile, and we decode. */
#define FLOOR_MS 50.0
#define FLOOR_MOST ((double)(512 << 10))
#define SLACK_MS 2.0
#define ROUND_LEAST_MS 10.0
#define GROWTH 1.25 /* of the rate in a round; less is none */
#define FLAT_ROUNDS 3
#define GAIN_LEAST 1.0
#define GAIN_FIRST 2.0
#define GAIN_START 2.5 /* more ends in losses, which cost more than they bring */
#define GAIN_MOST 4.0
#define GAIN_UP 0.25
#define GAIN_PROBE 0.75
/* The marks of the queue, in delays. */
#define QUEUE_LOW 0.05
#define QUEUE_AIM 0.1
#define QUEUE_HIGH 0.15
#define QUEUE_START 0.5
/* The delay is measured again with the queue drained every so often. */
#define BASE_LASTS_NS (10 * NSEC_PER_SEC)

static double round_ms(const struct pace *p)
{
	return p->base_ms < ROUND_LEAST_MS ? ROUND_LEAST_MS : p->base_ms;
}

static bool queue_above(const struct pace *p, double mark)
{
	return p->round_delay > p->base_ms * (1 + mark) + SLACK_MS;
}

static void follow_base(struct pace *p, uint64_t now)
{
	if (p->probe_end && now >= p->probe_end) {
		if (p->probe_ms > 0)
			p->base_ms = p->probe_ms;
		p->base_ns = now;
		p->probe_end = 0;
	} else if (!p->probe_end && p->full && now - p->base_ns > BASE_LASTS_NS) {
		p->probe_ms = 0;
		p->probe_end = now + (uint64_t)(2 * round_ms(p) * (double)NSEC_PER_MSEC);
	}
}

void pace_delay(struct pace *p, double ms, uint64_t now)
{
	if (p->round_delay <= 0 || ms < p->round_delay)
		p->round_delay = ms;
	if (p->probe_end && (p->probe_ms <= 0 || ms < p->probe_ms))
		p->probe_ms = ms;
	if (p->base_ms <= 0 || ms <= p->base_ms) {
		p->base_ms = ms;
		p->base_ns = now;
	}
}

static void look_for_plateau(struct pace *p)
{
	double rate = pace_rate(p);

	if (rate >= p->best * GROWTH) {
		p->best = rate;
		p->flat = 0;
	} else {
		p->flat++;
	}
	p->full = p->flat >= FLAT_ROUNDS || queue_above(p, QUEUE_START);
	p->gain = GAIN_FIRST;
}

static void follow_queue(struct pace *p)
{
	bool wait = p->lowered; /* what was done shows a round later */

	p->lowered = false;
	if (p->probe_end || p->round_delay <= 0)
		return;
	if (!queue_above(p, QUEUE_LOW) && p->gain < GAIN_MOST) {
		p->gain += GAIN_UP;
	} else if (!wait && queue_above(p, QUEUE_HIGH) && p->gain > GAIN_LEAST) {
		/* halfway to where the queue would be right, were all that is asked for in it */
		p->gain *= (1 + (1 + QUEUE_AIM) * (p->base_ms + SLACK_MS) / p->round_delay) / 2;
		p->lowered = true;
	}
}

static void open_round(struct pace *p, uint64_t now)
{
	p->round_start = now;
	p->round_bytes = 0;
	p->round_delay = 0;
	p->round_short = false;
}

static void close_round(struct pace *p, uint64_t now)
{
	double rate =
		(double)p->round_bytes * (double)NSEC_PER_SEC / (double)(now - p->round_start);

	if (!p->round_short || rate > pace_rate(p)) {
		p->rounds[p->at] = rate;
		p->at = (p->at + 1) % PACE_ROUNDS;
	}
	p->full_rounds += p->full;
	if (!p->round_short && p->full)
		follow_queue(p);
	else if (!p->round_short)
		look_for_plateau(p);
	follow_base(p, now);
	open_round(p, now);
}

void pace_bytes(struct pace *p, uint64_t n, uint64_t now)
{
	if (!p->full)
		p->total += n;
	if (!p->round_start) {
		/* when these bytes set out is not known: they open the round */
		open_round(p, now);
		return;
	}
	p->round_bytes += n;
	if ((double)(now - p->round_start) >= round_ms(p) * (double)NSEC_PER_MSEC)
		close_round(p, now);
}

void pace_short(struct pace *p)
{
	p->round_short = true;
}

void pace_idle(struct pace *p)
{
	p->round_start = 0;
}

/* The second best of the last rounds: one is an accident, what stood in a queue and came at once.
 */
double pace_rate(const struct pace *p)
{
	double most = 0, second = 0;

	for (unsigned i = 0; i < PACE_ROUNDS; i++) {
		if (p->rounds[i] > most) {
			second = most;
			most = p->rounds[i];
		} else if (p->rounds[i] > second) {
			second = p->rounds[i];
		}
	}
	return second;
}

/* Grows with what arrives, but not without end beyond what the link has shown. */
static double start_budget(const struct pace *p, double product)
{
	double first = FIRST_RATE * (p->base_ms > 0 ? p->base_ms : UNKNOWN_MS) / 1000, want;

	if (first > FIRST_MOST)
		first = FIRST_MOST;
	if (first < FLOOR_MOST)
		first = FLOOR_MOST;
	want = first + (double)p->total;
	if (want > GAIN_START * product)
		want = GAIN_START * product;
	return want < first ? first : want;
}

uint64_t pace_budget(const struct pace *p)
{
	double rate = pace_rate(p), product = rate * (p->base_ms + SLACK_MS) / 1000, want, least;

	if (!p->full) {
		want = start_budget(p, product);
	} else {
		want = (p->probe_end ? GAIN_PROBE : p->gain) * product;
		least = rate * FLOOR_MS / 1000;
		if (least > FLOOR_MOST)
			least = FLOOR_MOST;
		if (want < least)
			want = least;
	}
	if (want > (double)BUDGET_MOST)
		return BUDGET_MOST;
	return want < (double)BUDGET_LEAST ? BUDGET_LEAST : (uint64_t)want;
}

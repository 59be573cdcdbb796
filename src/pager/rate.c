/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "rate.h"

#include "base/clock.h"

#define FADE_NS (500 * (double)NSEC_PER_MSEC)
#define KNOWN_NS (20 * (double)NSEC_PER_MSEC) /* less than this is a burst, no rate */

void rate_add(struct rate *r, uint64_t n, uint64_t now)
{
	if (r->last_ns && now > r->last_ns) {
		double gap = (double)(now - r->last_ns);

		r->recent_bytes += (double)n;
		r->recent_ns += gap;
		r->bytes += (double)n;
		r->ns += gap;
	}
	r->last_ns = now;
	if (r->recent_ns > FADE_NS) {
		r->recent_bytes /= 2;
		r->recent_ns /= 2;
	}
}

void rate_pause(struct rate *r)
{
	r->last_ns = 0;
}

double rate_now(const struct rate *r)
{
	return r->recent_ns < KNOWN_NS ? 0 : r->recent_bytes / r->recent_ns * (double)NSEC_PER_SEC;
}

double rate_mean(const struct rate *r)
{
	return r->ns <= 0 ? 0 : r->bytes / r->ns * (double)NSEC_PER_SEC;
}

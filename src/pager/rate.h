/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How fast bulk data comes in, while it comes. Pure: the caller gives the time. */
#ifndef FREM_PAGER_RATE_H
#define FREM_PAGER_RATE_H

#include <stdint.h>

struct rate {
	uint64_t last_ns;
	double recent_bytes, recent_ns; /* halved again and again, so that the past fades */
	double bytes, ns;
};

/* n bytes arrived at `now`. */
void rate_add(struct rate *r, uint64_t n, uint64_t now);
/* The next bytes follow a pause that says nothing about the link. */
void rate_pause(struct rate *r);
/* Bytes a second of late; 0: not known yet. */
double rate_now(const struct rate *r);
/* Bytes a second over all the time in which data came. */
double rate_mean(const struct rate *r);

#endif

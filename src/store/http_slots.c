/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "http_slots.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"

#define BULK_MOST 20u
#define BULK_FEWER 4u /* in each round from the start to there */
/* Until a server that refused connections is asked for more than it has. */
#define REST_NS (5 * NSEC_PER_SEC)
#define REDIRECTED 2L /* connections kept for one: a server may send us on to another */

int http_slots_init(struct http_slots *s, bool tls, struct frem_error *err)
{
	*s = (struct http_slots){.tls = tls, .most = SLOTS_FIRST};
	s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	return s->epoll_fd < 0 ? frem_fail(err, FREM_FAILED, errno, "preparing transfers") : 0;
}

void http_slots_done(struct http_slots *s)
{
	for (unsigned i = 0; i < s->n; i++) {
		http_conn_done(&s->slot[i]->conn);
		free(s->slot[i]);
	}
	s->n = 0;
	if (s->epoll_fd >= 0)
		close(s->epoll_fd);
	s->epoll_fd = -1;
}

void http_slots_look(struct http_slots *s, double rtt_ms, unsigned bulk_most, uint64_t now)
{
	if (rtt_ms > 0)
		s->most = bulk_most <= BULK_MOST ? SLOTS_FEW : SLOTS_MOST;
	else if (s->n >= SLOTS_FIRST && now - s->first_ns >= (uint64_t)(NEAR_MS * NSEC_PER_MSEC))
		s->most = SLOTS_MOST;
	if (now < s->rest_ns)
		s->most = s->n;
}

void http_slots_ended(struct http_slots *s, struct http_slot *slot, bool answered, uint64_t now)
{
	slot->used_ns = now;
	slot->works |= answered;
	s->any_works |= answered;
}

bool http_slots_refused(struct http_slots *s, struct http_slot *slot, uint64_t now)
{
	bool others = s->any_works;

	for (unsigned i = 0; i < s->n; i++)
		others |= s->slot[i]->active > 0;
	if (!slot->works && others) {
		slot->rest_ns = s->rest_ns = now + REST_NS;
		return true;
	}
	if (s->any_works)
		return false;
	/* none works: what waits for one that does is to fail, too */
	for (unsigned i = 0; i < s->n; i++)
		s->slot[i]->rest_ns = 0;
	s->rest_ns = 0;
	return false;
}

uint64_t http_slots_more_at(const struct http_slots *s)
{
	if (s->most > SLOTS_FIRST || s->n < SLOTS_FIRST)
		return 0;
	return s->first_ns + (uint64_t)(NEAR_MS * NSEC_PER_MSEC);
}

static int open_slot(struct http_slots *s, struct http_slot **ret, struct frem_error *err)
{
	struct http_slot *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return frem_oom(err);
	r = http_conn_init(&t->conn, s->epoll_fd, s->n, s->tls, REDIRECTED, err);
	if (r < 0) {
		free(t);
		return r;
	}
	if (s->n == 0)
		s->first_ns = clock_ns();
	s->slot[s->n++] = t;
	*ret = t;
	return 0;
}

unsigned http_slots_bulk_most(double rtt_ms, bool full, unsigned full_rounds)
{
	unsigned fewer = full ? BULK_FEWER * full_rounds : 0;

	if (rtt_ms > 0 && rtt_ms < NEAR_MS)
		return SLOTS_BULK_NEAR;
	return fewer < SLOTS_BULK_START - BULK_MOST ? SLOTS_BULK_START - fewer : BULK_MOST;
}

static unsigned in_use(const struct http_slots *s)
{
	return s->n < s->most ? s->n : s->most;
}

static struct http_slot *longest_unused(const struct http_slots *s)
{
	struct http_slot *best = NULL;
	uint64_t now = clock_ns();

	for (unsigned i = 0; i < in_use(s); i++) {
		struct http_slot *t = s->slot[i];

		if (t->active == 0 && t->rest_ns <= now && (!best || t->used_ns < best->used_ns))
			best = t;
	}
	return best;
}

int http_slots_for_bulk(struct http_slots *s, unsigned busy, unsigned most, struct http_slot **ret,
			struct frem_error *err)
{
	*ret = NULL;
	if (busy >= most)
		return 0;
	*ret = longest_unused(s);
	if (*ret || s->n >= s->most)
		return 0;
	return open_slot(s, ret, err);
}

int http_slots_for_urgent(struct http_slots *s, uint64_t len, bool warm, double rtt_ms,
			  struct http_slot **ret, uint64_t *ret_bytes, struct frem_error *err)
{
	struct http_slot *best = NULL;
	unsigned idle = 0, room;
	uint64_t piece, now = clock_ns();

	*ret_bytes = len;
	*ret = NULL;
	for (unsigned i = 0; i < in_use(s); i++) {
		struct http_slot *t = s->slot[i];

		if (t->active || !t->used_ns || t->rest_ns > now)
			continue;
		idle++;
		if (!best || t->used_ns > best->used_ns)
			best = t;
	}
	/* a new connection is quicker than one more flight on a cold one, but slower than a warm
	 * one */
	room = warm && idle ? idle : idle + s->most - in_use(s);
	if (room == 0)
		return 0;
	piece = (len + room - 1) / room;
	if (piece < SLOT_COLD_BYTES)
		piece = SLOT_COLD_BYTES;
	if ((rtt_ms <= 0 || rtt_ms >= NEAR_MS) && len > piece + piece / 4)
		*ret_bytes = piece;
	*ret = best;
	return best ? 0 : open_slot(s, ret, err);
}

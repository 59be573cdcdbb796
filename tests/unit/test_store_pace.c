/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How much is asked for ahead, against links that are computed: full, and without a long queue. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "pace.h"

#define PART UINT64_C(16384)
#define PARTS 65536u

/* A server answers each part as a whole, behind those that were asked for before it. */
struct path {
	double rate;	/* bytes a second */
	double rtt_ms;	/* without a queue */
	double flight;	/* bytes that the server sends in a round trip at most; 0: no matter */
	double free_ns; /* when the link has carried all until now */
	double server_ns;
	struct part {
		double asked, first, here;
	} part[PARTS];
	unsigned head, tail;
};

struct run {
	uint64_t bytes;
	double queue_ms; /* most, after the start */
};

static double most(double a, double b)
{
	return a > b ? a : b;
}

static void ask(struct path *l, double now)
{
	struct part *p = &l->part[l->tail++ % PARTS];
	double half = l->rtt_ms * 5e5, size = (double)PART * 1e9;

	/* a window that is too small lets parts through one after the other */
	l->server_ns = most(now + half, l->server_ns);
	if (l->flight > 0)
		l->server_ns += (double)PART / l->flight * l->rtt_ms * 1e6;
	p->asked = now;
	l->free_ns = most(l->free_ns, l->server_ns);
	p->first = l->free_ns + half;
	l->free_ns += size / l->rate;
	p->here = l->free_ns + half;
}

/* Runs the path for so long, with all that may be asked for asked for. */
static struct run run(struct path *l, struct pace *p, double *now, double seconds, bool settled)
{
	double end = *now + seconds * 1e9;
	struct run r = {0};

	while (*now < end) {
		const struct part *next = &l->part[l->head % PARTS];

		while ((l->tail - l->head) * PART < pace_budget(p))
			ask(l, *now);
		*now = next->here;
		if (settled)
			r.queue_ms =
				most(r.queue_ms, (next->first - next->asked) / 1e6 - l->rtt_ms);
		pace_delay(p, (next->first - next->asked) / 1e6, (uint64_t)*now);
		pace_bytes(p, PART, (uint64_t)*now);
		r.bytes += PART;
		l->head++;
	}
	return r;
}

static struct path *path_new(double rtt_ms, double rate)
{
	struct path *l = calloc(1, sizeof(*l));

	l->rtt_ms = rtt_ms;
	l->rate = rate;
	return l;
}

static void links_are_full_without_a_queue(void **state)
{
	static const struct {
		double rtt_ms, rate;
	} links[] = {{200, 7e6}, {70, 32e6}, {20, 1e6}, {10, 120e6}, {300, 1e6}};

	(void)state;
	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
		struct path *l = path_new(links[i].rtt_ms, links[i].rate);
		struct pace p = {0};
		double now = 1e9;
		struct run r;

		run(l, &p, &now, 10, false);
		assert_true(p.full);
		r = run(l, &p, &now, 20, true);
		if ((double)r.bytes < 0.95 * 20 * l->rate)
			fail_msg("link %zu: %.0f %% full", i, 100 * (double)r.bytes / 20 / l->rate);
		/* never more than one bandwidth-delay product before what is urgent, or 100 ms */
		if (r.queue_ms > most(l->rtt_ms, 100))
			fail_msg("link %zu: a queue of %.0f ms", i, r.queue_ms);
		free(l);
	}
}

static void the_start_takes_a_few_round_trips(void **state)
{
	struct path *l = path_new(200, 7e6);
	struct pace p = {0};
	double now = 1e9;
	struct run r;

	(void)state;
	r = run(l, &p, &now, 3, false);
	assert_true((double)r.bytes > 0.8 * 3 * l->rate);
	free(l);
}

static void a_link_that_changes_is_followed(void **state)
{
	struct path *l = path_new(50, 20e6);
	struct pace p = {0};
	double now = 1e9;
	struct run r;

	(void)state;
	run(l, &p, &now, 5, false);
	l->rate = 4e6;
	run(l, &p, &now, 5, false);
	r = run(l, &p, &now, 5, true);
	assert_true((double)r.bytes > 0.9 * 5 * l->rate);
	assert_true(r.queue_ms < 100);
	l->rate = 40e6;
	run(l, &p, &now, 5, false);
	r = run(l, &p, &now, 5, true);
	assert_true((double)r.bytes > 0.9 * 5 * l->rate);
	free(l);
}

/* Connections that bring less than was asked of them need more asked of them, not less. */
static void slow_connections_are_asked_for_more(void **state)
{
	struct path *l = path_new(100, 50e6);
	struct pace p = {0};
	double now = 1e9;

	(void)state;
	l->flight = 1e6; /* 10 MB/s */
	run(l, &p, &now, 20, false);
	assert_true(pace_rate(&p) > 9e6);
	assert_true(pace_budget(&p) >= 1000000);
	free(l);
}

static void a_pause_says_nothing(void **state)
{
	struct path *l = path_new(50, 20e6);
	struct pace p = {0};
	double now = 1e9, rate;

	(void)state;
	run(l, &p, &now, 5, false);
	rate = pace_rate(&p);
	for (int i = 0; i < 50; i++) {
		pace_idle(&p);
		now += 1e9;
		pace_bytes(&p, 1000, (uint64_t)now);
		pace_short(&p);
		pace_bytes(&p, 1000, (uint64_t)now + 60000000);
	}
	assert_true(pace_rate(&p) > 0.9 * rate);
	free(l);
}

static void nothing_is_known_at_first(void **state)
{
	struct pace p = {0};

	(void)state;
	assert_true(pace_rate(&p) == 0);
	assert_true(pace_budget(&p) >= 512 << 10);
	pace_delay(&p, 0.1, 1);
	assert_true(pace_budget(&p) <= 1 << 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(links_are_full_without_a_queue),
		cmocka_unit_test(the_start_takes_a_few_round_trips),
		cmocka_unit_test(a_link_that_changes_is_followed),
		cmocka_unit_test(slow_connections_are_asked_for_more),
		cmocka_unit_test(a_pause_says_nothing),
		cmocka_unit_test(nothing_is_known_at_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

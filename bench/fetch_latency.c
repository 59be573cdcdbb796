/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fetch_latency: what a demand fetch costs, with the link idle and with it full of bulk, and how
 * long a sequential read takes. Prints one JSON object. Made to be run over linkem by
 * fetch_latency.py.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "store/store.h"

#define USAGE                                                                 \
	"usage: fetch_latency URL KEY SIZE MODE BYTES N PAUSE_MS\n"           \
	"MODE: idle    N demand fetches of BYTES, PAUSE_MS apart\n"           \
	"      loaded  the same while bulk fills the link\n"                  \
	"      stream  N times the object's first SIZE bytes, as one fetch\n" \
	"      into    the same, into room of our own\n"
#define DEMANDS_MOST 10000u
#define BULK_FETCH (UINT64_C(1) << 20)
#define SETTLE_NS (3 * NSEC_PER_SEC) /* bulk alone, before the first demand */

struct bench {
	struct store *store;
	struct fetcher *fetcher;
	const char *key;
	uint64_t size, bytes;
	uint64_t bulk_at, bulk_got;
	unsigned bulk_busy;
	uint64_t random;
	double *took; /* ms */
	unsigned n;
	uint64_t started;
	bool busy;
	struct frem_error err;
};

static int ignore(void *arg, const void *data, size_t n)
{
	(void)arg;
	(void)data;
	(void)n;
	return 0;
}

static void fail(const struct frem_error *err)
{
	fprintf(stderr, "fetch_latency: %s\n", err->text);
	exit(1);
}

static void run(struct bench *b, int timeout_ms)
{
	if (fetcher_run(b->fetcher, NULL, 0, timeout_ms, &b->err) < 0)
		fail(&b->err);
}

static void start(struct bench *b, const struct fetch_request *req)
{
	if (fetcher_start(b->fetcher, req, NULL, &b->err) < 0)
		fail(&b->err);
}

static void demand_done(void *arg, int r, const struct frem_error *err)
{
	struct bench *b = arg;

	if (r < 0)
		fail(err);
	b->took[b->n++] = clock_ms_since(b->started);
	b->busy = false;
}

static void demand(struct bench *b)
{
	struct fetch_request req = {.key = b->key,
				    .len = b->bytes,
				    .data = ignore,
				    .done = demand_done,
				    .arg = b,
				    .urgent = true};

	b->random = b->random * UINT64_C(6364136223846793005) + 1442695040888963407u;
	req.offset = (b->random >> 16) % (b->size - b->bytes);
	b->started = clock_ns();
	b->busy = true;
	start(b, &req);
}

static void bulk_done(void *arg, int r, const struct frem_error *err)
{
	struct bench *b = arg;

	if (r < 0)
		fail(err);
	b->bulk_busy--;
}

static int bulk_data(void *arg, const void *data, size_t n)
{
	(void)data;
	((struct bench *)arg)->bulk_got += n;
	return 0;
}

static bool wants_bulk(const struct bench *b)
{
#ifdef WITHOUT_ROOM /* to measure what knows nothing of fetcher_room() */
	return b->bulk_busy < 4;
#else
	return fetcher_room(b->fetcher) > 0;
#endif
}

static void fill(struct bench *b)
{
	while (wants_bulk(b)) {
		struct fetch_request req = {.key = b->key,
					    .offset = b->bulk_at,
					    .len = BULK_FETCH,
					    .data = bulk_data,
					    .done = bulk_done,
					    .arg = b};

		if (b->bulk_at + BULK_FETCH > b->size)
			req.offset = b->bulk_at = 0;
		b->bulk_at += BULK_FETCH;
		b->bulk_busy++;
		start(b, &req);
	}
}

static void wait_until(struct bench *b, uint64_t until, bool loaded)
{
	for (;;) {
		uint64_t now = clock_ns();

		if (loaded)
			fill(b);
		if (now >= until)
			return;
		run(b, (int)((until - now) / NSEC_PER_MSEC) + 1);
	}
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double quantile(const struct bench *b, double q)
{
	return b->took[(size_t)(q * (double)(b->n - 1) + 0.5)];
}

static void say(struct bench *b, double bulk_rate)
{
	struct fetcher_stats stats;

	fetcher_get_stats(b->fetcher, &stats);
	qsort(b->took, b->n, sizeof(*b->took), by_value);
	printf("{\"n\": %u, \"median_ms\": %.1f, \"p90_ms\": %.1f, \"p99_ms\": %.1f, "
	       "\"most_ms\": %.1f, \"bulk_bps\": %.0f, \"rtt_ms\": %.2f}\n",
	       b->n, quantile(b, 0.5), quantile(b, 0.9), quantile(b, 0.99), quantile(b, 1),
	       bulk_rate, stats.rtt_ms);
}

static void demands(struct bench *b, unsigned n, uint64_t pause_ns, bool loaded)
{
	uint64_t begun, got;

	demand(b); /* connects */
	while (b->busy)
		run(b, -1);
	b->n = 0;
	if (loaded)
		wait_until(b, clock_ns() + SETTLE_NS, true);
	begun = clock_ns();
	got = b->bulk_got;
	while (b->n < n) {
		uint64_t next = clock_ns() + pause_ns;

		demand(b);
		while (b->busy) {
			run(b, -1);
			if (loaded)
				fill(b);
		}
		wait_until(b, next, loaded);
	}
	say(b, loaded ? (double)(b->bulk_got - got) * 1e9 / (double)(clock_ns() - begun) : 0);
}

static void stream(struct bench *b, unsigned n, bool into)
{
	void *room = into ? malloc(b->size) : NULL;

	if (into && !room)
		exit(1);
	for (unsigned i = 0; i < n; i++) {
		struct fetch_request req = {.key = b->key,
					    .len = b->size,
#ifndef WITHOUT_ROOM
					    .into = room,
#endif
					    .data = ignore,
					    .done = demand_done,
					    .arg = b};

		b->started = clock_ns();
		b->busy = true;
		start(b, &req);
		while (b->busy)
			run(b, -1);
	}
	free(room);
	say(b, 0);
}

int main(int argc, char **argv)
{
	struct bench b = {.random = 2008};
	unsigned n;

	if (argc != 8) {
		fputs(USAGE, stderr);
		return FREM_USAGE;
	}
	b.key = argv[2];
	b.size = strtoull(argv[3], NULL, 10);
	b.bytes = strtoull(argv[5], NULL, 10);
	n = (unsigned)strtoul(argv[6], NULL, 10);
	if (n == 0 || n > DEMANDS_MOST || b.bytes >= b.size) {
		fputs(USAGE, stderr);
		return FREM_USAGE;
	}
	b.took = calloc(n + 1, sizeof(*b.took));
	if (!b.took || store_open(argv[1], &b.store, &b.err) < 0 ||
	    fetcher_new(b.store, &b.fetcher, &b.err) < 0)
		fail(&b.err);
	if (strcmp(argv[4], "stream") == 0 || strcmp(argv[4], "into") == 0)
		stream(&b, n, argv[4][0] == 'i');
	else
		demands(&b, n, strtoull(argv[7], NULL, 10) * NSEC_PER_MSEC,
			strcmp(argv[4], "loaded") == 0);
	fetcher_free(b.fetcher);
	store_free(b.store);
	free(b.took);
	return 0;
}

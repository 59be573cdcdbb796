/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * scan_cost: what tracking costs a program, against its size. Children hold memory in small pages,
 * all of it accessed, and go on using a part of it; in the window they go through a tenth of it.
 *
 *   scan_cost [--window] [GB[/PROCESSES]...]   default: 0.25 1 4 8 1/64
 *	The table: processor time before the freeze, while frozen (with and without what was done
 *	before it), of one scan, and of all scans of a window of 60 s: the sum of a real one with
 *	--window, else of its first seconds and as many scans more as there would be.
 *   scan_cost --throughput [GB]
 *	A program that reads its memory at random, with tracking and without, in turn.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scan_cost_child.h"
#include "track/track.h"

#define SHORT_WINDOW_MS 6000.0
#define WINDOW_MS 60000.0
/* What CRIU takes to start and to stop the program. */
#define START_MS 15.0

struct costs {
	double prepare_ms, frozen_ms, unprepared_ms, scan_ms, window_ms;
	double touched; /* share of the memory */
};

static int arm(struct tracker *t, const struct program *p, struct frem_error *err)
{
	int r;

	program_stop(p);
	r = tracker_arm(t, p->pids, p->n, err);
	program_continue(p);
	return r;
}

static int result(struct tracker *t, const struct program *p, struct touch_set **ret,
		  struct frem_error *err)
{
	struct image_task *tasks = calloc(p->n, sizeof(*tasks));
	struct image_extent extent = {(uintptr_t)p->memory, p->pages, 0, 0};
	struct image_map map = {.tasks = tasks, .n_tasks = p->n, .lazy_pages = p->pages * p->n};
	int r;

	if (!tasks)
		return frem_oom(err);
	for (size_t i = 0; i < p->n; i++)
		tasks[i] = (struct image_task){.pid = p->pids[i],
					       .alive = 1,
					       .lazy_pages = p->pages,
					       .extents = &extent,
					       .n_extents = 1};
	r = tracker_result(t, &map, ret, err);
	free(tasks);
	return r;
}

/* Arms a program that was not prepared, and no more. */
static int measure_unprepared(const struct program *p, double *ret_ms, struct frem_error *err)
{
	_cleanup_touch_set_ struct touch_set *set = NULL;
	_cleanup_tracker_ struct tracker *t = NULL;
	int r = tracker_new(&t, err);

	if (!r)
		r = arm(t, p, err);
	if (!r)
		r = result(t, p, &set, err);
	if (!r && set)
		*ret_ms = set->info.frozen_ms;
	return r;
}

/* What scans are apart from then on: see src/track/track.c. */
static double gap_ms(double scan_ms)
{
	double gap = scan_ms * 500;

	return gap < 1000 ? 1000 : gap > 4000 ? 4000 : gap;
}

static void note_costs(const struct program *p, const struct touch_set *set, double window_ms,
		       struct costs *c)
{
	const struct touch_info *i = &set->info;

	c->prepare_ms = i->prepare_ms;
	c->frozen_ms = i->frozen_ms;
	c->scan_ms = (i->scan_ms + i->insert_ms) / i->scans;
	c->window_ms = c->scan_ms * (i->scans + (WINDOW_MS - window_ms) / gap_ms(c->scan_ms));
	c->touched = (double)set->pages / ((double)p->pages * (double)p->n);
}

static int measure_window(const struct program *p, double window_ms, struct costs *c,
			  struct frem_error *err)
{
	_cleanup_touch_set_ struct touch_set *set = NULL;
	_cleanup_tracker_ struct tracker *t = NULL;
	int r = tracker_new(&t, err);

	if (r < 0)
		return r;
	tracker_prepare(t, p->pids[0]);
	pause_ms(START_MS);
	r = arm(t, p, err);
	if (!r)
		r = tracker_start(t, err);
	if (r < 0)
		return r;
	program_tell(p, PROGRAM_TENTH);
	pause_ms(window_ms);
	tracker_stop(t, "asked");
	r = result(t, p, &set, err);
	if (!r && set)
		note_costs(p, set, window_ms, c);
	return r;
}

static int row(double gb, size_t n, double window_ms)
{
	struct frem_error err = {};
	struct program p = {};
	struct costs c = {};
	char size[32];
	int r;

	if (program_start(&p, gb, n)) {
		perror("scan_cost: starting a program");
		return 1;
	}
	r = measure_unprepared(&p, &c.unprepared_ms, &err);
	program_tell(&p, PROGRAM_ALL);
	if (!r)
		r = measure_window(&p, window_ms, &c, &err);
	program_end(&p);
	if (r < 0) {
		fprintf(stderr, "scan_cost: %s\n", err.text);
		return 1;
	}
	snprintf(size, sizeof(size), n > 1 ? "%.2f/%zu" : "%.2f", gb, n);
	printf("%-8s %8.2f %6.2f   %8.2f %6.2f   %8.2f %6.2f   %7.3f %6.3f   %7.1f %6.3f   %6.2f\n",
	       size, c.unprepared_ms, c.unprepared_ms / gb, c.prepare_ms, c.prepare_ms / gb,
	       c.frozen_ms, c.frozen_ms / gb, c.scan_ms, c.scan_ms / gb, c.window_ms,
	       100 * c.window_ms / WINDOW_MS / gb, 100 * c.touched);
	fflush(stdout);
	return 0;
}

static int table(int n, const char *const *sizes, double window_ms)
{
	int r = 0;

	printf("         frozen, unprepared  prepared          then frozen       one scan         "
	       "60 s of scans    touched\n"
	       "GB           ms  ms/GB       ms  ms/GB         ms  ms/GB        ms  ms/GB        "
	       "ms  %%/GB        %%\n");
	for (int i = 0; i < n; i++) {
		char *rest;
		double gb = strtod(sizes[i], &rest);
		unsigned long processes = *rest == '/' ? strtoul(rest + 1, &rest, 10) : 1;

		if (gb <= 0 || gb > 1024 || processes < 1 || processes > 4096 || *rest) {
			fprintf(stderr, "scan_cost: '%s' is not GB or GB/PROCESSES\n", sizes[i]);
			return 2;
		}
		r |= row(gb, processes, window_ms);
	}
	return r;
}

/* ---- throughput ---- */

/* A window is as long as an image takes to arrive: 1 GB at 32 MB/s takes 31 s. What is accessed for
 * the first time after it was armed costs the processor more than later: most of that falls into
 * the beginning. */
#define ROUNDS 5u
#define BEGINNING_MS 2000.0
#define ROUND_MS 30000.0

struct speed {
	double beginning, all; /* reads a second of the program's processor time */
};

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *v, size_t n)
{
	qsort(v, n, sizeof(*v), by_value);
	return v[n / 2];
}

static struct speed measure_speed(const struct program *p)
{
	double cpu = program_cpu_ms(p), reads = (double)program_reads(p);
	struct speed v;

	pause_ms(BEGINNING_MS);
	v.beginning = ((double)program_reads(p) - reads) / (program_cpu_ms(p) - cpu) * 1000;
	pause_ms(ROUND_MS - BEGINNING_MS);
	v.all = ((double)program_reads(p) - reads) / (program_cpu_ms(p) - cpu) * 1000;
	return v;
}

static int tracked_round(const struct program *p, struct speed *ret, struct frem_error *err)
{
	_cleanup_tracker_ struct tracker *t = NULL;
	int r = tracker_new(&t, err);

	if (r < 0)
		return r;
	tracker_prepare(t, p->pids[0]);
	r = arm(t, p, err);
	if (!r)
		r = tracker_start(t, err);
	if (r < 0)
		return r;
	*ret = measure_speed(p);
	tracker_stop(t, "asked");
	return 0;
}

static int throughput(double gb)
{
	double all[ROUNDS] = {}, beginning[ROUNDS] = {};
	struct frem_error err = {};
	struct program p = {};
	int r = 0;

	if (program_start(&p, gb, 1)) {
		perror("scan_cost: starting a program");
		return 1;
	}
	program_begin(&p, PROGRAM_RANDOM);
	for (unsigned i = 0; i < ROUNDS && !r; i++) {
		struct speed without = measure_speed(&p), with = {};

		r = tracked_round(&p, &with, &err);
		all[i] = with.all / without.all;
		beginning[i] = with.beginning / without.beginning;
		printf("%.2f GB, millions of reads a second: %.2f without tracking, %.2f with\n",
		       gb, without.all / 1e6, with.all / 1e6);
		fflush(stdout);
	}
	program_end(&p);
	if (r < 0) {
		fprintf(stderr, "scan_cost: %s\n", err.text);
		return 1;
	}
	printf("with : without, median of %u rounds: %.4f over %.0f s, %.4f in the first %.0f s\n",
	       ROUNDS, median(all, ROUNDS), ROUND_MS / 1000, median(beginning, ROUNDS),
	       BEGINNING_MS / 1000);
	return 0;
}

int main(int argc, char **argv)
{
	static const char *const usual[] = {"0.25", "1", "4", "8", "1/64"};
	double window_ms = SHORT_WINDOW_MS;
	int i = 1;

	if (argc > 1 && !strcmp(argv[1], "--throughput")) {
		double gb = argc > 2 ? strtod(argv[2], NULL) : 1;

		return gb > 0 && gb <= 1024 ? throughput(gb) : 2;
	}
	if (argc > 1 && !strcmp(argv[1], "--window")) {
		window_ms = WINDOW_MS;
		i++;
	}
	if (i < argc)
		return table(argc - i, (const char *const *)argv + i, window_ms);
	return table(sizeof(usual) / sizeof(usual[0]), usual, window_ms);
}

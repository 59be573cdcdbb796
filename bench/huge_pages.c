/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * huge_pages: how well the touch set of a program in huge pages fits what it uses, and what finding
 * it costs the program. Windows with and without tracking alternate. Beside what it did less in all
 * ("lost") stand what it did less while on a processor ("slower": small pages) and for how long it
 * was neither that nor waiting for one ("blocked": by the tracker, if it never sleeps): these two
 * mean something on a busy machine, too. Then the milliseconds that the tracker has charged itself
 * for, and its own processor time.
 *
 *   huge_pages [-m MB] [-w SECONDS] [-r ROUNDS] [-v] [PATTERN...]     512, 10, 2, all
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "huge_program.h"
#include "track/track.h"

#define MB_PAGES 256u

static struct options {
	uint64_t mb;
	double window_s;
	unsigned rounds;
	bool verbose;
} options = {512, 10, 2, false};

static unsigned splits, joins;
static double stall_ms;

static void pause_s(double s)
{
	struct timespec t = {(time_t)s, (long)((s - (double)(time_t)s) * 1e9)};

	while (nanosleep(&t, &t))
		;
}

/* The tracker tells of its work in huge pages by a log line only. */
static void take_line(enum log_level level, const char *line)
{
	const char *at = strstr(line, "in all, ");

	(void)level;
	if (at && strncmp(line, "tracking: huge pages", 20) == 0) {
		splits += (unsigned)strtoul(at + 8, NULL, 10);
		at = strstr(line, "apart, ");
		joins += at ? (unsigned)strtoul(at + 7, NULL, 10) : 0;
		at = strstr(line, "waited for ");
		stall_ms += at ? strtod(at + 11, NULL) : 0;
	}
	if (options.verbose)
		fprintf(stderr, "%s\n", line);
}

/* What a program did in a window. */
struct progress {
	double accesses;
	double wall_ms;
	double run_ms;	/* on a processor */
	double wait_ms; /* for one */
};

static struct progress progress_of(const struct huge_program *p)
{
	struct progress now = {.accesses = (double)huge_program_count(p),
			       .wall_ms = (double)clock_ns() / NSEC_PER_MSEC};

	huge_program_times(p, &now.run_ms, &now.wait_ms);
	return now;
}

static void add_since(struct progress *sum, const struct progress *before,
		      const struct progress *now)
{
	sum->accesses += now->accesses - before->accesses;
	sum->wall_ms += now->wall_ms - before->wall_ms;
	sum->run_ms += now->run_ms - before->run_ms;
	sum->wait_ms += now->wait_ms - before->wait_ms;
}

/* Lets it run for a window, tracked. */
static int tracked(const struct huge_program *p, struct progress *sum, struct touch_set **ret,
		   struct frem_error *err)
{
	struct image_extent extent = {(uintptr_t)p->memory, p->pages, 0, 0};
	struct image_task task = {.pid = p->pid,
				  .alive = 1,
				  .lazy_pages = p->pages,
				  .extents = &extent,
				  .n_extents = 1};
	struct image_map map = {.tasks = &task, .n_tasks = 1, .lazy_pages = p->pages};
	_cleanup_tracker_ struct tracker *t = NULL;
	struct progress before, after;
	int r = tracker_new(&t, err);

	huge_program_stop(p);
	if (!r)
		r = tracker_arm(t, &p->pid, 1, err);
	before = progress_of(p);
	huge_program_continue(p);
	if (!r)
		r = tracker_start(t, err);
	if (r < 0)
		return r;
	pause_s(options.window_s);
	tracker_stop(t, "asked");
	after = progress_of(p);
	add_since(sum, &before, &after);
	return tracker_result(t, &map, ret, err);
}

static void untracked(const struct huge_program *p, struct progress *sum)
{
	struct progress before = progress_of(p), after;

	pause_s(options.window_s);
	after = progress_of(p);
	add_since(sum, &before, &after);
}

struct fit {
	uint64_t used, set, found;
};

static void compare(const struct huge_program *p, const struct touch_set *set, struct fit *fit)
{
	_cleanup_free_ uint8_t *used = huge_program_used(p);

	for (uint64_t i = 0; used && i < p->pages; i++)
		fit->used += used[i];
	for (size_t i = 0; used && i < set->n_runs; i++)
		for (uint32_t k = 0; k < set->runs[i].pages; k++)
			fit->found += used[set->runs[i].first + k];
	fit->set += set->pages;
}

/* By how much less it did, in percent: a second, and a second on a processor. */
static double lost(const struct progress *with, const struct progress *without)
{
	return 100 * (1 - with->accesses / with->wall_ms * without->wall_ms / without->accesses);
}

static double slower(const struct progress *with, const struct progress *without)
{
	return 100 * (1 - with->accesses / with->run_ms * without->run_ms / without->accesses);
}

/* Neither on a processor nor waiting for one, in percent. */
static double blocked(const struct progress *p)
{
	return 100 * (1 - (p->run_ms + p->wait_ms) / p->wall_ms);
}

static int measure(const struct huge_program *p, enum huge_pattern pattern, struct frem_error *err)
{
	struct progress with = {}, without = {};
	double huge = (double)huge_program_huge(p), cpu_ms = 0;
	struct fit fit = {};

	splits = joins = 0;
	stall_ms = 0;
	for (unsigned i = 0; i < options.rounds; i++) {
		_cleanup_touch_set_ struct touch_set *set = NULL;

		untracked(p, &without);
		if (tracked(p, &with, &set, err) < 0)
			return -1;
		compare(p, set, &fit);
		cpu_ms += set->info.overhead_ms;
	}
	printf("%-10s %7lu %7lu %6.2f %6.1f %% %6.2f %% %6.2f %% %6.2f %% %7.1f %7.1f %6u %6u "
	       "%6.1f %%\n",
	       huge_pattern_names[pattern], fit.used / options.rounds, fit.set / options.rounds,
	       (double)fit.set / (double)fit.used, 100.0 * (double)fit.found / (double)fit.used,
	       lost(&with, &without), slower(&with, &without), blocked(&with) - blocked(&without),
	       stall_ms / options.rounds, cpu_ms / options.rounds, splits / options.rounds,
	       joins / options.rounds, huge > 0 ? 100 * (double)huge_program_huge(p) / huge : 0);
	fflush(stdout);
	return 0;
}

static int run(enum huge_pattern pattern)
{
	struct frem_error err = {};
	struct huge_program p;
	int r = huge_program_start(&p, pattern, options.mb * MB_PAGES);

	if (r) {
		perror("huge_pages");
	} else {
		huge_program_continue(&p);
		pause_s(1);
		r = measure(&p, pattern, &err);
		if (r)
			fprintf(stderr, "huge_pages: %s\n", err.text);
	}
	huge_program_end(&p);
	return r;
}

static int usage(void)
{
	fprintf(stderr, "usage: huge_pages [-m MB] [-w SECONDS] [-r ROUNDS] [-v] [PATTERN...]\n");
	return 2;
}

int main(int argc, char **argv)
{
	int option, r = 0;

	while ((option = getopt(argc, argv, "m:w:r:v")) >= 0) {
		if (option == 'm')
			options.mb = strtoull(optarg, NULL, 10);
		else if (option == 'w')
			options.window_s = strtod(optarg, NULL);
		else if (option == 'r')
			options.rounds = (unsigned)strtoul(optarg, NULL, 10);
		else if (option == 'v')
			options.verbose = true;
		else
			return usage();
	}
	if (options.mb < 2 || options.mb > 1 << 20 || !options.rounds)
		return usage();
	log_set_sink(take_line, LOG_LEVEL_DEBUG);
	printf("%lu MB, window %.1f s; a mean of %u windows\n"
	       "pattern       used     set  ratio   recall     lost   slower  blocked  charged     cpu "
	       "splits  joins  huge after\n",
	       options.mb, options.window_s, options.rounds);
	for (int i = 0; i < HUGE_PATTERNS && !r; i++) {
		bool wanted = optind == argc;

		for (int k = optind; k < argc; k++)
			wanted |= strcmp(argv[k], huge_pattern_names[i]) == 0;
		if (wanted)
			r = run((enum huge_pattern)i);
	}
	return r ? 1 : 0;
}

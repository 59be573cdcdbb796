/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * touch_compare: a touch set against the truth. RECORDED and REAL are two copies of one checkpoint
 * (directories NAME/N of a store): the touch set of the first was recorded while the program ran
 * on, that of the second by a restart that fetched nothing but what the program asked for.
 *
 *   touch_compare [--json] [--until MS] [--differences FILE] RECORDED REAL
 *
 * For each process and in total it prints the pages really touched (T), the pages recorded (S),
 * recall |S and T| / |T| (what it lacks are false negatives), precision |S and T| / |S| (false
 * positives), and how well the orders agree over the pages in both: Kendall's tau-b, which takes
 * ties into account, and the share of the pairs ordered by both that are ordered alike. "Early"
 * recall is that over what the restarted program touched in as much time as the window was long.
 *
 * --until MS leaves out of T what was touched later: a restarted program that waits for its memory
 * takes longer for the same work, and the caller knows at what time it had done as much as the
 * tracked program had at the end of its window. --differences writes each page that is in one of
 * the sets only: process, address, time, and "missed" or "unused".
 */
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "agreement.h"
#include "base/file.h"
#include "criu/image_dir.h"
#include "stored.h"

struct checkpoint {
	struct stored stored;
	struct touch_set *touch;
	uint32_t *times; /* of each lazy page's first touch */
};

static void checkpoint_done(struct checkpoint *c)
{
	stored_done(&c->stored);
	touch_set_free(c->touch);
	free(c->times);
}

/* ---- the image's pages ---- */

static int map_of_head(const struct buffer *head, const char *directory, struct image_map **ret,
		       struct frem_error *err)
{
	_cleanup_frame_index_ struct frame_index *index = NULL;
	_cleanup_close_ int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (fd < 0)
		return frem_fail(err, FREM_FAILED, errno, "opening '%s'", directory);
	r = image_dir_unpack(fd, head->data, head->len, &index, err);
	return r < 0 ? r : image_map_read(fd, ret, err);
}

static int read_map(const struct checkpoint *c, struct image_map **ret, struct frem_error *err)
{
	_cleanup_buffer_ struct buffer head = {0};
	char directory[] = "/var/tmp/frem-compare-XXXXXX";
	int r = stored_read(&c->stored, OBJECT_HEAD, SIZE_MAX, &head, err);

	if (r < 0)
		return r;
	if (!mkdtemp(directory))
		return frem_fail(err, FREM_FAILED, errno, "making a temporary directory");
	r = map_of_head(&head, directory, ret, err);
	file_remove_tree(directory);
	return r;
}

/* ---- the touch sets ---- */

static int read_touch(struct checkpoint *c, uint64_t lazy_pages, struct frem_error *err)
{
	_cleanup_close_ int fd = -1;
	int r = stored_object(&c->stored, OBJECT_TOUCH, &fd, err);

	return r < 0 ? r : stored_touch(&c->stored, fd, lazy_pages, &c->touch, err);
}

static int note_times(struct checkpoint *c, uint64_t lazy_pages, struct frem_error *err)
{
	c->times = malloc((lazy_pages + 1) * sizeof(*c->times));
	if (!c->times)
		return frem_oom(err);
	memset(c->times, 0xff, (lazy_pages + 1) * sizeof(*c->times));
	for (size_t i = 0; i < c->touch->n_runs; i++) {
		const struct touch_run *run = &c->touch->runs[i];

		for (uint32_t k = 0; k < run->pages; k++)
			c->times[run->first + k] = run->ms;
	}
	return 0;
}

static int load(struct checkpoint *c, const struct image_map *map, struct frem_error *err)
{
	int r = read_touch(c, map->lazy_pages, err);

	return r < 0 ? r : note_times(c, map->lazy_pages, err);
}

/* ---- what comes out ---- */

struct comparison {
	struct checkpoint recorded, real;
	struct image_map *map;
	uint32_t until;
};

static void comparison_done(struct comparison *c)
{
	checkpoint_done(&c->recorded);
	checkpoint_done(&c->real);
	image_map_free(c->map);
}

static int compare(const struct comparison *c, uint64_t first, uint64_t pages,
		   struct agreement *ret, struct frem_error *err)
{
	return agreement_of(c->recorded.times + first, c->real.times + first, pages, c->until,
			    c->recorded.touch->info.window_ms, ret, err);
}

static double share(double part, double of)
{
	return of > 0 ? part / of : 1;
}

static json_t *agreement_json(const struct agreement *a)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:f}", "pages",
			 (json_int_t)a->pages, "touched", (json_int_t)a->touched, "recorded",
			 (json_int_t)a->recorded, "both", (json_int_t)a->both, "before_resume",
			 (json_int_t)a->before_resume, "before_resume_missed",
			 (json_int_t)a->before_resume_missed, "recall",
			 share((double)a->both, (double)a->touched), "precision",
			 share((double)a->both, (double)a->recorded), "early_recall",
			 share((double)a->early_both, (double)a->early), "tau_b", a->tau_b,
			 "in_order", share(a->concordant, a->concordant + a->discordant));
}

static void print_row(const char *what, const struct agreement *a)
{
	printf("%-24s %9" PRIu64 " %9" PRIu64 " %9" PRIu64 " %8.2f %% %8.2f %% %8.2f %% %7.3f "
	       "%8.2f %%\n",
	       what, a->pages, a->touched, a->recorded,
	       100 * share((double)a->both, (double)a->touched),
	       100 * share((double)a->both, (double)a->recorded),
	       100 * share((double)a->early_both, (double)a->early), a->tau_b,
	       100 * share(a->concordant, a->concordant + a->discordant));
}

static void report_row(const struct image_task *task, const struct agreement *a, json_t *rows)
{
	char what[64];
	json_t *row;

	if (!rows) {
		snprintf(what, sizeof(what), "%d %.16s", task->pid, task->comm);
		print_row(what, a);
		return;
	}
	row = agreement_json(a);
	json_object_set_new(row, "pid", json_integer(task->pid));
	json_object_set_new(row, "comm", json_string(task->comm));
	json_array_append_new(rows, row);
}

static int report(const struct comparison *c, int as_json, struct frem_error *err)
{
	const struct touch_info *info = &c->recorded.touch->info;
	json_t *rows = as_json ? json_array() : NULL, *all;
	struct agreement a;
	int r;

	if (!as_json)
		printf("%-24s %9s %9s %9s %10s %10s %10s %7s %10s\n", "process", "pages", "touched",
		       "recorded", "recall", "precision", "early", "tau-b", "in order");
	for (size_t i = 0; i < c->map->n_tasks; i++) {
		const struct image_task *task = &c->map->tasks[i];

		r = compare(c, task->first, task->lazy_pages, &a, err);
		if (r < 0)
			return r;
		report_row(task, &a, rows);
	}
	r = compare(c, 0, c->map->lazy_pages, &a, err);
	if (r < 0)
		return r;
	if (!as_json) {
		print_row("total", &a);
		return 0;
	}
	all = json_pack("{s:o, s:o, s:s, s:s, s:I, s:s, s:I}", "total", agreement_json(&a),
			"processes", rows, "backend", info->backend, "ended", info->ended,
			"window_ms", (json_int_t)info->window_ms, "real_backend",
			c->real.touch->info.backend, "real_window_ms",
			(json_int_t)c->real.touch->info.window_ms);
	json_dumpf(all, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	putchar('\n');
	json_decref(all);
	return 0;
}

static int write_differences(const struct comparison *c, const char *path, struct frem_error *err)
{
	_cleanup_fclose_ FILE *f = fopen(path, "we");

	if (!f)
		return frem_fail(err, FREM_FAILED, errno, "writing '%s'", path);
	for (uint64_t i = 0; i < c->map->lazy_pages; i++) {
		uint32_t recorded = c->recorded.times[i], real = c->real.times[i];
		const struct image_extent *extent;
		const struct image_task *task;

		if (real > c->until)
			real = UNTOUCHED;
		if ((recorded == UNTOUCHED) == (real == UNTOUCHED))
			continue;
		image_map_locate(c->map, i, &task, &extent);
		fprintf(f, "%d %" PRIx64 " %u %s\n", task->pid,
			extent->address + (i - extent->first) * PAGE_BYTES,
			recorded == UNTOUCHED ? real : recorded,
			recorded == UNTOUCHED ? "missed" : "unused");
	}
	return 0;
}

static int run(struct comparison *c, char **paths, int as_json, const char *differences,
	       struct frem_error *err)
{
	struct stored *recorded = &c->recorded.stored, *real = &c->real.stored;
	int r = stored_open(recorded, paths[0], err);

	if (r == 0)
		r = stored_open(real, paths[1], err);
	if (r < 0)
		return r;
	if (memcmp(recorded->digest, real->digest, DIGEST_SIZE) != 0)
		return frem_fail(err, FREM_USAGE, 0, "'%s' and '%s' are not the same checkpoint",
				 recorded->path, real->path);
	r = read_map(&c->recorded, &c->map, err);
	if (r == 0)
		r = load(&c->recorded, c->map, err);
	if (r == 0)
		r = load(&c->real, c->map, err);
	if (r == 0)
		r = report(c, as_json, err);
	if (r == 0 && differences)
		r = write_differences(c, differences, err);
	return r;
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {{"json", no_argument, NULL, 'j'},
					      {"until", required_argument, NULL, 'u'},
					      {"differences", required_argument, NULL, 'd'},
					      {NULL, 0, NULL, 0}};
	struct comparison c = {
		.recorded.stored.fd = -1, .real.stored.fd = -1, .until = UNTOUCHED - 1};
	const char *differences = NULL;
	struct frem_error err = {0};
	int opt, as_json = 0, r;

	while ((opt = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (opt == 'j')
			as_json = 1;
		else if (opt == 'u')
			c.until = (uint32_t)strtoul(optarg, NULL, 10);
		else if (opt == 'd')
			differences = optarg;
		else
			return FREM_USAGE;
	}
	if (argc - optind != 2) {
		fputs("usage: touch_compare [--json] [--until MS] [--differences FILE] RECORDED "
		      "REAL\n",
		      stderr);
		return FREM_USAGE;
	}
	r = run(&c, argv + optind, as_json, differences, &err);
	if (r < 0)
		fprintf(stderr, "touch_compare: %s\n", err.text);
	comparison_done(&c);
	return r < 0 ? (int)err.code : 0;
}

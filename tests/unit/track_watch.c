/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "track_watch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"

#define PATIENCE_MS 20000.0

int skip_without_root(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	return 0;
}

void assert_ok(int r, const struct frem_error *err)
{
	if (r < 0)
		fail_msg("%s (%s)", err->text, err->hint);
}

struct tracker *open_tracker(void)
{
	struct frem_error err = {};
	struct tracker *t = NULL;

	assert_ok(tracker_new(&t, &err), &err);
	return t;
}

void arm_and_start(struct tracker *t, const struct child *children, size_t n)
{
	struct frem_error err = {};
	pid_t pids[4] = {};

	for (size_t i = 0; i < n; i++)
		pids[i] = children[i].pid;
	assert_ok(tracker_arm(t, pids, n, &err), &err);
	for (size_t i = 0; i < n; i++)
		child_continue(&children[i]);
	assert_ok(tracker_start(t, &err), &err);
}

void breathe(uint64_t since)
{
	struct timespec pause = {0, 200000};

	assert_true(clock_ms_since(since) < PATIENCE_MS);
	nanosleep(&pause, NULL);
}

uint64_t pages_seen(struct tracker *t)
{
	uint64_t pages;

	tracker_poll(t, &pages);
	return pages;
}

uint64_t nearly(uint64_t n)
{
	return n - n / 50;
}

void wait_for_pages(struct tracker *t, uint64_t before, uint64_t n)
{
	uint64_t since = clock_ns();

	while (pages_seen(t) < before + nearly(n))
		breathe(since);
}

void wait_for_state(struct tracker *t, enum track_state state)
{
	uint64_t since = clock_ns();

	while (tracker_poll(t, NULL) != state)
		breathe(since);
}

struct touch_set *result(struct tracker *t, const struct child *children, size_t n, pid_t pid)
{
	struct image_extent extents[4];
	struct image_task tasks[4] = {};
	struct image_map map = {.tasks = tasks, .n_tasks = n};
	struct frem_error err = {};
	struct touch_set *set = NULL;

	for (size_t i = 0; i < n; i++) {
		extents[i] = (struct image_extent){.address = (uintptr_t)children[i].memory,
						   .pages = children[i].pages,
						   .first = map.lazy_pages};
		tasks[i] = (struct image_task){.pid = pid && !i ? pid : children[i].pid,
					       .alive = 1,
					       .first = map.lazy_pages,
					       .lazy_pages = children[i].pages,
					       .extents = &extents[i],
					       .n_extents = 1};
		map.lazy_pages += children[i].pages;
	}
	assert_ok(tracker_result(t, &map, &set, &err), &err);
	return set;
}

uint32_t *by_page(const struct touch_set *set, uint64_t pages)
{
	uint32_t *when = calloc(pages, sizeof(*when)), last = 0;
	uint64_t n = 0;

	assert_non_null(when);
	for (size_t i = 0; i < set->n_runs; i++) {
		const struct touch_run *r = &set->runs[i];

		assert_true(r->pages > 0 && r->first + r->pages <= pages);
		assert_true(r->ms >= last);
		last = r->ms;
		for (uint32_t k = 0; k < r->pages; k++) {
			assert_int_equal(when[r->first + k], 0);
			when[r->first + k] = r->ms + 1;
		}
		n += r->pages;
	}
	assert_int_equal(n, set->pages);
	return when;
}

uint64_t count(const uint32_t *when, uint64_t first, uint64_t end, uint64_t step)
{
	uint64_t n = 0;

	for (uint64_t i = first; i < end; i += step)
		n += when[i] != 0;
	return n;
}

void assert_found(const struct touch_set *set, uint64_t pages, uint64_t first, uint64_t end)
{
	_cleanup_free_ uint32_t *when = by_page(set, pages);
	uint64_t n = count(when, first, end, 1);

	assert_true(n >= nearly(end - first));
	assert_in_range(set->pages, n, n + MOST_STALE);
}

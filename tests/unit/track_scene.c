/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "track_scene.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"

#define PATIENCE_MS 20000.0
#define SETTLE_PAGES 64u

void must_failed(const char *what, const char *file, int line)
{
	fprintf(stderr, "in the program: %s:%d: %s: %m\n", file, line, what);
	_exit(1);
}

/* What was faulted in a moment ago waits in a queue of each processor, and cannot be armed exactly:
 * other pages push it out. */
static void settle(void)
{
	size_t size = SETTLE_PAGES * PAGE;
	cpu_set_t before, cpu;

	MUST(!sched_getaffinity(0, sizeof(before), &before));
	for (size_t i = 0; i < CPU_SETSIZE; i++) {
		volatile uint8_t *m;

		if (!CPU_ISSET(i, &before))
			continue;
		CPU_ZERO(&cpu);
		CPU_SET(i, &cpu);
		MUST(!sched_setaffinity(0, sizeof(cpu), &cpu));
		m = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		MUST(m != MAP_FAILED);
		madvise((void *)m, size, MADV_NOHUGEPAGE);
		for (size_t k = 0; k < size; k += PAGE)
			m[k] = 1;
	}
	MUST(!sched_setaffinity(0, sizeof(before), &before));
}

struct call {
	const struct scene *scene;
	scene_function act;
};

static void set_up(void *arg)
{
	const struct call *call = arg;

	if (call->act)
		call->act(call->scene);
	settle();
}

static void act(void *arg)
{
	const struct call *call = arg;

	call->act(call->scene);
}

/* The program is a copy of this process: what `call` points to is at the same address there, but
 * as of the fork; so the call goes by value, in the command. */
static void act_by_value(const struct scene *s, child_function f, scene_function of)
{
	struct call *shared = (struct call *)(s->numbers + SCENE_NUMBERS);

	*shared = (struct call){s, of};
	child_do(&s->c, CHILD_CALL, (uintptr_t)f, (uintptr_t)shared, 0);
}

static void assert_ok(int r, const struct frem_error *err)
{
	if (r < 0)
		fail_msg("%s (%s)", err->text, err->hint);
}

void scene_start(struct scene *s, scene_function setup)
{
	struct frem_error err = {};

	memset(s, 0, sizeof(*s));
	s->numbers = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(s->numbers, MAP_FAILED);
	s->elsewhere =
		mmap(NULL, SCENE_PAGES * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(s->elsewhere, MAP_FAILED);
	assert_ok(tracker_new(&s->tracker, &err), &err);
	child_start(&s->c, SCENE_PAGES, 0);
	s->start = (uintptr_t)s->c.memory;
	child_continue(&s->c);
	act_by_value(s, set_up, setup);
	child_stop(&s->c);
	assert_ok(tracker_arm(s->tracker, &s->c.pid, 1, &err), &err);
	child_continue(&s->c);
	assert_ok(tracker_start(s->tracker, &err), &err);
}

void scene_do(const struct scene *s, scene_function of)
{
	act_by_value(s, act, of);
}

void scene_breathe(uint64_t since)
{
	struct timespec pause = {0, 200000};

	assert_true(clock_ms_since(since) < PATIENCE_MS);
	nanosleep(&pause, NULL);
}

void scene_wait_ended(const struct scene *s)
{
	uint64_t since = clock_ns();

	while (tracker_poll(s->tracker, NULL) != TRACK_ENDED)
		scene_breathe(since);
}

void scene_last(const struct scene *s, scene_function of)
{
	scene_do(s, of);
	scene_wait_ended(s);
}

void scene_end(struct scene *s)
{
	struct image_extent extent = {.address = s->start, .pages = SCENE_PAGES};
	struct image_task task = {.pid = s->c.pid,
				  .alive = 1,
				  .lazy_pages = SCENE_PAGES,
				  .extents = &extent,
				  .n_extents = 1};
	struct image_map map = {.tasks = &task, .n_tasks = 1, .lazy_pages = SCENE_PAGES};
	struct frem_error err = {};

	tracker_stop(s->tracker, "asked");
	assert_ok(tracker_result(s->tracker, &map, &s->set, &err), &err);
	child_done(&s->c);
}

void scene_free(struct scene *s)
{
	touch_set_free(s->set);
	tracker_free(s->tracker);
	munmap(s->elsewhere, SCENE_PAGES * PAGE);
	munmap(s->numbers, PAGE);
}

void scene_found(const struct scene *s, bool *found)
{
	memset(found, 0, SCENE_PAGES * sizeof(*found));
	for (size_t i = 0; i < s->set->n_runs; i++)
		for (uint32_t k = 0; k < s->set->runs[i].pages; k++)
			found[s->set->runs[i].first + k] = true;
}

void scene_expect(const struct scene *s, ...)
{
	bool found[SCENE_PAGES], want[SCENE_PAGES] = {};
	unsigned wrong = 0;
	va_list args;

	scene_found(s, found);
	va_start(args, s);
	for (int first; (first = va_arg(args, int)) >= 0;)
		for (int end = va_arg(args, int); first < end; first++)
			want[first] = true;
	va_end(args);
	for (unsigned i = 0; i < SCENE_PAGES; i++) {
		if (found[i] != want[i] && wrong++ < 8)
			print_message("page %u: %s\n", i, found[i] ? "found" : "not found");
	}
	assert_int_equal(wrong, 0);
}

void read_pages(const struct scene *s, unsigned first, unsigned end)
{
	for (; first < end; first++)
		(void)s->c.memory[first * PAGE];
}

void write_pages(const struct scene *s, unsigned first, unsigned end)
{
	for (; first < end; first++)
		s->c.memory[first * PAGE] = 7;
}

void map_pages(const struct scene *s, unsigned first, unsigned end)
{
	void *at = (void *)(s->c.memory + first * PAGE);

	MUST(mmap(at, (end - first) * PAGE, PROT_READ | PROT_WRITE,
		  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == at);
	madvise(at, (end - first) * PAGE, MADV_NOHUGEPAGE);
}

void unmap_pages(const struct scene *s, unsigned first, unsigned end)
{
	MUST(!munmap((void *)(s->c.memory + first * PAGE), (end - first) * PAGE));
}

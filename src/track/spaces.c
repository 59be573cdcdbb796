/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "spaces.h"

#include <bpf/libbpf.h>
#include <stdbool.h>
#include <string.h>

#define PAGE_SHIFT 12

static void free_space(struct space *p)
{
	bpf_link__destroy(p->child.link);
	view_free(p->view);
	free(p);
}

void spaces_done(struct spaces *s)
{
	for (size_t i = 0; i < s->n; i++)
		free_space(s->list[i]);
	free(s->list);
	*s = (struct spaces){};
}

static size_t index_from(const struct spaces *s, uint32_t number)
{
	size_t low = 0, high = s->n;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (s->list[mid]->number < number)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct space *spaces_from(const struct spaces *s, uint32_t number)
{
	size_t i = index_from(s, number);

	return i < s->n ? s->list[i] : NULL;
}

struct space *spaces_find(const struct spaces *s, uint32_t number)
{
	struct space *p = spaces_from(s, number);

	return p && p->number == number ? p : NULL;
}

/* Takes the view over. task: NULL for a child. */
static int add(struct spaces *s, uint32_t number, struct tracked_task *task, struct view *view,
	       struct space **ret, struct frem_error *err)
{
	size_t i = index_from(s, number);
	struct space *p = calloc(1, sizeof(*p));

	if (p && s->n == s->cap) {
		size_t cap = s->cap ? s->cap * 2 : 16;
		struct space **list = reallocarray(s->list, cap, sizeof(struct space *));

		if (list) {
			s->list = list;
			s->cap = cap;
		}
	}
	if (!p || s->n == s->cap) {
		free(p);
		view_free(view);
		return frem_oom(err);
	}
	*p = (struct space){.number = number, .task = task ? task : &p->child, .view = view};
	memmove(s->list + i + 1, s->list + i, (s->n - i) * sizeof(struct space *));
	s->list[i] = p;
	s->n++;
	*ret = p;
	return 0;
}

int spaces_add(struct spaces *s, uint32_t number, struct tracked_task *task, struct frem_error *err)
{
	struct view *view = NULL;
	struct space *p;
	int r = view_new(number, &view, err);

	return r < 0 ? r : add(s, number, task, view, &p, err);
}

void spaces_end(struct spaces *s, uint32_t number)
{
	struct space *p = spaces_find(s, number);
	size_t i = index_from(s, number);

	if (!p)
		return;
	p->task->gone = true;
	s->n--;
	memmove(s->list + i, s->list + i + 1, (s->n - i) * sizeof(struct space *));
	free_space(p);
}

/* ---- events ---- */

static int follow_sight(const struct spaces *s, const struct space *p, const struct event_sight *e)
{
	uint64_t touched[TOUCHED_WORDS];
	struct touched_sight sight = {.unit = e->unit, .huge = e->huge != 0, .touched = touched};

	memcpy(touched, e->touched, sizeof(touched));
	return view_see(p->view, &sight, UINT64_MAX, s->take, s->arg, NULL);
}

static int follow_used(const struct spaces *s, const struct space *p, uint64_t start, uint64_t end)
{
	int r = 0;

	while (start < end && !r) {
		uint64_t touched[TOUCHED_WORDS] = {};
		struct touched_sight sight = {.unit = start / TOUCHED_UNIT_PAGES,
					      .touched = touched};
		uint64_t stop = (sight.unit + 1) * TOUCHED_UNIT_PAGES;

		for (stop = stop < end ? stop : end; start < stop; start++)
			touched[start % TOUCHED_UNIT_PAGES / 64] |= UINT64_C(1) << start % 64;
		r = view_see(p->view, &sight, UINT64_MAX, s->take, s->arg, NULL);
	}
	return r;
}

static int follow_fork(struct spaces *s, const struct space *parent, const struct event_forked *e)
{
	struct view *view = NULL;
	struct space *p;
	int r = view_copy(parent->view, &view, NULL);

	if (!r)
		r = add(s, e->child, NULL, view, &p, NULL);
	if (!r) {
		p->child.pid = (pid_t)e->pid;
		p->child.identity = e->identity;
	}
	return r;
}

void spaces_follow(void *spaces, const struct event *event)
{
	const struct event_range *range = (const struct event_range *)event;
	struct spaces *s = spaces;
	struct space *p = spaces_find(s, event->space);
	int r = 0;

	if (!p) /* whose birth could not be told */
		return;
	switch (event->kind) {
	case EVENT_SIGHT:
		r = follow_sight(s, p, (const struct event_sight *)event);
		break;
	case EVENT_USED:
		r = follow_used(s, p, range->start >> PAGE_SHIFT, range->end >> PAGE_SHIFT);
		break;
	case EVENT_REMOVED:
		r = view_remove(p->view, range->start >> PAGE_SHIFT, range->end >> PAGE_SHIFT);
		break;
	case EVENT_MOVED:
		r = view_move(p->view, range->start >> PAGE_SHIFT, range->end >> PAGE_SHIFT,
			      range->to >> PAGE_SHIFT, range->when);
		break;
	case EVENT_FORKED:
		r = follow_fork(s, p, (const struct event_forked *)event);
		break;
	case EVENT_GONE:
		spaces_end(s, event->space);
		break;
	}
	s->failed += r < 0;
}

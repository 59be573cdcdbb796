/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "touched_set.h"

#include <string.h>

#define PAGE_SHIFT 12
#define NO_SLOT UINT32_MAX
#define MOST_UNITS (UINT32_MAX / 2) /* 4 PB of memory */

struct touched_unit {
	size_t task;
	uint64_t unit;
	uint64_t touched[TOUCHED_WORDS];
	uint64_t resident[TOUCHED_WORDS];
	uint16_t *scan; /* by page, 0: not touched; NULL while nothing was */
	bool huge;
};

struct touched_set {
	struct touched_unit *units;
	size_t n_units;
	size_t cap_units;
	uint32_t *slots; /* open addressing: indices into units; a power of two of them */
	size_t n_slots;
	struct touched_counts counts;
};

int touched_set_new(struct touched_set **ret, struct frem_error *err)
{
	struct touched_set *s = calloc(1, sizeof(*s));

	if (!s)
		return frem_oom(err);
	*ret = s;
	return 0;
}

void touched_set_free(struct touched_set *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n_units; i++)
		free(s->units[i].scan);
	free(s->units);
	free(s->slots);
	free(s);
}

static size_t first_slot(const struct touched_set *s, size_t task, uint64_t unit)
{
	uint64_t h = (unit ^ (uint64_t)task << 40) * UINT64_C(0x9e3779b97f4a7c15);

	return (size_t)(h >> 32) & (s->n_slots - 1);
}

/* The slot that holds the unit, or the empty one where it belongs. */
static uint32_t *find_slot(const struct touched_set *s, size_t task, uint64_t unit)
{
	size_t i = first_slot(s, task, unit);

	while (s->slots[i] != NO_SLOT) {
		const struct touched_unit *u = &s->units[s->slots[i]];

		if (u->unit == unit && u->task == task)
			break;
		i = (i + 1) & (s->n_slots - 1);
	}
	return &s->slots[i];
}

static const struct touched_unit *find_unit(const struct touched_set *s, size_t task, uint64_t unit)
{
	uint32_t slot;

	if (!s->n_slots)
		return NULL;
	slot = *find_slot(s, task, unit);
	return slot == NO_SLOT ? NULL : &s->units[slot];
}

/* Room for one more unit: at most half of the slots are in use. */
static int grow(struct touched_set *s)
{
	size_t cap = s->cap_units ? s->cap_units * 2 : 64;
	struct touched_unit *units;
	uint32_t *slots;

	if (s->n_units < s->cap_units)
		return 0;
	if (cap > MOST_UNITS)
		return -1;
	slots = malloc(cap * 2 * sizeof(*slots));
	if (!slots)
		return -1;
	units = realloc(s->units, cap * sizeof(*units));
	if (!units) {
		free(slots);
		return -1;
	}
	free(s->slots);
	s->units = units;
	s->cap_units = cap;
	s->slots = slots;
	s->n_slots = cap * 2;
	memset(slots, 0xff, s->n_slots * sizeof(*slots));
	for (size_t i = 0; i < s->n_units; i++)
		*find_slot(s, units[i].task, units[i].unit) = (uint32_t)i;
	return 0;
}

static struct touched_unit *want_unit(struct touched_set *s, size_t task, uint64_t unit)
{
	struct touched_unit *u;
	uint32_t *slot;

	if (grow(s))
		return NULL;
	slot = find_slot(s, task, unit);
	if (*slot == NO_SLOT) {
		*slot = (uint32_t)s->n_units;
		u = &s->units[s->n_units++];
		*u = (struct touched_unit){.task = task, .unit = unit};
	}
	return &s->units[*slot];
}

static uint64_t count_bits(uint64_t word)
{
	return (uint64_t)__builtin_popcountll(word);
}

static void note_resident(struct touched_set *s, struct touched_unit *u, const uint64_t *resident)
{
	for (size_t i = 0; i < TOUCHED_WORDS; i++) {
		uint64_t fresh = resident[i] & ~u->resident[i];

		u->resident[i] |= fresh;
		s->counts.resident += count_bits(fresh);
		s->counts.resident_touched += count_bits(fresh & u->touched[i]);
	}
}

static void note_touched(struct touched_set *s, struct touched_unit *u, const uint64_t *touched,
			 unsigned scan)
{
	for (size_t i = 0; i < TOUCHED_WORDS; i++) {
		uint64_t fresh = touched[i] & ~u->touched[i];

		u->touched[i] |= fresh;
		s->counts.touched += count_bits(fresh);
		s->counts.resident_touched += count_bits(fresh & u->resident[i]);
		for (; fresh; fresh &= fresh - 1)
			u->scan[i * 64 + (size_t)__builtin_ctzll(fresh)] = (uint16_t)scan;
	}
}

static bool any_bit(const uint64_t *words)
{
	uint64_t any = 0;

	for (size_t i = 0; i < TOUCHED_WORDS; i++)
		any |= words[i];
	return any != 0;
}

int touched_set_add(struct touched_set *s, const struct touched_sight *sight, unsigned scan,
		    struct frem_error *err)
{
	struct touched_unit *u = want_unit(s, sight->task, sight->unit);

	if (!u)
		return frem_oom(err);
	if (!u->scan && any_bit(sight->touched)) {
		u->scan = calloc(TOUCHED_UNIT_PAGES, sizeof(*u->scan));
		if (!u->scan)
			return frem_oom(err);
	}
	if (sight->huge && !u->huge) {
		u->huge = true;
		s->counts.huge_units++;
	}
	if (sight->resident)
		note_resident(s, u, sight->resident);
	if (u->scan)
		note_touched(s, u, sight->touched,
			     scan < TOUCHED_LAST_SCAN ? scan : TOUCHED_LAST_SCAN);
	return 0;
}

void touched_set_counts(const struct touched_set *s, struct touched_counts *ret)
{
	*ret = s->counts;
}

/* Runs under construction; `ms` holds the scan number until the end. */
struct run_list {
	struct touch_run *runs;
	size_t n;
	size_t cap;
	uint64_t pages;
};

static int add_page(struct run_list *l, uint64_t number, uint16_t scan)
{
	struct touch_run *last = l->n ? &l->runs[l->n - 1] : NULL;

	l->pages++;
	if (last && last->ms == scan && last->first + last->pages == number &&
	    last->pages < UINT32_MAX) {
		last->pages++;
		return 0;
	}
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 1024;
		struct touch_run *runs = reallocarray(l->runs, cap, sizeof(*runs));

		if (!runs)
			return -1;
		l->runs = runs;
		l->cap = cap;
	}
	l->runs[l->n++] = (struct touch_run){.first = number, .pages = 1, .ms = scan};
	return 0;
}

static int add_extent(const struct touched_set *s, size_t task, const struct image_extent *e,
		      struct run_list *l)
{
	uint64_t page = e->address >> PAGE_SHIFT, end = page + e->pages;
	uint64_t number = e->first;

	while (page < end) {
		const struct touched_unit *u = find_unit(s, task, page / TOUCHED_UNIT_PAGES);
		uint64_t stop = (page / TOUCHED_UNIT_PAGES + 1) * TOUCHED_UNIT_PAGES;

		stop = stop < end ? stop : end;
		if (!u || !u->scan) {
			number += stop - page;
			page = stop;
			continue;
		}
		for (; page < stop; page++, number++) {
			uint16_t scan = u->scan[page % TOUCHED_UNIT_PAGES];

			if (scan && add_page(l, number, scan))
				return -1;
		}
	}
	return 0;
}

/* A stable counting sort: within a scan the order of task and address stays. */
static int sort_by_scan(struct run_list *l)
{
	_cleanup_free_ size_t *at = calloc(TOUCHED_LAST_SCAN + 2, sizeof(*at));
	struct touch_run *sorted;

	sorted = malloc((l->n ? l->n : 1) * sizeof(*sorted));
	if (!at || !sorted) {
		free(sorted);
		return -1;
	}
	for (size_t i = 0; i < l->n; i++)
		at[l->runs[i].ms + 1]++;
	for (size_t i = 1; i < TOUCHED_LAST_SCAN + 2; i++)
		at[i] += at[i - 1];
	for (size_t i = 0; i < l->n; i++)
		sorted[at[l->runs[i].ms]++] = l->runs[i];
	free(l->runs);
	l->runs = sorted;
	return 0;
}

int touched_set_runs(const struct touched_set *s, const struct image_map *m, const size_t *task_of,
		     const uint32_t *scan_ms, struct touch_run **ret, size_t *ret_n,
		     uint64_t *ret_pages, struct frem_error *err)
{
	struct run_list l = {};
	int r = 0;

	for (size_t i = 0; i < m->n_tasks && !r; i++) {
		const struct image_task *t = &m->tasks[i];

		if (task_of[i] == TOUCHED_NO_TASK)
			continue;
		for (size_t k = 0; k < t->n_extents && !r; k++)
			r = add_extent(s, task_of[i], &t->extents[k], &l);
	}
	if (r || sort_by_scan(&l)) {
		free(l.runs);
		return frem_oom(err);
	}
	for (size_t i = 0; i < l.n; i++)
		l.runs[i].ms = scan_ms[l.runs[i].ms];
	*ret = l.runs;
	*ret_n = l.n;
	*ret_pages = l.pages;
	return 0;
}

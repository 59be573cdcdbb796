/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "huge.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "huge_split.h"

#define UNIT_PAGES TOUCHED_UNIT_PAGES

/*
 * A unit is looked at after 5 ms, 10 ms, 20 ms and so on. It is done with as soon as half of it was
 * touched: then all of it may count. Or when next to nothing came while the program ran as long
 * again, but not before it ran for the least time, for programs that go from one thing to the next:
 * small pages slow a program down by up to 40 % of its accesses to them, so this costs 0.4 x 40 ms
 * in all, however many units there are. Or when its time is over and others wait; it doubles each
 * time the unit is looked at again.
 */
#define FIRST_LOOK_NS (5 * NSEC_PER_MSEC)
#define LAST_GAP_NS (500 * NSEC_PER_MSEC)
#define LEAST_RUN_NS (40 * NSEC_PER_MSEC)
#define FIRST_WATCH_NS NSEC_PER_SEC
#define QUIET_PERCENT 1u

/* As many units have to be known before others are judged by them without being looked at ... */
#define LEAST_KNOWN 16u
#define LEAST_JUDGES 2u
/* ... and from this many pages a unit on, in the mean, that is what is done: looking would disturb
 * the program for nothing. One in a second is looked at all the same, lest the program change. */
#define DENSE_PAGES (UNIT_PAGES * 4 / 5)
#define SAMPLE_GAP_NS NSEC_PER_SEC
/* Recent units tell more: beyond this many known, the older ones' weight is halved. */
#define MOST_KNOWN 256u

/* Our own processor time at most, for first looks and for further ones. */
#define CPU_PERCENT 4u
#define CPU_PERCENT_AGAIN 1u

#define MOST_LOOKS 10u
#define JOIN_TRIES 3u

enum unit_state {
	UNIT_UNTOUCHED,
	UNIT_WAITING, /* touched, to be looked at */
	UNIT_WATCHED, /* apart */
	UNIT_KNOWN,
	UNIT_REFUSED, /* cannot be taken apart: shared with another process, or locked in memory */
	UNIT_ONCE,    /* was touched, but not while it was looked at */
};

struct huge_unit {
	size_t task;
	uint64_t unit;
	enum unit_state state;
	unsigned scan;	 /* that saw it touched first */
	unsigned looked; /* how often it was taken apart before */
	unsigned pages;	 /* touched while it was looked at */
	unsigned told;	 /* of these, in the sum of known pages */
	uint64_t seen[TOUCHED_WORDS];

	/* while it is apart */
	uint64_t since;	     /* when it was taken apart, */
	uint64_t run_since;  /* by the program's clock */
	uint64_t last_run;   /* how long the program ran then until pages were counted last, */
	unsigned last_pages; /* and how many there were */
	uint64_t gap;	     /* to the next look */
	uint64_t due;	     /* the next look or, once it is not watched any more, try to join it */
	bool settled;	     /* nothing more is to be expected */
};

/* Units in no order. */
struct unit_list {
	size_t *units;
	size_t n;
};

struct huge_pages {
	struct bpf_walker *walker;
	const struct tracked_task *tasks;
	huge_in_place in_place;
	void *arg;
	struct splitter *splitter;
	struct huge_unit *units; /* by task and unit: those that the first scan found */
	size_t n_units, cap_units;
	struct unit_list waiting; /* for their first look */
	struct unit_list again;	  /* looked at, but not settled */
	size_t apart[SPLITTER_MOST_APART];
	size_t n_apart;
	unsigned scan;		     /* the latest */
	uint64_t known, known_pages; /* recently */
	uint64_t pages_in_set;	     /* of known ones, in all */
	uint64_t sample_due;
	uint64_t random;
};

int huge_new(struct huge_pages **ret, struct bpf_walker *w, const struct tracked_task *tasks,
	     size_t n_tasks, huge_in_place in_place, void *arg, struct frem_error *err)
{
	struct huge_pages *h = calloc(1, sizeof(*h));
	int r;

	if (!h)
		return frem_oom(err);
	h->walker = w;
	h->tasks = tasks;
	h->in_place = in_place;
	h->arg = arg;
	h->random = clock_ns() | 1;
	r = splitter_new(&h->splitter, n_tasks, err);
	if (r < 0) {
		huge_free(h);
		return r;
	}
	*ret = h;
	return 0;
}

/* ---- what scans see ---- */

static struct huge_unit *find_unit(struct huge_pages *h, size_t task, uint64_t unit)
{
	size_t low = 0, high = h->n_units;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		struct huge_unit *u = &h->units[middle];

		if (u->task == task && u->unit == unit)
			return u;
		if (u->task < task || (u->task == task && u->unit < unit))
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* Units come in order; one that does not is not looked after. */
static bool comes_last(const struct huge_pages *h, size_t task, uint64_t unit)
{
	const struct huge_unit *last = h->n_units ? &h->units[h->n_units - 1] : NULL;

	return !last || last->task < task || (last->task == task && last->unit < unit);
}

static int grow_list(struct unit_list *l, size_t cap)
{
	size_t *units = reallocarray(l->units, cap, sizeof(*units));

	if (!units)
		return -1;
	l->units = units;
	return 0;
}

/* A list has room for all units. */
static void put(const struct huge_pages *h, struct unit_list *l, const struct huge_unit *u)
{
	l->units[l->n++] = (size_t)(u - h->units);
}

/* A random one, so that those that were looked at stand for those that were not. */
static struct huge_unit *take(struct huge_pages *h, struct unit_list *l)
{
	size_t i, unit;

	h->random ^= h->random << 13; /* Marsaglia's xorshift */
	h->random ^= h->random >> 7;
	h->random ^= h->random << 17;
	i = h->random % l->n;
	unit = l->units[i];
	l->units[i] = l->units[--l->n];
	return &h->units[unit];
}

static int add_unit(struct huge_pages *h, size_t task, uint64_t unit, struct frem_error *err)
{
	if (h->n_units == h->cap_units) {
		size_t cap = h->cap_units ? h->cap_units * 2 : 64;
		struct huge_unit *units = reallocarray(h->units, cap, sizeof(*units));

		if (!units)
			return frem_oom(err);
		h->units = units;
		if (grow_list(&h->waiting, cap) || grow_list(&h->again, cap))
			return frem_oom(err);
		h->cap_units = cap;
	}
	h->units[h->n_units++] = (struct huge_unit){.task = task, .unit = unit};
	return 0;
}

static bool any_bit(const uint64_t *words)
{
	uint64_t any = 0;

	for (size_t i = 0; i < TOUCHED_WORDS; i++)
		any |= words[i];
	return any != 0;
}

/* The scan as which pages count that are seen touched now: when the unit was seen touched, if it is
 * looked at for the first time. */
static unsigned scan_of(const struct huge_pages *h, const struct huge_unit *u)
{
	return u->looked ? h->scan : u->scan;
}

/* Takes in what was touched in a unit that is apart; `touched` keeps what is new. */
static void note_pages(struct huge_unit *u, uint64_t *touched)
{
	for (size_t i = 0; i < TOUCHED_WORDS; i++) {
		touched[i] &= ~u->seen[i];
		u->seen[i] |= touched[i];
		u->pages += (unsigned)__builtin_popcountll(touched[i]);
	}
}

int huge_saw(struct huge_pages *h, size_t task, const struct young_record *r, uint64_t *touched,
	     unsigned *scan, struct frem_error *err)
{
	struct huge_unit *u;
	bool any = any_bit(touched);
	int k;

	h->scan = *scan;
	if (r->huge)
		memset(touched, 0, TOUCHED_WORDS * sizeof(*touched));
	if (r->huge && *scan == 1 && comes_last(h, task, r->unit)) {
		k = add_unit(h, task, r->unit, err);
		if (k < 0)
			return k;
	}
	/* One that was not there at first is new memory, or was known in small pages so far. */
	u = h->n_units ? find_unit(h, task, r->unit) : NULL;
	if (!u)
		return 0;
	if (r->huge && any && u->state == UNIT_UNTOUCHED) {
		u->state = UNIT_WAITING;
		u->scan = *scan;
		put(h, &h->waiting, u);
	} else if (!r->huge && u->state == UNIT_WATCHED) {
		note_pages(u, touched);
		*scan = scan_of(h, u);
	}
	return 0;
}

/* ---- looking at units ---- */

/* Adds pages to the set, best effort: without memory for them they are missing. */
static void add_pages(struct touched_set *set, const struct huge_unit *u, const uint64_t *pages,
		      unsigned scan)
{
	struct touched_sight sight = {
		.task = u->task, .unit = u->unit, .huge = true, .touched = pages};

	touched_set_add(set, &sight, scan, NULL);
}

static void add_whole(struct touched_set *set, const struct huge_unit *u, unsigned scan)
{
	uint64_t all[TOUCHED_WORDS];

	memset(all, 0xff, sizeof(all));
	add_pages(set, u, all, scan);
}

struct look {
	uint64_t unit;
	bool found; /* the unit is there, as in the image, ... */
	bool huge;  /* ... and is one huge page */
	uint64_t touched[TOUCHED_WORDS];
};

static int take_look(void *arg, const struct young_record *r, struct frem_error *err)
{
	struct look *look = arg;

	(void)err;
	if (r->unit == look->unit) {
		look->found = true;
		look->huge = r->huge != 0;
		memcpy(look->touched, r->touched, sizeof(look->touched));
	}
	return 0;
}

static void look_at(struct huge_pages *h, const struct huge_unit *u, struct look *ret)
{
	const struct tracked_task *t = &h->tasks[u->task];
	struct bpf_walk walk = {
		.link = t->link,
		.expected = t->identity,
		.present = true,
		.resume = u->unit << YOUNG_UNIT_SHIFT,
		.until = (u->unit + 1) << YOUNG_UNIT_SHIFT,
	};

	*ret = (struct look){.unit = u->unit};
	if (!t->gone)
		bpf_walker_next(h->walker, &walk, take_look, ret, NULL);
	if (!h->in_place(h->arg, u->task, u->unit)) /* asked last: it was there all the time */
		ret->found = ret->huge = false;
}

static bool dense(const struct huge_unit *u)
{
	return u->pages * 2 >= UNIT_PAGES;
}

/* Whether next to nothing has come while the program ran as long again. */
static bool settles(struct huge_pages *h, struct huge_unit *u)
{
	pid_t pid = h->tasks[u->task].pid;
	uint64_t run = splitter_program_ns(h->splitter, u->task, pid) - u->run_since;
	unsigned more = u->pages - u->last_pages;

	if (run < 2 * u->last_run)
		return false;
	u->last_run = run;
	u->last_pages = u->pages;
	return u->pages && run >= LEAST_RUN_NS && more * 100 <= u->pages * QUIET_PERCENT;
}

static void become_known(struct huge_pages *h, struct touched_set *set, struct huge_unit *u)
{
	unsigned pages = dense(u) ? UNIT_PAGES : u->pages;

	u->state = u->pages ? UNIT_KNOWN : UNIT_ONCE;
	if (!u->pages)
		return;
	if (dense(u))
		add_whole(set, u, scan_of(h, u));
	h->known += !u->told;
	h->known_pages += pages - u->told;
	h->pages_in_set += pages - u->told;
	u->told = pages;
	if (h->known > MOST_KNOWN) {
		h->known /= 2;
		h->known_pages /= 2;
	}
}

/* As long as nothing is known, a few at a time are enough: it may turn out that no more are needed.
 */
static bool enough_apart(const struct huge_pages *h)
{
	return h->known < LEAST_KNOWN && h->n_apart >= LEAST_KNOWN;
}

/* A watched unit turned out not to be apart: it has never been; or the kernel has put it together;
 * or it is gone. */
static void leave(struct huge_pages *h, struct touched_set *set, struct huge_unit *u,
		  const struct look *look)
{
	if (look->huge && !u->last_run && !u->looked) {
		u->state = UNIT_REFUSED;
		return;
	}
	become_known(h, set, u);
	if (look->huge)
		put(h, &h->again, u);
}

/* Looks at a watched unit; returns true if it is apart no more. */
static bool watch(struct huge_pages *h, struct touched_set *set, struct huge_unit *u)
{
	uint64_t age = clock_ns() - u->since;
	struct look look;

	look_at(h, u, &look);
	if (!look.found || look.huge) {
		splitter_forget(h->splitter);
		leave(h, set, u, &look);
		return true;
	}
	note_pages(u, look.touched);
	add_pages(set, u, look.touched, scan_of(h, u));
	u->settled = settles(h, u) || dense(u);
	if (u->settled || (age >= FIRST_WATCH_NS << u->looked &&
			   (enough_apart(h) || splitter_crowded(h->splitter))))
		become_known(h, set, u);
	u->gap = u->gap * 2 < LAST_GAP_NS ? u->gap * 2 : LAST_GAP_NS;
	u->due = clock_ns() + u->gap;
	return false;
}

static int join(struct huge_pages *h, const struct huge_unit *u)
{
	const struct tracked_task *t = &h->tasks[u->task];

	if (!t->gone)
		return splitter_join(h->splitter, u->task, t->pid, u->unit);
	splitter_forget(h->splitter);
	return 0;
}

/* Does what is due for a unit that is apart; returns true if it is not any more. */
static bool tend_unit(struct huge_pages *h, struct touched_set *set, struct huge_unit *u)
{
	if (u->state == UNIT_WATCHED && watch(h, set, u))
		return true;
	if (u->state == UNIT_WATCHED)
		return false;
	if (join(h, u)) {
		u->due = clock_ns() + u->gap;
		return false;
	}
	u->looked += u->looked < MOST_LOOKS;
	if (!u->settled)
		put(h, &h->again, u);
	return true;
}

/* ---- choosing units ---- */

static void start_watching(struct huge_pages *h, struct huge_unit *u)
{
	const struct tracked_task *t = &h->tasks[u->task];

	if (t->gone || !h->in_place(h->arg, u->task, u->unit))
		return;
	splitter_split(h->splitter, u->task, t->pid, u->unit);
	u->state = UNIT_WATCHED;
	u->since = clock_ns();
	u->run_since = splitter_program_ns(h->splitter, u->task, t->pid);
	u->last_run = 0;
	u->last_pages = u->pages;
	u->gap = FIRST_LOOK_NS;
	u->due = u->since + u->gap;
	h->apart[h->n_apart++] = (size_t)(u - h->units);
}

static uint64_t mean_pages(const struct huge_pages *h)
{
	return h->known ? h->known_pages / h->known : UNIT_PAGES;
}

static void count_whole(struct huge_pages *h, struct touched_set *set, struct huge_unit *u)
{
	add_whole(set, u, scan_of(h, u));
	u->state = UNIT_KNOWN;
}

/* Where nearly all pages of the units are used, the others are not worth looking at. */
static void skip_if_dense(struct huge_pages *h, struct touched_set *set)
{
	uint64_t now = clock_ns();
	size_t keep = 0;

	if (h->known < LEAST_KNOWN || mean_pages(h) < DENSE_PAGES)
		return;
	if (now >= h->sample_due) {
		h->sample_due = now + SAMPLE_GAP_NS;
		keep = 1;
	}
	while (h->waiting.n > keep)
		count_whole(h, set, take(h, &h->waiting));
	while (h->again.n)
		count_whole(h, set, take(h, &h->again));
}

uint64_t huge_tend(struct huge_pages *h, struct touched_set *set)
{
	uint64_t due = UINT64_MAX, cpu = clock_thread_cpu_ns();

	for (size_t i = h->n_apart; i-- > 0;) {
		struct huge_unit *u = &h->units[h->apart[i]];

		if (u->due <= clock_ns() && tend_unit(h, set, u))
			h->apart[i] = h->apart[--h->n_apart];
	}
	skip_if_dense(h, set);
	while (h->waiting.n && !enough_apart(h) && splitter_may(h->splitter, CPU_PERCENT, &due))
		start_watching(h, take(h, &h->waiting));
	while (!h->waiting.n && h->again.n && !enough_apart(h) &&
	       splitter_may(h->splitter, CPU_PERCENT_AGAIN, &due))
		start_watching(h, take(h, &h->again));
	for (size_t i = 0; i < h->n_apart; i++)
		if (h->units[h->apart[i]].due < due)
			due = h->units[h->apart[i]].due;
	splitter_charge(h->splitter, clock_thread_cpu_ns() - cpu);
	return due;
}

/* ---- the end ---- */

static void join_all(struct huge_pages *h)
{
	for (unsigned tries = 0; h->n_apart && tries < JOIN_TRIES; tries++)
		for (size_t i = h->n_apart; i-- > 0;) {
			const struct huge_unit *u = &h->units[h->apart[i]];

			if (!join(h, u))
				h->apart[i] = h->apart[--h->n_apart];
		}
}

void huge_free(struct huge_pages *h)
{
	if (!h)
		return;
	join_all(h);
	splitter_free(h->splitter);
	free(h->units);
	free(h->waiting.units);
	free(h->again.units);
	free(h);
}

/* A touched unit of which it is not known which pages. */
struct leftover {
	int rank;
	const struct huge_unit *unit;
};

static int rank_of(const struct huge_unit *u)
{
	switch (u->state) {
	case UNIT_WAITING:
		return 0;
	case UNIT_REFUSED:
		return 1;
	case UNIT_ONCE:
		return 2;
	default:
		return -1;
	}
}

static int by_likelihood(const void *a, const void *b)
{
	const struct leftover *x = a, *y = b;

	if (x->rank != y->rank)
		return x->rank < y->rank ? -1 : 1;
	if (x->unit->scan != y->unit->scan)
		return x->unit->scan < y->unit->scan ? -1 : 1;
	return x->unit < y->unit ? -1 : x->unit > y->unit;
}

/*
 * How many of n leftovers to add: as many as the pages of the others promise will leave the set
 * below twice what was really touched, with an eighth to spare for the estimate.
 */
static size_t how_many(const struct huge_pages *h, size_t n)
{
	uint64_t mean = mean_pages(h), room;

	if (h->known < LEAST_JUDGES || mean * 2 >= UNIT_PAGES)
		return n;
	room = (h->pages_in_set * 3 + n * mean * 7) / 4 / UNIT_PAGES;
	return room < n ? (size_t)room : n;
}

/* Those that are added although most of their pages are likely not used come last of all. */
static void add_leftovers(struct huge_pages *h, struct touched_set *set)
{
	struct leftover *l = calloc(h->n_units ? h->n_units : 1, sizeof(*l));
	size_t n = 0, most;

	if (!l)
		return;
	for (size_t i = 0; i < h->n_units; i++)
		if (rank_of(&h->units[i]) >= 0)
			l[n++] = (struct leftover){rank_of(&h->units[i]), &h->units[i]};
	qsort(l, n, sizeof(*l), by_likelihood);
	most = how_many(h, n);
	for (size_t i = 0; i < most; i++)
		add_whole(set, l[i].unit,
			  mean_pages(h) * 2 >= UNIT_PAGES ? l[i].unit->scan : h->scan);
	log_debug("tracking: huge pages: %lu known, %lu pages each; of %zu others %zu count",
		  (unsigned long)h->known, (unsigned long)mean_pages(h), n, most);
	free(l);
}

void huge_finish(struct huge_pages *h, struct touched_set *set)
{
	struct huge_counts c;

	for (size_t i = 0; i < h->n_apart; i++) {
		struct huge_unit *u = &h->units[h->apart[i]];

		if (u->state == UNIT_WATCHED && clock_ns() - u->since >= FIRST_WATCH_NS)
			become_known(h, set, u);
		else if (u->state == UNIT_WATCHED) /* too short to judge others by it */
			u->state = u->pages ? UNIT_KNOWN : UNIT_ONCE;
	}
	join_all(h);
	add_leftovers(h, set);
	huge_counts(h, &c);
	log_debug(
		"tracking: huge pages: %zu in all, %u taken apart, %u put together, %u apart; the "
		"program waited for %.3f ms",
		c.units, c.splitter.splits, c.splitter.joins, c.splitter.apart,
		(double)c.splitter.stall_ns / NSEC_PER_MSEC);
}

void huge_counts(const struct huge_pages *h, struct huge_counts *ret)
{
	*ret = (struct huge_counts){
		.units = h->n_units, .waiting = h->waiting.n, .again = h->again.n};
	for (size_t i = 0; i < h->n_units; i++) {
		ret->known += h->units[i].state == UNIT_KNOWN;
		ret->refused += h->units[i].state == UNIT_REFUSED;
	}
	splitter_totals(h->splitter, &ret->splitter);
}

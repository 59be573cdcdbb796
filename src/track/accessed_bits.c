/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The backend "accessed-bits": clears the accessed bits in the program's page tables through
 * /proc/PID/clear_refs (Documentation/filesystems/proc.rst), later reads them with a BPF iterator
 * (young.bpf.c). The program is neither stopped nor changed for it.
 *
 * What is at an address changes while the program runs, so what a scan sees there goes through the
 * address space's view, which events keep up to date (events.bpf.c). Why a touch never counts for
 * another page than the one touched, and none is missed:
 *  - A page's bits are told before the event that it is gone, whatever a scan sees or not.
 *  - Events are taken in between the reading of page tables and the use of what was read. A page
 *    that was gone by the time of the reading has left the view then. One that went later has, too:
 *    its sight is dropped, but an event has told the same.
 *  - A page moved keeps its bits. If it moved after the reading began, the sight may be of what was
 *    there before: it is dropped. The next scan sees the bits again, in their new place.
 *  - A child's events come after the one that tells of the child, and its view then is its
 *    parent's. It is read from the next scan on; its bits wait.
 * madvise is told just before it happens, not while it excludes others: what a second thread
 * touches or maps there in between is mistaken. So is a change that the kernel refuses although
 * its arguments look right, which programs do not live with for long.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>

#include "arm.h"
#include "backend.h"
#include "base/clock.h"
#include "base/log.h"
#include "bpf_walker.h"
#include "events.h"
#include "huge.h"
#include "spaces.h"
#include "young.h"

/* There is room for as many events as a program can cause in that time. */
#define FOLLOW_GAP_NS (100 * NSEC_PER_MSEC)

_Static_assert(YOUNG_UNIT_PAGES == TOUCHED_UNIT_PAGES, "one unit everywhere");

struct accessed_bits {
	struct backend base;
	struct bpf_walker *walker;
	struct tracked_task *tasks;
	size_t n_tasks;
	struct huge_pages *huge;
	struct events *events; /* NULL: this kernel does not tell any */
	struct spaces spaces;
	uint64_t missed;	   /* events: as many were lamented */
	uint64_t read_ns, take_ns; /* of all scans */
	bool swapping;		   /* seen by the last scan */

	/* where sights go to */
	struct touched_set *set;
	unsigned scan; /* the present one or, between scans, the next */
};

static struct accessed_bits *of(struct backend *b)
{
	return (struct accessed_bits *)b;
}

static void accessed_bits_close(struct backend *base)
{
	struct accessed_bits *b = of(base);

	if (!b)
		return;
	events_free(b->events);
	spaces_done(&b->spaces);
	huge_free(b->huge);
	for (size_t i = 0; i < b->n_tasks; i++)
		bpf_link__destroy(b->tasks[i].link);
	free(b->tasks);
	bpf_walker_free(b->walker);
	free(b);
}

static void open_events(struct accessed_bits *b)
{
	struct page_layout layout;
	struct frem_error why = {};

	bpf_walker_layout(b->walker, &layout);
	if (events_new(&b->events, &layout, &why) < 0)
		log_notice("tracking: %s, ignoring: what the program unmaps, its children and "
			   "direct I/O are not noticed",
			   why.text);
}

static int accessed_bits_open(struct backend **ret, struct frem_error *err)
{
	struct accessed_bits *b = calloc(1, sizeof(*b));
	int r;

	if (!b)
		return frem_oom(err);
	b->base.ops = &accessed_bits_backend;
	r = bpf_walker_new(&b->walker, err);
	if (r < 0) {
		accessed_bits_close(&b->base);
		return r;
	}
	open_events(b);
	*ret = &b->base;
	return 0;
}

static void accessed_bits_prepare(struct backend *base, pid_t root)
{
	if (of(base)->events)
		events_attach(of(base)->events);
	prepare_tree(of(base)->walker, root);
}

/* A sight of image pages, in the image's own addresses: a view_take. */
static int take_sight(void *arg, const struct touched_sight *seen, struct frem_error *err)
{
	struct accessed_bits *b = arg;
	struct young_record record = {.unit = seen->unit, .huge = seen->huge};
	uint64_t touched[TOUCHED_WORDS];
	struct touched_sight sight = *seen;
	unsigned scan = b->scan;
	int r;

	memcpy(touched, seen->touched, sizeof(touched));
	sight.touched = touched;
	r = huge_saw(b->huge, sight.task, &record, touched, &scan, err);
	return r < 0 ? r : touched_set_add(b->set, &sight, scan, err);
}

/* With all tasks armed. */
static int track_spaces(struct accessed_bits *b, struct frem_error *err)
{
	_cleanup_free_ uint64_t *mms = calloc(b->n_tasks ? b->n_tasks : 1, sizeof(*mms));
	int r = mms ? 0 : frem_oom(err);

	b->spaces.take = take_sight;
	b->spaces.arg = b;
	for (size_t i = 0; i < b->n_tasks && !r; i++) {
		if (b->tasks[i].gone)
			continue;
		mms[i] = b->tasks[i].identity.mm;
		r = spaces_add(&b->spaces, (uint32_t)i, &b->tasks[i], err);
	}
	if (r < 0 || !b->events)
		return r;
	events_attach(b->events);
	return events_track(b->events, mms, b->n_tasks, err);
}

static void follow_events(struct accessed_bits *b)
{
	if (b->events)
		events_drain(b->events, spaces_follow, &b->spaces);
}

/* A huge_in_place. */
static bool unit_in_place(void *arg, size_t task, uint64_t unit)
{
	uint64_t start = unit * TOUCHED_UNIT_PAGES, end = start + TOUCHED_UNIT_PAGES;
	struct accessed_bits *b = arg;
	struct view_stretch s;
	const struct space *space;

	follow_events(b);
	space = spaces_find(&b->spaces, (uint32_t)task);
	return space && view_find(space->view, start, end, &s) && s.task == task &&
	       s.start <= start && s.end >= end && s.image == s.start;
}

static int accessed_bits_arm(struct backend *base, const pid_t *pids, size_t n,
			     struct frem_error *err)
{
	struct accessed_bits *b = of(base);
	int r;

	b->tasks = calloc(n ? n : 1, sizeof(*b->tasks));
	if (!b->tasks)
		return frem_oom(err);
	b->n_tasks = n;
	for (size_t i = 0; i < n; i++) {
		struct tracked_task *t = &b->tasks[i];
		struct frem_error why = {};

		t->pid = pids[i];
		r = arm_task(b->walker, t, &why);
		if (r == -ESRCH)
			t->gone = true;
		else if (r < 0) {
			*(err ? err : &why) = why;
			return frem_context(err, r, "process %d", (int)t->pid);
		}
	}
	r = track_spaces(b, err);
	return r < 0 ? r : huge_new(&b->huge, b->walker, b->tasks, n, unit_in_place, b, err);
}

static uint64_t missed_events(const struct accessed_bits *b)
{
	return b->spaces.failed + (b->events ? events_lost(b->events) : 0);
}

struct scan_walk {
	struct accessed_bits *b;
	uint32_t number;
	uint64_t began;
};

static int take_record(void *arg, const struct young_record *r, struct frem_error *err)
{
	const struct scan_walk *w = arg;
	uint64_t touched[YOUNG_WORDS], present[YOUNG_WORDS];
	const struct space *space;
	struct touched_sight sight = {
		.unit = r->unit,
		.huge = r->huge != 0,
		.touched = touched,
		.resident = w->b->scan == 1 ? present : NULL,
	};

	follow_events(w->b);
	space = spaces_find(&w->b->spaces, w->number);
	if (!space)
		return 0;
	memcpy(touched, r->touched, sizeof(touched));
	memcpy(present, r->present, sizeof(present));
	return view_see(space->view, &sight, w->began, take_sight, w->b, err);
}

/* -ESRCH: it cannot be read any more. */
static int scan_space(struct accessed_bits *b, const struct space *space, struct frem_error *err)
{
	struct scan_walk w = {.b = b, .number = space->number};
	struct tracked_task *t = space->task;
	struct bpf_walk walk = {.expected = t->identity, .present = b->scan == 1};
	int r;

	/* a child, or one that has never been armed */
	if (!t->link && (!t->pid || bpf_walker_attach(b->walker, t->pid, &t->link, NULL) < 0))
		return -ESRCH;
	walk.link = t->link;
	do {
		w.began = clock_ns();
		r = bpf_walker_next(b->walker, &walk, take_record, &w, err);
	} while (r > 0 && spaces_find(&b->spaces, w.number));
	b->read_ns += walk.read_ns;
	b->take_ns += walk.take_ns;
	if (!spaces_find(&b->spaces, w.number))
		return 0; /* it ended meanwhile, and t may be no more */
	b->swapping |= task_swapped(t, walk.swapped);
	return r;
}

static bool end_is_told(const struct accessed_bits *b)
{
	return b->events && events_tell_end(b->events) && !missed_events(b);
}

static int accessed_bits_scan(struct backend *base, struct touched_set *set, unsigned scan,
			      size_t *ret_alive, struct frem_error *err)
{
	struct accessed_bits *b = of(base);
	uint32_t number = 0;
	struct space *space;

	b->set = set;
	b->scan = scan;
	b->swapping = false;
	follow_events(b);
	for (; (space = spaces_from(&b->spaces, number)); number++) {
		pid_t pid = space->task->pid;
		int r;

		number = space->number;
		r = scan_space(b, space, err);
		if (r == -ESRCH && !end_is_told(b))
			spaces_end(&b->spaces, number);
		else if (r < 0 && r != -ESRCH)
			return frem_context(err, r, "process %d", (int)pid);
	}
	follow_events(b);
	if (missed_events(b) && !b->missed)
		log_notice("tracking: the program's memory changes too fast to follow, ignoring: "
			   "the touch set may be less exact");
	b->missed = missed_events(b);
	b->scan = scan + 1;
	*ret_alive = b->spaces.n;
	return 0;
}

static bool accessed_bits_swapping(const struct backend *base)
{
	return ((const struct accessed_bits *)base)->swapping;
}

static double accessed_bits_insert_share(const struct backend *base)
{
	const struct accessed_bits *b = (const struct accessed_bits *)base;

	uint64_t all = b->read_ns + b->take_ns;

	return all ? (double)b->take_ns / (double)all : 0;
}

static uint64_t accessed_bits_tend(struct backend *base, struct touched_set *set)
{
	struct accessed_bits *b = of(base);
	uint64_t due = huge_tend(b->huge, set), most = clock_ns() + FOLLOW_GAP_NS;

	b->set = set;
	follow_events(b);
	return due < most ? due : most;
}

static void accessed_bits_finish(struct backend *base, struct touched_set *set)
{
	if (of(base)->events)
		events_detach(of(base)->events);
	huge_finish(of(base)->huge, set);
}

const struct backend_ops accessed_bits_backend = {
	.name = "accessed-bits",
	.open = accessed_bits_open,
	.prepare = accessed_bits_prepare,
	.arm = accessed_bits_arm,
	.scan = accessed_bits_scan,
	.tend = accessed_bits_tend,
	.finish = accessed_bits_finish,
	.swapping = accessed_bits_swapping,
	.insert_share = accessed_bits_insert_share,
	.close = accessed_bits_close,
};

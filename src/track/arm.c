/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Arming in two phases, as live migration copies memory: while the program runs, all accessed bits
 * are cleared; while it is frozen, only those of pages that it has accessed since.
 *
 * Either phase sweeps: it walks the page tables and makes cold (tlb.h) the pages whose bit is set.
 * clear_refs would look at the description of every page of the program instead, 8 to 12 ms a GB,
 * and keep its page faults waiting for as long.
 *
 * Why no later access is hidden by a translation that a processor has cached:
 *  - A processor sets the accessed bit before it caches a translation. So, unless somebody clears
 *    bits without a flush, a page with a cached translation has its bit set, and the walk finds it.
 *  - Making it cold clears the bit and flushes. While the program is frozen no processor uses its
 *    address space, and the kernel counts the flushes of each: a processor that was elsewhere
 *    during one, whatever its range, drops everything when it comes back.
 *  - Bits are cleared without a flush by reclaim, by others who write to clear_refs, and by this
 *    file for pages that cannot be made cold. So the program is not left without at least one flush
 *    while it is frozen: the kernel's own count of them says whether there was one, and if there
 *    was none, drop_translations() makes one. Only a kernel with soft-dirty bits has no way to, and
 *    there only where the program, frozen, has not one accessed page that can be made cold.
 *
 * Pages that are not the program's alone, or locked, cannot be made cold: a second walk counts what
 * is left, and if it is more than a trifle, clear_refs clears it.
 */
#include "arm.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <sys/pidfd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "criu/tree.h"
#include "tlb.h"

#define PAGE_SIZE (UINT64_C(1) << (YOUNG_UNIT_SHIFT - 9))
/* A range costs as much as so many pages: smaller gaps are gone over. */
#define GAP_PAGES 6u
/* A trifle: one page in so many of a program that is not small. What was faulted in a moment ago
 * waits for its place in a queue for each processor, and cannot be made cold until then; it was
 * used just before the checkpoint, and is likely to be used right after. Of a small program all
 * pages are looked at instead, in half a millisecond. */
#define SMALL_PAGES 16384u
#define PAGES_A_TRIFLE 2048u

/* One walk over a process, making cold what it finds if there is a pidfd. */
struct sweep {
	int fd;
	struct bpf_walk walk;
	uint64_t accessed; /* pages */
	size_t n;
	struct iovec ranges[COLD_RANGES];
};

static void sweep_out(struct sweep *s)
{
	make_cold(s->fd, s->ranges, s->n);
	s->n = 0;
}

/* Pages from `from` up to `to` of a unit. */
static void add_range(struct sweep *s, uint64_t unit, unsigned from, unsigned to)
{
	uint64_t start = (unit << YOUNG_UNIT_SHIFT) + from * PAGE_SIZE;
	struct iovec *last = s->n ? &s->ranges[s->n - 1] : NULL;

	if (last && (uintptr_t)last->iov_base + last->iov_len == start) {
		last->iov_len += (to - from) * PAGE_SIZE;
		return;
	}
	if (s->n == COLD_RANGES)
		sweep_out(s);
	s->ranges[s->n++] = (struct iovec){(void *)(uintptr_t)start, (to - from) * PAGE_SIZE};
}

static bool is_set(const struct young_record *r, unsigned page)
{
	return r->touched[page / 64] >> page % 64 & 1;
}

static unsigned next_accessed(const struct young_record *r, unsigned page)
{
	for (; page < YOUNG_UNIT_PAGES; page = (page / 64 + 1) * 64) {
		uint64_t rest = r->touched[page / 64] >> page % 64;

		if (rest)
			return page + (unsigned)__builtin_ctzll(rest);
	}
	return YOUNG_UNIT_PAGES;
}

/* A huge page is one range: all of its bits are set. */
static int note_accessed(void *arg, const struct young_record *r, struct frem_error *err)
{
	struct sweep *s = arg;
	unsigned from, to, next = next_accessed(r, 0);

	(void)err;
	while (next < YOUNG_UNIT_PAGES) {
		for (from = next, to = from; next < YOUNG_UNIT_PAGES && next - to <= GAP_PAGES;
		     next = next_accessed(r, to)) {
			for (to = next; to < YOUNG_UNIT_PAGES && is_set(r, to); to++)
				s->accessed++;
		}
		if (s->fd >= 0)
			add_range(s, r->unit, from, to);
	}
	return 0;
}

/* s->walk.link and s->fd are set. */
static int sweep(struct bpf_walker *w, struct sweep *s, struct frem_error *err)
{
	int r;

	s->walk.resume = 0;
	s->accessed = 0;
	s->n = 0;
	do {
		r = bpf_walker_next(w, &s->walk, note_accessed, s, err);
		sweep_out(s);
	} while (r > 0);
	return r;
}

/* Enough, unless the program is very fast: what it accesses during the first sweep of all its
 * memory is left for the second, and little of that for when it is frozen. */
#define RUNNING_SWEEPS 2u

static bool a_trifle(const struct sweep *s)
{
	uint64_t all = s->walk.anonymous;
	uint64_t most = all < SMALL_PAGES ? 0 : all / PAGES_A_TRIFLE;

	return s->accessed <= most;
}

/* Whatever fails here is left for when the program is frozen. */
static void prepare_task(struct bpf_walker *w, pid_t pid)
{
	_cleanup_close_ int fd = pidfd_open(pid, 0);
	struct sweep s = {.fd = fd};
	int r = fd < 0 ? -ESRCH : bpf_walker_attach(w, pid, &s.walk.link, NULL);

	for (unsigned i = 0; i < RUNNING_SWEEPS && !r; i++)
		r = sweep(w, &s, NULL);
	bpf_link__destroy(s.walk.link);
}

void prepare_tree(struct bpf_walker *w, pid_t root)
{
	_cleanup_tree_ struct tree tree = {};

	if (tree_read(root, &tree, NULL) < 0)
		return;
	for (size_t i = 0; i < tree.n; i++)
		prepare_task(w, tree.pids[i]);
}

/* With fd -1: counts what is left. */
static int clear_what_is_left(struct bpf_walker *w, struct tracked_task *t, struct sweep *s,
			      struct frem_error *err)
{
	int r;

	s->fd = -1;
	r = sweep(w, s, err);
	if (!r && !a_trifle(s)) {
		log_debug("process %d: %lu pages cannot be made cold", (int)t->pid, s->accessed);
		r = clear_accessed(t->pid, err);
	}
	return r;
}

/* In /proc/PID/stat: faults that had to wait, so far; all threads. */
#define STAT_MAJOR_FAULTS 12

/* Where as much goes as comes, the number stays; but what comes does so by faults. */
bool task_swapped(struct tracked_task *t, uint64_t swapped)
{
	uint64_t before = t->swaps;

	t->swaps = swapped;
	if (swapped)
		t->swaps += (uint64_t)tree_stat_field(t->pid, STAT_MAJOR_FAULTS);
	return t->swaps != before;
}

int arm_task(struct bpf_walker *w, struct tracked_task *t, struct frem_error *err)
{
	_cleanup_close_ int fd = pidfd_open(t->pid, 0);
	struct sweep s = {.fd = fd};
	uint64_t flushes;
	int r = bpf_walker_attach(w, t->pid, &t->link, err);

	s.walk.link = t->link;
	if (!r)
		r = sweep(w, &s, err);
	t->identity = s.walk.expected;
	task_swapped(t, s.walk.swapped);
	flushes = s.walk.flushes;
	if (!r && s.accessed)
		r = clear_what_is_left(w, t, &s, err);
	if (!r && s.walk.flushes == flushes && !drop_translations(t->pid))
		log_debug("process %d: no translation was flushed, ignoring", (int)t->pid);
	return r;
}

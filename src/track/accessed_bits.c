/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The backend "accessed-bits": clears the accessed bits in the program's page tables through
 * /proc/PID/clear_refs (Documentation/filesystems/proc.rst), later reads them with a BPF iterator
 * (young.bpf.c). The program is neither stopped nor changed for it.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/pidfd.h>

#include "backend.h"
#include "base/log.h"
#include "bpf_walker.h"
#include "tlb.h"
#include "young.h"

_Static_assert(YOUNG_UNIT_PAGES == TOUCHED_UNIT_PAGES, "one unit everywhere");

/* Pages shared with another process cannot be used to flush: try this many units of 2 MB. */
#define MOST_FLUSH_ATTEMPTS 32u

struct tracked_task {
	pid_t pid;
	bool gone; /* exited, or another program by now */
	struct bpf_link *link;
	struct young_identity identity;
};

struct accessed_bits {
	struct backend base;
	struct bpf_walker *walker;
	struct tracked_task *tasks;
	size_t n_tasks;
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
	for (size_t i = 0; i < b->n_tasks; i++)
		bpf_link__destroy(b->tasks[i].link);
	free(b->tasks);
	bpf_walker_free(b->walker);
	free(b);
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
	*ret = &b->base;
	return 0;
}

static int note_unit(void *arg, const struct young_record *r, struct frem_error *err)
{
	(void)err;
	*(uint64_t *)arg = r->unit;
	return 0;
}

/*
 * With all threads of the process frozen: makes every processor drop its cached translations of
 * the process's memory before it runs again. Best effort.
 *
 * Since Linux 5.11 clear_refs leaves them alone when it clears accessed bits, and they outlive a
 * freeze where processors tag them by address space: of pages in constant use, up to 4 % were seen
 * to be missed. But the kernel counts the flushes of an address space, and a processor that was
 * elsewhere during one, whatever its range, drops everything when it comes back. So one flush is
 * enough: of the first accessed page that can be had. If no page has its accessed bit set, there is
 * no cached translation either.
 */
static void drop_translations(struct accessed_bits *b, struct tracked_task *t, uint64_t flushes)
{
	struct bpf_walk walk = {.link = t->link, .expected = t->identity, .most = 1};
	_cleanup_close_ int fd = pidfd_open(t->pid, 0);
	struct young_task now;
	uint64_t unit;

	for (unsigned i = 0; fd >= 0 && i < MOST_FLUSH_ATTEMPTS; i++) {
		unit = 0;
		int more = bpf_walker_next(b->walker, &walk, note_unit, &unit, NULL);

		if (unit)
			make_cold(fd, unit << YOUNG_UNIT_SHIFT, UINT64_C(1) << YOUNG_UNIT_SHIFT);
		if (more <= 0 || bpf_walker_identify(b->walker, t->link, &now, NULL) < 0 ||
		    now.flushes != flushes)
			return;
	}
	log_debug("process %d: no translation was flushed, ignoring", (int)t->pid);
}

/* Returns 0, -ESRCH where the task is gone, or another error. */
static int arm_task(struct accessed_bits *b, struct tracked_task *t, struct frem_error *err)
{
	struct young_task now;
	int r = bpf_walker_attach(b->walker, t->pid, &t->link, err);

	if (!r)
		r = bpf_walker_identify(b->walker, t->link, &now, err);
	if (r)
		return r;
	t->identity = now.identity;
	drop_translations(b, t, now.flushes);
	return clear_accessed(t->pid, err);
}

static int accessed_bits_arm(struct backend *base, const pid_t *pids, size_t n,
			     struct frem_error *err)
{
	struct accessed_bits *b = of(base);

	b->tasks = calloc(n ? n : 1, sizeof(*b->tasks));
	if (!b->tasks)
		return frem_oom(err);
	b->n_tasks = n;
	for (size_t i = 0; i < n; i++) {
		struct tracked_task *t = &b->tasks[i];
		struct frem_error why = {};
		int r;

		t->pid = pids[i];
		r = arm_task(b, t, &why);
		if (r == -ESRCH)
			t->gone = true;
		else if (r < 0) {
			*(err ? err : &why) = why;
			return frem_context(err, r, "process %d", (int)t->pid);
		}
	}
	return 0;
}

struct scan_target {
	struct touched_set *set;
	size_t task;
	unsigned scan;
};

static int take_record(void *arg, const struct young_record *r, struct frem_error *err)
{
	const struct scan_target *target = arg;
	uint64_t touched[YOUNG_WORDS], present[YOUNG_WORDS];
	struct touched_sight sight = {
		.task = target->task,
		.unit = r->unit,
		.huge = r->huge != 0,
		.touched = touched,
		.resident = target->scan == 1 ? present : NULL,
	};

	memcpy(touched, r->touched, sizeof(touched));
	memcpy(present, r->present, sizeof(present));
	return touched_set_add(target->set, &sight, target->scan, err);
}

static int scan_task(struct accessed_bits *b, const struct tracked_task *t,
		     struct scan_target *target, struct frem_error *err)
{
	struct bpf_walk walk = {
		.link = t->link,
		.expected = t->identity,
		.present = target->scan == 1,
	};
	int r;

	do {
		r = bpf_walker_next(b->walker, &walk, take_record, target, err);
	} while (r > 0);
	return r;
}

static int accessed_bits_scan(struct backend *base, struct touched_set *set, unsigned scan,
			      size_t *ret_alive, struct frem_error *err)
{
	struct accessed_bits *b = of(base);
	size_t alive = 0;

	for (size_t i = 0; i < b->n_tasks; i++) {
		struct tracked_task *t = &b->tasks[i];
		struct scan_target target = {set, i, scan};
		int r;

		if (t->gone)
			continue;
		r = scan_task(b, t, &target, err);
		if (r == -ESRCH) {
			t->gone = true;
			continue;
		}
		if (r < 0)
			return frem_context(err, r, "process %d", (int)t->pid);
		alive++;
	}
	*ret_alive = alive;
	return 0;
}

const struct backend_ops accessed_bits_backend = {
	.name = "accessed-bits",
	.open = accessed_bits_open,
	.arm = accessed_bits_arm,
	.scan = accessed_bits_scan,
	.close = accessed_bits_close,
};

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The backend "accessed-bits": clears the accessed bits in the program's page tables through
 * /proc/PID/clear_refs (Documentation/filesystems/proc.rst), later reads them with a BPF iterator
 * (young.bpf.c). The program is neither stopped nor changed for it.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>

#include "arm.h"
#include "backend.h"
#include "bpf_walker.h"
#include "huge.h"
#include "young.h"

_Static_assert(YOUNG_UNIT_PAGES == TOUCHED_UNIT_PAGES, "one unit everywhere");

struct accessed_bits {
	struct backend base;
	struct bpf_walker *walker;
	struct tracked_task *tasks;
	size_t n_tasks;
	struct huge_pages *huge;
	uint64_t read_ns, take_ns; /* of all scans */
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
	huge_free(b->huge);
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

static void accessed_bits_prepare(struct backend *base, pid_t root)
{
	prepare_tree(of(base)->walker, root);
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
		r = arm_task(b->walker, t, &why);
		if (r == -ESRCH)
			t->gone = true;
		else if (r < 0) {
			*(err ? err : &why) = why;
			return frem_context(err, r, "process %d", (int)t->pid);
		}
	}
	return huge_new(&b->huge, b->walker, b->tasks, n, err);
}

struct scan_target {
	struct huge_pages *huge;
	struct touched_set *set;
	size_t task;
	unsigned scan;
};

static int take_record(void *arg, const struct young_record *r, struct frem_error *err)
{
	const struct scan_target *target = arg;
	uint64_t touched[YOUNG_WORDS], present[YOUNG_WORDS];
	unsigned scan = target->scan;
	int k;
	struct touched_sight sight = {
		.task = target->task,
		.unit = r->unit,
		.huge = r->huge != 0,
		.touched = touched,
		.resident = target->scan == 1 ? present : NULL,
	};

	memcpy(touched, r->touched, sizeof(touched));
	memcpy(present, r->present, sizeof(present));
	k = huge_saw(target->huge, target->task, r, touched, &scan, err);
	return k < 0 ? k : touched_set_add(target->set, &sight, scan, err);
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
	b->read_ns += walk.read_ns;
	b->take_ns += walk.take_ns;
	return r;
}

static int accessed_bits_scan(struct backend *base, struct touched_set *set, unsigned scan,
			      size_t *ret_alive, struct frem_error *err)
{
	struct accessed_bits *b = of(base);
	size_t alive = 0;

	for (size_t i = 0; i < b->n_tasks; i++) {
		struct tracked_task *t = &b->tasks[i];
		struct scan_target target = {b->huge, set, i, scan};
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

static double accessed_bits_insert_share(const struct backend *base)
{
	const struct accessed_bits *b = (const struct accessed_bits *)base;

	uint64_t all = b->read_ns + b->take_ns;

	return all ? (double)b->take_ns / (double)all : 0;
}

static uint64_t accessed_bits_tend(struct backend *base, struct touched_set *set)
{
	return huge_tend(of(base)->huge, set);
}

static void accessed_bits_finish(struct backend *base, struct touched_set *set)
{
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
	.insert_share = accessed_bits_insert_share,
	.close = accessed_bits_close,
};

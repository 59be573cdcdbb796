/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How the programs of events.bpf.c tell things: address spaces, the ring, accessed bits. */
#ifndef FREM_TRACK_TELL_BPF_H
#define FREM_TRACK_TELL_BPF_H

#include "event.h"
#include "kernel_types.h"
#include "page_walk.bpf.h"

#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#define RING_SIZE (4u << 20)
#define MOST_AT_ONCE 10000u /* each takes the user about half a microsecond */
#define MOST_SPACES 16384u
#define MOST_STEPS (1u << 23) /* of bpf_loop() */

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MOST_SPACES);
	__type(key, __u64); /* the address of an mm */
	__type(value, struct event_space);
} spaces SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, RING_SIZE);
} ring SEC(".maps");

/* A page table that is being read. Twice its size: the verifier sees the bounds of where to and how
 * much is read, not that they belong together. */
struct table {
	struct entry_group groups[2 * PT_ENTRIES / 8];
	__u8 touched[PT_ENTRIES / 8];
};

/* One for each program that reads tables: they may interrupt each other. */
enum slot { SLOT_LOCK, SLOT_MADVISE, SLOT_PROCESS_MADVISE, N_SLOTS };

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, N_SLOTS);
	__type(key, __u32);
	__type(value, struct table);
} tables SEC(".maps");

/* Set by the user. */
__u32 next_space; /* the number of the next child */
__u32 told;	  /* since the user last set it to 0: see too_many() */

/* Told to the user. */
__u64 lost;	 /* events for which there was no room */
__u32 own_level; /* how deep in pid namespaces the user is */

/* ---- telling ---- */

static __always_inline void count_lost(void)
{
	__sync_fetch_and_add(&lost, 1);
}

/* To be asked before something is told that programs can do any number of times a second: following
 * it must not take the user more than a small part of a processor. */
static __always_inline int too_many(void)
{
	if (__sync_fetch_and_add(&told, 1) < MOST_AT_ONCE)
		return 0;
	count_lost();
	return 1;
}

static __always_inline void *reserve(__u64 size)
{
	void *e = bpf_ringbuf_reserve(&ring, size, 0);

	if (!e)
		count_lost();
	return e;
}

/* Returns 1 where there was no room to tell it. */
static __always_inline int tell_range(__u32 kind, __u32 space, __u64 start, __u64 end, __u64 to)
{
	struct event_range *e = reserve(sizeof(*e));

	if (!e)
		return 1;
	e->head.kind = kind;
	e->head.space = space;
	e->start = start;
	e->end = end;
	e->to = to;
	e->when = kind == EVENT_MOVED ? bpf_ktime_get_ns() : 0;
	bpf_ringbuf_submit(e, BPF_RB_NO_WAKEUP);
	return 0;
}

static __always_inline void tell_gone(__u32 space)
{
	struct event *e = reserve(sizeof(*e));

	if (!e)
		return;
	e->kind = EVENT_GONE;
	e->space = space;
	bpf_ringbuf_submit(e, BPF_RB_NO_WAKEUP);
}

/* Keeps the compiler from working out a value that the verifier has to see being bounded. */
#define OPAQUE(x) asm volatile("" : "+r"(x))

/* Eight pages at a time, from group `first` up to `end`. */
static __always_inline void read_entries(struct table *t, __u64 address, __u32 first, __u32 end)
{
	__u32 n = end - first, i;

	first &= PT_ENTRIES / 8 - 1;
	OPAQUE(n);
	if (n > PT_ENTRIES / 8)
		return;
	bpf_probe_read_kernel(&t->groups[first], n * sizeof(*t->groups),
			      (void *)(address + first * sizeof(*t->groups)));
	for (i = first; i < end && i < PT_ENTRIES / 8; i++)
		t->touched[i] = (__u8)accessed_of(&t->groups[i]);
}

/*
 * Tells which pages of a unit are accessed, of those from `pages & 0xffff` up to `pages >> 16`.
 * table: the kernel's address of the unit's page table; 0: it is one accessed huge page. A global
 * function, so that the verifier checks it once.
 */
__noinline int tell_unit(__u64 table, __u64 unit, __u32 pages, __u32 space, __u32 slot)
{
	struct table *t = bpf_map_lookup_elem(&tables, &slot);
	__u32 first = pages & 0xffff, end = pages >> 16;
	struct event_sight *e;
	__u64 any = 0;
	int i;

	if (!t)
		return 0;
	__builtin_memset(t->touched, table ? 0 : 0xff, sizeof(t->touched));
	if (table)
		read_entries(t, table, first / 8, (end + 7) / 8);
	for (i = 0; i < (int)YOUNG_WORDS; i++) {
		((__u64 *)t->touched)[i] &= word_mask(i, first, end);
		any |= ((__u64 *)t->touched)[i];
	}
	if (!any)
		return 0;
	e = reserve(sizeof(*e));
	if (!e)
		return 0;
	e->head.kind = EVENT_SIGHT;
	e->head.space = space;
	e->unit = unit;
	e->huge = !table;
	__builtin_memcpy(e->touched, t->touched, sizeof(e->touched));
	bpf_ringbuf_submit(e, BPF_RB_NO_WAKEUP);
	return 0;
}

struct sight_walk {
	struct page_walk w;
	__u32 space;
	__u32 slot;
};

/* One unit, or one gap above it; 1 at the end. A global function like the one above. */
__noinline int tell_next(struct sight_walk *s)
{
	__u64 start, unit, stop, entry, table = 0;
	__u32 first, end;
	unsigned gap;

	if (!s || s->w.at >= s->w.end)
		return 1;
	start = s->w.at;
	unit = start >> YOUNG_UNIT_SHIFT;
	entry = find_directory_entry(&s->w, &gap);
	s->w.at = next_border(start, gap);
	if (pt_is_table(entry))
		table = direct_map + pt_table_address(entry, encryption);
	else if (!pt_leaf_accessed(entry))
		return 0;
	stop = s->w.at < s->w.end ? s->w.at : s->w.end;
	first = (start >> PT_PAGE_SHIFT) & (PT_ENTRIES - 1);
	end = first + ((stop - start) >> PT_PAGE_SHIFT);
	tell_unit(table, unit, first | end << 16, s->space, s->slot);
	return 0;
}

static long tell_step(__u32 i, struct sight_walk *s)
{
	(void)i;
	return tell_next(s) != 0;
}

/* Tells the accessed pages of [start, end), whole pages. */
static __always_inline void tell_sights(struct mm_struct *mm, __u32 space, __u32 slot, __u64 start,
					__u64 end)
{
	struct sight_walk s = {.space = space, .slot = slot};

	s.w.pgd = (__u64)BPF_CORE_READ(mm, pgd);
	s.w.at = start;
	s.w.end = end;
	bpf_loop(MOST_STEPS, tell_step, &s, 0);
}

static __always_inline __u64 user_end(void)
{
	return 1ULL << (levels * PT_INDEX_BITS + PT_PAGE_SHIFT - 1);
}

static __always_inline __u64 page_up(__u64 address)
{
	return (address + (1ULL << PT_PAGE_SHIFT) - 1) >> PT_PAGE_SHIFT << PT_PAGE_SHIFT;
}

static __always_inline int whole_range(__u64 start, __u64 end)
{
	return !(start & ((1ULL << PT_PAGE_SHIFT) - 1)) && start < end && end <= user_end();
}

/* Something is about to remove the pages of [start, start + size); what the kernel would refuse is
 * left out. */
static __always_inline int tell_removal(struct mm_struct *mm, __u32 space, __u32 slot, __u64 start,
					__u64 size)
{
	__u64 end = start + page_up(size);

	if (!whole_range(start, end) || too_many())
		return 1;
	tell_sights(mm, space, slot, start, end);
	return tell_range(EVENT_REMOVED, space, start, end, 0);
}

static __always_inline struct event_space *space_of(struct mm_struct *mm)
{
	__u64 key = (__u64)mm;

	return bpf_map_lookup_elem(&spaces, &key);
}

static __always_inline struct mm_struct *current_mm(void)
{
	return bpf_get_current_task_btf()->mm;
}

#endif

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Reads the accessed bits of one process. The task_vma iterator calls young_walk() for every
 * mapping with the mmap lock held for reading, so no page table goes away under it; everything is
 * read by bpf_probe_read_kernel(), so that a wrong address gives zero instead of a fault.
 *
 * One walk is made of one or more reads of an iterator: a read stops by itself when the record
 * array is full or when it has held the mmap lock for long enough, and leaves in `resume` the
 * address where the next one takes over. Nothing is lost that way: accessed bits stay set.
 */
#include "kernel_types.h"
#include "page_walk.bpf.h"
#include "young.h"

#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, YOUNG_RECORDS);
	__type(key, __u32);
	__type(value, struct young_record);
} records SEC(".maps");

/* Set by the user for a read. */
struct young_identity expected; /* of the process; zero: whoever it is */
__u64 resume;			/* pages below this address are done */
__u64 until;			/* pages from this address on do not matter */
__u32 want_present;		/* 1: also units in which nothing was touched */
__u32 thread;			/* 0; then the thread through which this read sees the memory */
__u64 peek_at;			/* a kernel address to read into `peeked`, or 0 */

/* Told to the user */
__u64 peeked;
struct young_task told;

/* Told to the user; set to zero before a read. */
__u32 n_records;
__u32 n_mappings; /* of the process, whatever they are */
__u32 replaced;	  /* 1: this is not the expected process any more */
__u32 paused;	  /* 1: read again, from `resume` on */
__u32 ended;	  /* 1: the read was ended before its time */
__u64 n_pages;	  /* whose entries were read */

/* What was read last: entries of one page table from a multiple of 8 on, and what they say. */
__u64 entries[PT_ENTRIES];
__u64 unit_touched[YOUNG_WORDS];
__u64 unit_present[YOUNG_WORDS];

/* Units looked at in one call, most of them absent: bounds the hold of the mmap lock, too. */
#define WALK_STEPS (1u << 15)

/* A global function like accessed_of(). */
__noinline int held_of(const struct entry_group *group)
{
	__u64 bits = 0;
	int i;

	if (!group)
		return 0;
	for (i = 0; i < 8; i++)
		bits |= pt_page_held(group->e[i]) << i;
	return (int)bits;
}

/*
 * Reads entries first * 8 up to end * 8 of a page table. This and record() are global functions for
 * the verifier's sake: it checks such a function once, not again for every way that leads to it.
 * That makes loading ten times faster.
 */
__noinline int read_table(__u64 table, __u64 first, __u64 end)
{
	__u64 i, n = end - first, size = n * 8 * sizeof(*entries);

	if (size > sizeof(entries))
		return 0;
	n_pages += n * 8;
	/* On failure the helper fills in zeroes. */
	bpf_probe_read_kernel(entries, size, (void *)(table + first * 8 * sizeof(*entries)));
	for (i = 0; i < PT_ENTRIES / 8 && i < n; i++) {
		const __u64 *e = entries + i * 8;
		__u64 any = e[0] | e[1] | e[2] | e[3] | e[4] | e[5] | e[6] | e[7];
		__u64 at = (first + i) & (PT_ENTRIES / 8 - 1);

		((__u8 *)unit_touched)[at] =
			any & PT_ACCESSED ? accessed_of((const struct entry_group *)e) : 0;
		if (want_present)
			((__u8 *)unit_present)[at] =
				any ? held_of((const struct entry_group *)e) : 0;
	}
	return 0;
}

static __always_inline void read_leaf(__u64 entry)
{
	__u64 touched = pt_leaf_accessed(entry) ? ~0ULL : 0;
	int i;

	for (i = 0; i < (int)YOUNG_WORDS; i++) {
		unit_touched[i] = touched;
		unit_present[i] = ~0ULL;
	}
}

/* Copies what lies within [at, end) to the record of the unit; 1 if there is no room. */
__noinline int record(__u64 unit, __u64 huge, __u64 at, __u64 end)
{
	__u64 start = unit << YOUNG_UNIT_SHIFT, touched[YOUNG_WORDS], any = 0;
	__u64 first = (at - start) >> PT_PAGE_SHIFT;
	__u64 last = (end - start) >> PT_PAGE_SHIFT;
	struct young_record *r = 0;
	__u32 index = n_records;
	int i;

	for (i = 0; i < (int)YOUNG_WORDS; i++) {
		__u64 mask = word_mask(i, first, last);

		touched[i] = unit_touched[i] & mask;
		any |= touched[i];
		if (want_present)
			any |= unit_present[i] & mask;
	}
	if (!any)
		return 0;
	if (index > 0) {
		__u32 before = index - 1;

		r = bpf_map_lookup_elem(&records, &before);
		if (r && r->unit != unit)
			r = 0;
	}
	if (!r) {
		r = bpf_map_lookup_elem(&records, &index);
		if (!r)
			return 1;
		n_records = index + 1;
		__builtin_memset(r, 0, sizeof(*r));
		r->unit = unit;
	}
	r->huge |= huge;
	for (i = 0; i < (int)YOUNG_WORDS; i++) {
		r->touched[i] |= touched[i];
		r->present[i] |= unit_present[i] & word_mask(i, first, last);
	}
	return 0;
}

/* One unit, or one gap above it. */
static long walk_step(__u32 i, struct page_walk *w)
{
	__u64 unit = w->at >> YOUNG_UNIT_SHIFT, entry, border, end;
	unsigned gap;

	(void)i;
	if (w->at >= w->end)
		return 1;
	if (n_pages >= YOUNG_PAGES) {
		paused = 1;
		resume = w->at;
		return 1;
	}
	border = next_border(w->at, YOUNG_UNIT_SHIFT);
	end = border < w->end ? border : w->end;
	entry = find_directory_entry(w, &gap);
	if (pt_is_leaf(entry)) {
		read_leaf(entry);
	} else if (!pt_is_table(entry)) {
		w->at = next_border(w->at, gap);
		return 0;
	} else {
		read_table(direct_map + pt_table_address(entry, encryption), pt_index(w->at, 1) / 8,
			   (pt_index(end - 1, 1) + 8) / 8);
	}
	if (record(unit, pt_is_leaf(entry), w->at, end)) {
		paused = 1;
		resume = w->at;
		return 1;
	}
	w->at = border;
	return 0;
}

/* Lazy pages are private anonymous memory: nothing else can be in a touch set. */
static __always_inline int can_matter(struct vm_area_struct *vma)
{
	return !vma->vm_file && !(vma->vm_flags & (VM_SHARED | VM_PFNMAP | VM_IO | VM_HUGETLB));
}

static __always_inline void tell_task(const struct young_identity *id, struct mm_struct *mm)
{
	told.identity = *id;
	if (bpf_core_field_exists(mm->context.tlb_gen.counter))
		told.flushes = mm->context.tlb_gen.counter;
	if (bpf_core_field_exists(mm->rss_stat[MM_SWAPENTS].count)) {
		told.anonymous = mm->rss_stat[MM_ANONPAGES].count;
		told.swapped = mm->rss_stat[MM_SWAPENTS].count;
	}
}

/* Ends the read, with EAGAIN, whatever the iterator would still go through. */
static __always_inline int end_read(void)
{
	ended = 1;
	return 1;
}

SEC("iter/task_vma")
int young_walk(struct bpf_iter__task_vma *ctx)
{
	struct vm_area_struct *vma = ctx->vma;
	struct task_struct *task = ctx->task;
	struct young_identity id = {};
	struct page_walk w = {};

	if (!task || !vma)
		return 0;
	/* The iterator goes through all threads of the process: one is enough. It is not always the
	 * leader, which may have exited before its threads. */
	if (!thread)
		thread = (__u32)task->pid;
	if (thread != (__u32)task->pid || paused || replaced)
		return end_read();
	if (peek_at)
		peeked = entry_at(peek_at, 0);
	id.start_time = task->group_leader->start_time;
	id.exec_id = task->self_exec_id;
	id.mm = (__u64)vma->vm_mm;
	n_mappings++;
	if (n_mappings == 1)
		tell_task(&id, vma->vm_mm);
	if (expected.start_time &&
	    (id.start_time != expected.start_time || id.exec_id != expected.exec_id)) {
		replaced = 1;
		return end_read();
	}
	if (vma->vm_start >= until)
		return end_read();
	if (!can_matter(vma))
		return 0;
	w.pgd = (__u64)vma->vm_mm->pgd;
	w.end = vma->vm_end < until ? vma->vm_end : until;
	w.at = vma->vm_start > resume ? vma->vm_start : resume;
	if (w.at >= w.end)
		return 0;
	bpf_loop(WALK_STEPS, walk_step, &w, 0);
	if (w.at < w.end && !paused) {
		paused = 1;
		resume = w.at;
	}
	return paused ? end_read() : 0;
}

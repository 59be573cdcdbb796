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
__u32 n_tables;

/* The page table last read, so that many small mappings in one unit cost one read. */
__u64 table[PT_ENTRIES];
__u64 unit_touched[YOUNG_WORDS];
__u64 unit_present[YOUNG_WORDS];
__u64 cached_unit; /* unit + 1 */

/* Units looked at in one call, most of them absent: bounds the hold of the mmap lock, too. */
#define WALK_STEPS (1u << 15)

/* read_table() and record() are global functions for the verifier's sake: it checks such a function
 * once, not again for every way that leads to it. That makes loading ten times faster. */
__noinline int read_table(__u64 address)
{
	__u64 wanted = want_present ? ~0ULL : PT_ACCESSED;
	int i, j;

	n_tables++;
	/* On failure the helper has filled the table with zeroes. */
	bpf_probe_read_kernel(table, sizeof(table), (void *)address);
	for (i = 0; i < (int)PT_ENTRIES / 8; i++) {
		__u64 *entries = table + i * 8, any = 0;
		__u8 touched = 0, present = 0;

		for (j = 0; j < 8; j++)
			any |= entries[j];
		if (any & wanted)
			for (j = 0; j < 8; j++) {
				touched |= pt_page_accessed(entries[j]) << j;
				present |= pt_page_present(entries[j]) << j;
			}
		((__u8 *)unit_touched)[i] = touched;
		((__u8 *)unit_present)[i] = present;
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
	__u64 last = end - start >= (1ULL << YOUNG_UNIT_SHIFT) ? YOUNG_UNIT_PAGES
							       : (end - start) >> PT_PAGE_SHIFT;
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
	__u64 unit = w->at >> YOUNG_UNIT_SHIFT, entry;
	unsigned gap;

	(void)i;
	if (w->at >= w->end)
		return 1;
	if (n_tables >= YOUNG_TABLES) {
		paused = 1;
		resume = w->at;
		return 1;
	}
	entry = find_directory_entry(w, &gap);
	if (pt_is_leaf(entry)) {
		read_leaf(entry);
		cached_unit = 0;
	} else if (!pt_is_table(entry)) {
		w->at = next_border(w->at, gap);
		return 0;
	} else if (cached_unit != unit + 1) {
		read_table(direct_map + pt_table_address(entry, encryption));
		cached_unit = unit + 1;
	}
	if (record(unit, pt_is_leaf(entry), w->at, w->end)) {
		paused = 1;
		resume = w->at;
		return 1;
	}
	w->at = next_border(w->at, YOUNG_UNIT_SHIFT);
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
}

SEC("iter/task_vma")
int young_walk(struct bpf_iter__task_vma *ctx)
{
	struct vm_area_struct *vma = ctx->vma;
	struct task_struct *task = ctx->task;
	struct young_identity id = {};
	struct page_walk w = {};

	if (!task || !vma || paused || replaced)
		return 0;
	/* The iterator may go through several threads of the process: one is enough. It is not
	 * always the leader, which may have exited before its threads. */
	if (!thread)
		thread = (__u32)task->pid;
	if (thread != (__u32)task->pid)
		return 0;
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
		return 0;
	}
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
	return 0;
}

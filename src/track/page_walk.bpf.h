/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Finding page tables from a BPF program: what the programs that read accessed bits share. */
#ifndef FREM_TRACK_PAGE_WALK_BPF_H
#define FREM_TRACK_PAGE_WALK_BPF_H

#include "pagetable_x86_64.h"
#include "young.h"

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/* Set by the user: the layout of page tables. */
__u64 direct_map;
__u64 encryption;
__u32 levels;

struct page_walk {
	__u64 pgd;
	__u64 at;
	__u64 end;
	__u64 directory;     /* the level 2 table for `at` */
	__u64 directory_end; /* holds up to this address */
};

static __always_inline __u64 entry_at(__u64 address, unsigned index)
{
	__u64 entry = 0;

	bpf_probe_read_kernel(&entry, sizeof(entry), (void *)(address + index * sizeof(entry)));
	return entry;
}

static __always_inline __u64 next_border(__u64 address, unsigned shift)
{
	return ((address >> shift) + 1) << shift;
}

/* Finds the level 2 entry for w->at. Where there is none, *gap is how far to skip (a shift). */
static __always_inline __u64 find_directory_entry(struct page_walk *w, unsigned *gap)
{
	__u64 address = w->pgd, entry;
	unsigned level;

	*gap = YOUNG_UNIT_SHIFT;
	if (w->at < w->directory_end)
		return entry_at(w->directory, pt_index(w->at, 2));
	for (level = PT_LEVELS_MAX; level > 2; level--) {
		if (level > levels)
			continue;
		entry = entry_at(address, pt_index(w->at, level));
		if (pt_is_leaf(entry) && level == 3)
			return entry;
		if (!pt_is_table(entry)) {
			*gap = pt_shift(level);
			return 0;
		}
		address = direct_map + pt_table_address(entry, encryption);
	}
	w->directory = address;
	w->directory_end = next_border(w->at, pt_shift(3));
	return entry_at(address, pt_index(w->at, 2));
}

struct entry_group {
	__u64 e[8];
};

/*
 * The accessed pages of eight entries. Nearly always all are pages, and the one bit tells. A global
 * function, so that the verifier checks it once and not for every way that leads to it: else
 * loading takes five times as long.
 */
__noinline int accessed_of(const struct entry_group *group)
{
	__u64 all = ~0ULL, any = 0, bits = 0;
	int i;

	if (!group)
		return 0;
	for (i = 0; i < 8; i++) {
		all &= group->e[i];
		any |= group->e[i];
	}
	if (all & PT_PRESENT && !(any & PT_SPECIAL)) {
		for (i = 0; i < 8; i++)
			bits |= (group->e[i] & PT_ACCESSED) << i;
		return (int)(bits >> PT_ACCESSED_SHIFT);
	}
	for (i = 0; i < 8; i++)
		bits |= pt_page_accessed(group->e[i]) << i;
	return (int)bits;
}

/* The n lowest bits of a word, n from 0 to 64. */
static __always_inline __u64 low_bits(__u64 n)
{
	return n >= 64 ? ~0ULL : (1ULL << (n & 63)) - 1;
}

/* The bits of word i that stand for pages [first, end) of the unit. */
static __always_inline __u64 word_mask(int i, __u64 first, __u64 end)
{
	__u64 base = (__u64)i * 64;
	__u64 from = first > base ? first - base : 0;
	__u64 to = end > base ? end - base : 0;

	return low_bits(to) & ~low_bits(from);
}

#endif

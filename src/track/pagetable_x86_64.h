/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The page-table layout of x86-64 (Intel SDM volume 3, chapter 4;
 * arch/x86/include/asm/pgtable_types.h for the bits that Linux gives a meaning of its own). One
 * such file an architecture; it is compiled into the BPF walker and into user space alike, so it
 * holds nothing but arithmetic.
 *
 * A table has 512 entries. Level 1 holds pages; tables above it hold tables or, at levels 2 and 3,
 * leaves of 2 MB and 1 GB. The root is level 4, or 5 where the kernel uses five-level paging.
 */
#ifndef FREM_TRACK_PAGETABLE_X86_64_H
#define FREM_TRACK_PAGETABLE_X86_64_H

#include <linux/types.h>

#define PT_PAGE_SHIFT 12
#define PT_INDEX_BITS 9
#define PT_ENTRIES (1u << PT_INDEX_BITS)
#define PT_LEVELS_MIN 4
#define PT_LEVELS_MAX 5

#define PT_PRESENT (1ULL << 0)
#define PT_ACCESSED_SHIFT 5
#define PT_ACCESSED (1ULL << PT_ACCESSED_SHIFT)
#define PT_LEAF (1ULL << 7) /* "page size": at levels 2 and 3 only; at level 1 this bit is PAT */
/* In an entry that is not present: the page is there, but PROT_NONE. Swap and migration entries
 * always have this bit clear. */
#define PT_PROT_NONE (1ULL << 8)
/* Level 1: not a page of the program's own: the zero page, which no image holds (bit 9, Linux's) */
#define PT_SPECIAL_SHIFT 9
#define PT_SPECIAL (1ULL << PT_SPECIAL_SHIFT)
#define PT_FRAME 0x000ffffffffff000ULL

/* Where the direct map starts unless the kernel randomises it: Documentation/arch/x86/x86_64/mm.rst
 */
#define PT_DIRECT_MAP_4 0xffff888000000000ULL
#define PT_DIRECT_MAP_5 0xff11000000000000ULL

/* The number of address bits below one entry of a table at this level. */
static inline __attribute__((always_inline)) unsigned pt_shift(unsigned level)
{
	return PT_PAGE_SHIFT + PT_INDEX_BITS * (level - 1);
}

static inline __attribute__((always_inline)) unsigned pt_index(__u64 address, unsigned level)
{
	return (unsigned)(address >> pt_shift(level)) & (PT_ENTRIES - 1);
}

/* Level 1: 1 where a page is in memory, mapped for the program or PROT_NONE; else 0. Without a
 * branch: this runs for every page of the program. */
static inline __attribute__((always_inline)) __u64 pt_page_present(__u64 entry)
{
	return (entry | entry >> 8) & ~(entry >> PT_SPECIAL_SHIFT) & 1;
}

/* Level 1: 1 where the program has a page, be it in memory or in swap; else 0. */
static inline __attribute__((always_inline)) __u64 pt_page_held(__u64 entry)
{
	return (entry != 0) & ~((entry | entry >> 8) & entry >> PT_SPECIAL_SHIFT);
}

/* Level 1: 1 where a page is in memory and was accessed; else 0. */
static inline __attribute__((always_inline)) __u64 pt_page_accessed(__u64 entry)
{
	return entry >> PT_ACCESSED_SHIFT & pt_page_present(entry);
}

/* Levels above 1: the entry points to a table. */
static inline __attribute__((always_inline)) int pt_is_table(__u64 entry)
{
	return (entry & (PT_PRESENT | PT_LEAF)) == PT_PRESENT;
}

/*
 * Levels 2 and 3: the entry is a huge page. Linux makes such an entry not present for the moment of
 * a split, with the leaf bit still set, and PROT_NONE like a page; a swap or migration entry has
 * neither bit.
 */
static inline __attribute__((always_inline)) int pt_is_leaf(__u64 entry)
{
	return (entry & PT_LEAF) != 0;
}

static inline __attribute__((always_inline)) int pt_leaf_accessed(__u64 entry)
{
	return pt_is_leaf(entry) && (entry & PT_ACCESSED);
}

/* The physical address of the table that an entry points to; `encryption` is the memory-encryption
 * bit of SME and SEV (0 where there is none), which is no part of the address. */
static inline __attribute__((always_inline)) __u64 pt_table_address(__u64 entry, __u64 encryption)
{
	return entry & PT_FRAME & ~encryption;
}

#endif

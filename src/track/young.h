/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the BPF walker (young.bpf.c) and its user (accessed_bits.c) share. */
#ifndef FREM_TRACK_YOUNG_H
#define FREM_TRACK_YOUNG_H

#include <linux/types.h>

/* A unit is what one page table of level 1 maps: 512 pages, 2 MB. */
#define YOUNG_UNIT_SHIFT 21
#define YOUNG_UNIT_PAGES 512u
#define YOUNG_WORDS (YOUNG_UNIT_PAGES / 64)

#define YOUNG_RECORDS 16384u
/* Pages looked at in one go, under one hold of the mmap lock: a GB, about half a millisecond. */
#define YOUNG_PAGES (512u * YOUNG_UNIT_PAGES)

struct young_record {
	__u64 unit; /* address >> YOUNG_UNIT_SHIFT */
	__u64 huge; /* 1: one huge page, whose one accessed bit stands for all its pages */
	__u64 touched[YOUNG_WORDS];
	__u64 present[YOUNG_WORDS];
};

/* Who a task is: survives neither an execve nor the reuse of its pid. */
struct young_identity {
	__u64 start_time;
	__u64 exec_id;
	__u64 mm; /* the kernel's address of its memory map, which threads share */
};

struct young_task {
	struct young_identity identity;
	__u64 flushes;	 /* of cached translations of its memory so far; 0 if that is not counted */
	__u64 anonymous; /* pages that it has in memory, roughly; 0 if that is not counted */
	__u64 swapped;	 /* pages that it has in swap, roughly; 0 if that is not counted */
};

#endif

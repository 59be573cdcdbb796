/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The few fields of kernel structures that the BPF programs read. Their offsets are filled in when
 * the program is loaded, from the running kernel's BTF (CO-RE): only names and types matter here.
 */
#ifndef FREM_TRACK_KERNEL_TYPES_H
#define FREM_TRACK_KERNEL_TYPES_H

#include <linux/types.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct file;
struct seq_file;

struct percpu_counter {
	long long count;
};

struct mm_struct {
	void *pgd;
	struct percpu_counter rss_stat[4]; /* since Linux 6.2 */
	struct {
		int counter;
	} mm_users;
	unsigned long start_brk;
	unsigned long brk;
	struct {
		struct {
			long long counter;
		} tlb_gen; /* x86 */
	} context;
};

struct vm_area_struct {
	unsigned long vm_start;
	unsigned long vm_end;
	struct mm_struct *vm_mm;
	unsigned long vm_flags;
	struct file *vm_file;
};

struct upid {
	int nr;
};

struct pid {
	unsigned int level;
	struct upid numbers[1];
};

struct task_struct {
	int pid;
	struct mm_struct *mm;
	struct pid *thread_pid;
	struct task_struct *group_leader;
	__u64 start_time;
	__u64 self_exec_id;
};

/* x86-64: a task's registers where it entered the kernel */
struct pt_regs {
	unsigned long di, si, dx, r10, r8;
	unsigned long orig_ax; /* the number of the system call */
	unsigned long cs;
};

struct iov_iter {
	__u8 iter_type;
	unsigned long iov_offset;
	union {
		const void *__iov; /* struct iovec */
		void *ubuf;
	};
	unsigned long count;
	unsigned long nr_segs;
};

struct bpf_iter_meta {
	struct seq_file *seq;
};

struct bpf_iter__task_vma {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	struct vm_area_struct *vma;
};

#pragma clang attribute pop

enum iter_type {
	ITER_UBUF,
	ITER_IOVEC,
};

/* include/linux/mm_types_task.h: indices into rss_stat */
#define MM_ANONPAGES 1
#define MM_SWAPENTS 2

/* include/linux/mm.h; these have kept their values since long before BPF iterators */
#define VM_SHARED 0x00000008ul
#define VM_PFNMAP 0x00000400ul
#define VM_IO 0x00004000ul
#define VM_HUGETLB 0x00400000ul

#endif

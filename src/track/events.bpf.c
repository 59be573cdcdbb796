// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Tells what becomes of the tracked address spaces within the window: pages removed, moved, used by
 * devices, copied to a child. An address space is known by its mm, so threads and vfork children
 * need no care. For everybody else each program ends after one look-up in a hash map.
 *
 * Accessed bits die with the page they belong to, so they are read just before:
 *  - munmap, mmap, brk and mremap: when they have got the mmap lock for writing. Nobody else can
 *    change the address space then, so events come in the order in which the changes are made.
 *  - madvise takes no lock whose taking could be seen: when it is entered.
 *  - exit and execve: when the kernel begins to take down the address space. It takes the mmap lock
 *    with no user left, so no access can come after.
 *
 * Not told: system calls of 32-bit programs, madvise asked for through io_uring, UFFDIO_MOVE;
 * direct I/O of file systems that do not use iomap (NFS, FUSE), MSG_ZEROCOPY.
 */
#include "event.h"
#include "kernel_types.h"
#include "tell.bpf.h"

#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

/* asm/unistd_64.h, and the bit of its x32 variants */
#define NR_MMAP 9u
#define NR_MUNMAP 11u
#define NR_BRK 12u
#define NR_MREMAP 25u
#define NR_X32 0x40000000u
/* The code segment of 64-bit programs (arch/x86/include/asm/segment.h): the numbers above are
 * theirs. */
#define CS_64 0x33u

/* asm-generic/mman-common.h, linux/mman.h */
#define MAP_FIXED 0x10u
#define MAP_FIXED_NOREPLACE 0x100000u
#define MREMAP_FIXED 2u
#define MADV_DONTNEED 4u
#define MADV_FREE 8u
#define MADV_DONTNEED_LOCKED 24u
#define MADV_GUARD_INSTALL 102u

#define IORING_REGISTER_BUFFERS 0u /* linux/io_uring.h */
#define MOST_BUFFERS 1024u	   /* UIO_MAXIOV */

/* ---- what is known to be gone ---- */

#define GONE_PAGES ((1ULL << SPACE_GONE_BITS) - 1)

static __always_inline __u64 gone_range(const struct event_space *space, unsigned i, __u64 *ret_end)
{
	__u64 range = *(const volatile __u64 *)&space->gone[i];

	*ret_end = (range >> SPACE_GONE_BITS) + (range & GONE_PAGES);
	return range >> SPACE_GONE_BITS;
}

/* Pages, by number. */
static __always_inline int known_gone(const struct event_space *space, __u64 first, __u64 end)
{
	__u64 from, to;
	unsigned i;

	for (i = 0; i < SPACE_GONE_RANGES; i++) {
		from = gone_range(space, i, &to);
		if (first >= from && end <= to)
			return 1;
	}
	return 0;
}

/* Ranges that meet become one. */
static __always_inline void note_gone(struct event_space *space, __u64 first, __u64 end)
{
	__u64 from, to;
	unsigned i;

	for (i = 0; i < SPACE_GONE_RANGES; i++) {
		from = gone_range(space, i, &to);
		if (first > to || end < from)
			continue;
		first = first < from ? first : from;
		end = end > to ? end : to;
		break;
	}
	if (i == SPACE_GONE_RANGES)
		i = space->next++ % SPACE_GONE_RANGES;
	if (end - first <= GONE_PAGES)
		*(volatile __u64 *)&space->gone[i % SPACE_GONE_RANGES] =
			first << SPACE_GONE_BITS | (end - first);
}

/*
 * Programs map and unmap, or use and discard, the same addresses again and again: after the first
 * time there is nothing to tell. Without the lock another thread may undo what was noted here.
 */
static __always_inline void remove(struct mm_struct *mm, struct event_space *space, __u32 slot,
				   __u64 start, __u64 size)
{
	__u64 first = start >> PT_PAGE_SHIFT, end = (start + page_up(size)) >> PT_PAGE_SHIFT;

	if (known_gone(space, first, end))
		return;
	if (!tell_removal(mm, space->number, slot, start, size))
		note_gone(space, first, end);
}

/* ---- changes under the mmap lock ---- */

static __always_inline void brk(struct mm_struct *mm, struct event_space *space, __u64 wanted)
{
	__u64 end = page_up(BPF_CORE_READ(mm, brk)), start = page_up(wanted);

	if (wanted >= BPF_CORE_READ(mm, start_brk) && start < end)
		remove(mm, space, SLOT_LOCK, start, end - start);
}

/* What mremap moves keeps its accessed bits: here is told only what it removes. Where image pages
 * may go to is not gone any more. */
static __always_inline void remap(struct mm_struct *mm, struct event_space *space,
				  struct pt_regs *regs)
{
	__u64 from = regs->di, old_size = page_up(regs->si), new_size = page_up(regs->dx);

	if (!new_size)
		return;
	if (regs->r10 & MREMAP_FIXED)
		remove(mm, space, SLOT_LOCK, regs->r8, new_size);
	if (new_size < old_size)
		remove(mm, space, SLOT_LOCK, from + new_size, old_size - new_size);
	__builtin_memset(space->gone, 0, sizeof(space->gone));
}

static __always_inline void tell_change(struct mm_struct *mm, struct event_space *space)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(task);

	if (task->mm != mm || regs->cs != CS_64)
		return;
	switch ((__u32)regs->orig_ax & ~NR_X32) {
	case NR_MUNMAP:
		remove(mm, space, SLOT_LOCK, regs->di, regs->si);
		break;
	case NR_MMAP:
		if (regs->r10 & MAP_FIXED && !(regs->r10 & MAP_FIXED_NOREPLACE))
			remove(mm, space, SLOT_LOCK, regs->di, regs->si);
		break;
	case NR_BRK:
		brk(mm, space, regs->di);
		break;
	case NR_MREMAP:
		remap(mm, space, regs);
		break;
	}
}

static __always_inline int lock_taken(struct mm_struct *mm, int write)
{
	int users = BPF_CORE_READ(mm, mm_users.counter);
	__u64 key = (__u64)mm;
	struct event_space *space;
	__u32 number;

	if (!write && users)
		return 0;
	space = space_of(mm);
	if (!space)
		return 0;
	if (users) {
		tell_change(mm, space);
		return 0;
	}
	number = space->number;
	bpf_map_delete_elem(&spaces, &key);
	tell_sights(mm, number, SLOT_LOCK, 0, user_end());
	tell_gone(number);
	return 0;
}

/* (mm, write, taken) */
SEC("raw_tp/mmap_lock_acquire_returned")
int mmap_lock_taken(struct bpf_raw_tracepoint_args *ctx)
{
	if (!(ctx->args[2] & 1))
		return 0;
	return lock_taken((struct mm_struct *)ctx->args[0], ctx->args[1] & 1);
}

/* Before Linux 6.11: (mm, path, write, taken). It cannot be attached where there are only three. */
SEC("raw_tp/mmap_lock_acquire_returned")
int mmap_lock_taken_path(struct bpf_raw_tracepoint_args *ctx)
{
	if (!(ctx->args[3] & 1))
		return 0;
	return lock_taken((struct mm_struct *)ctx->args[0], ctx->args[2] & 1);
}

/* ---- system calls ---- */

struct syscall_enter {
	__u64 common;
	__s64 number;
	__u64 args[6];
};

struct syscall_exit {
	__u64 common;
	__s64 number;
	__s64 result;
};

SEC("tp/syscalls/sys_exit_mremap")
int mremap_done(struct syscall_exit *ctx)
{
	struct event_space *space = space_of(current_mm());
	struct pt_regs *regs;
	__u64 from, old_size, new_size, to = (__u64)ctx->result;

	if (!space || ctx->result < 0)
		return 0;
	regs = (struct pt_regs *)bpf_task_pt_regs(bpf_get_current_task_btf());
	from = regs->di;
	old_size = page_up(regs->si);
	new_size = page_up(regs->dx);
	if (to != from && old_size)
		tell_range(EVENT_MOVED, space->number, from,
			   from + (new_size < old_size ? new_size : old_size), to);
	return 0;
}

static __always_inline int discards(__u64 advice)
{
	return advice == MADV_DONTNEED || advice == MADV_FREE || advice == MADV_DONTNEED_LOCKED ||
	       advice == MADV_GUARD_INSTALL;
}

SEC("tp/syscalls/sys_enter_madvise")
int madvise_entered(struct syscall_enter *ctx)
{
	struct mm_struct *mm = current_mm();
	struct event_space *space = space_of(mm);

	if (space && discards((__u32)ctx->args[2]))
		remove(mm, space, SLOT_MADVISE, ctx->args[0], ctx->args[1]);
	return 0;
}

struct buffer {
	__u64 start;
	__u64 size;
};

struct buffers {
	struct mm_struct *mm;
	__u64 list; /* the program's address of an array of struct iovec */
	__u64 n;
	__u32 space;
	__u32 kind;
};

static __always_inline void tell_used(__u32 space, __u64 start, __u64 size)
{
	__u64 end = page_up(start + size);

	start = start >> PT_PAGE_SHIFT << PT_PAGE_SHIFT;
	if (size && start < end && end <= user_end() && !too_many())
		tell_range(EVENT_USED, space, start, end, 0);
}

static long buffer_step(__u32 i, struct buffers *b)
{
	struct buffer one;

	if (i >= b->n ||
	    bpf_probe_read_user(&one, sizeof(one), (void *)(b->list + i * sizeof(one))))
		return 1;
	if (b->kind == EVENT_USED)
		tell_used(b->space, one.start, one.size);
	else
		tell_removal(b->mm, b->space, SLOT_PROCESS_MADVISE, one.start, one.size);
	return 0;
}

static __always_inline void tell_buffers(__u32 kind, __u64 list, __u64 n)
{
	struct buffers b = {.mm = current_mm(), .list = list, .n = n, .kind = kind};
	struct event_space *space = space_of(b.mm);

	if (!space)
		return;
	b.space = space->number;
	bpf_loop(MOST_BUFFERS, buffer_step, &b, 0);
}

SEC("tp/syscalls/sys_enter_process_madvise")
int process_madvise_entered(struct syscall_enter *ctx)
{
	if (discards((__u32)ctx->args[3]))
		tell_buffers(EVENT_REMOVED, ctx->args[1], ctx->args[2]);
	return 0;
}

/*
 * ---- pages that the kernel or a device uses ----
 *
 * Nothing is pinned for long when the window begins: CRIU refuses to dump what does that, an
 * io_uring as well as a device without a plugin of its own.
 */

SEC("tp/syscalls/sys_enter_vmsplice")
int vmsplice_entered(struct syscall_enter *ctx)
{
	tell_buffers(EVENT_USED, ctx->args[1], ctx->args[2]);
	return 0;
}

SEC("tp/syscalls/sys_enter_io_uring_register")
int io_uring_register_entered(struct syscall_enter *ctx)
{
	if ((__u32)ctx->args[1] == IORING_REGISTER_BUFFERS)
		tell_buffers(EVENT_USED, ctx->args[2], ctx->args[3]);
	return 0;
}

struct segments {
	__u64 list; /* the kernel's copy of the array of struct iovec */
	__u64 n;
	__u64 skip; /* bytes of the first one */
	__u64 left;
	__u32 space;
};

static long segment_step(__u32 i, struct segments *s)
{
	struct buffer one;

	if (i >= s->n || !s->left ||
	    bpf_probe_read_kernel(&one, sizeof(one), (void *)(s->list + i * sizeof(one))))
		return 1;
	if (s->skip >= one.size) {
		s->skip -= one.size;
		return 0;
	}
	one.start += s->skip;
	one.size -= s->skip;
	s->skip = 0;
	if (one.size > s->left)
		one.size = s->left;
	s->left -= one.size;
	tell_used(s->space, one.start, one.size);
	return 0;
}

/* Every direct read and write of a file on a file system that uses iomap, however it was asked for:
 * read, readv, preadv2, io_submit, io_uring. */
SEC("raw_tp/iomap_dio_rw_begin")
int direct_io_begins(struct bpf_raw_tracepoint_args *ctx)
{
	struct iov_iter *iter = (struct iov_iter *)ctx->args[1];
	struct event_space *space = space_of(current_mm());
	struct segments s = {};
	__u8 type;

	if (!space)
		return 0;
	s.space = space->number;
	s.skip = BPF_CORE_READ(iter, iov_offset);
	s.left = BPF_CORE_READ(iter, count);
	type = BPF_CORE_READ(iter, iter_type);
	if (type == bpf_core_enum_value(enum iter_type, ITER_UBUF)) {
		tell_used(s.space, (__u64)BPF_CORE_READ(iter, ubuf) + s.skip, s.left);
	} else if (type == bpf_core_enum_value(enum iter_type, ITER_IOVEC)) {
		s.list = (__u64)BPF_CORE_READ(iter, __iov);
		s.n = BPF_CORE_READ(iter, nr_segs);
		bpf_loop(MOST_BUFFERS, segment_step, &s, 0);
	}
	return 0;
}

/* ---- children ---- */

/* A task's pid as the user sees it, 0 if it cannot. */
static __always_inline __u32 visible_pid(struct task_struct *task)
{
	struct pid *pid = BPF_CORE_READ(task, thread_pid);
	__u64 at = (__u64)pid + bpf_core_field_offset(pid->numbers) +
		   own_level * bpf_core_type_size(struct upid) +
		   bpf_core_field_offset(struct upid, nr);
	__u32 nr = 0;

	if (BPF_CORE_READ(pid, level) >= own_level)
		bpf_probe_read_kernel(&nr, sizeof(nr), (void *)at);
	return nr;
}

static __always_inline void tell_child(__u32 space, __u32 number, struct task_struct *child)
{
	struct event_forked *e = reserve(sizeof(*e));

	if (!e)
		return;
	e->head.kind = EVENT_FORKED;
	e->head.space = space;
	e->child = number;
	e->pid = visible_pid(child);
	e->identity.start_time = BPF_CORE_READ(child, start_time);
	e->identity.exec_id = BPF_CORE_READ(child, self_exec_id);
	e->identity.mm = (__u64)BPF_CORE_READ(child, mm);
	bpf_ringbuf_submit(e, BPF_RB_NO_WAKEUP);
}

/* Its accessed bits are its own: fork copies page tables with all of them clear. It has not run
 * yet, so no event of its own comes before this one. */
SEC("raw_tp/sched_process_fork")
int forked(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *child = (struct task_struct *)ctx->args[1];
	__u64 mm = (__u64)BPF_CORE_READ(child, mm);
	struct mm_struct *parent_mm = current_mm();
	struct event_space *space, new = {};

	if (!mm || mm == (__u64)parent_mm)
		return 0;
	space = space_of(parent_mm);
	if (!space)
		return 0;
	new.number = __sync_fetch_and_add(&next_space, 1);
	if (bpf_map_update_elem(&spaces, &mm, &new, BPF_ANY)) {
		count_lost();
		return 0;
	}
	tell_child(space->number, new.number, child);
	return 0;
}

SEC("syscall")
int find_own_level(void *ctx)
{
	(void)ctx;
	own_level = bpf_get_current_task_btf()->thread_pid->level;
	return 0;
}

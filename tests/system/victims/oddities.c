/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * oddities STATUS NAME...: memory, and what a program can be besides: see the table at the end.
 * Asked by SIGUSR1, it does with its memory what the names say, and verifies all of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/io_uring.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "victim.h"

#define PAGES 1000u /* 4 MB, one half of it for each of two uses */
#define SEED UINT64_C(0x6f6464)
#define HEAP_PAGES 200u
#define HEAP_GIVEN 50u
#define HEAP_SEED UINT64_C(0x68656170)
#define ZOMBIE_STATUS 7

static uint8_t *memory, *heap;
static uint64_t asked; /* how often */
static pid_t zombie, stopped;
static int answers[2];
static uint8_t stack[65536] __attribute__((aligned(16)));

static uint8_t *page(uint64_t i)
{
	return memory + i * VICTIM_PAGE;
}

/* A page that nothing else of this file uses, another one each time. */
static uint64_t fresh_page(unsigned which)
{
	return (asked * 8 + which) * 31 % PAGES;
}

static void verify(uint64_t first, uint64_t end)
{
	for (uint64_t i = first; i < end; i++)
		victim_verify(page(i), SEED, i);
}

/* ---- children that have ended, or are stopped ---- */

static void make_zombie(void)
{
	siginfo_t info;

	zombie = fork();
	if (zombie == 0)
		_exit(ZOMBIE_STATUS);
	if (zombie < 0 || waitid(P_PID, (id_t)zombie, &info, WEXITED | WNOWAIT) < 0)
		victim_die("zombie");
}

static void check_zombie(void)
{
	siginfo_t info = {0};

	if (waitid(P_PID, (id_t)zombie, &info, WEXITED | WNOWAIT | WNOHANG) < 0 ||
	    info.si_pid != zombie || info.si_status != ZOMBIE_STATUS)
		victim_bad("zombie %d: status %d", info.si_pid, info.si_status);
}

static _Noreturn void stopped_main(void)
{
	for (;;) {
		raise(SIGSTOP);
		verify(0, PAGES);
		if (write(answers[1], "", 1) != 1)
			_exit(1);
	}
}

static void make_stopped(void)
{
	siginfo_t info;

	if (pipe(answers) < 0)
		victim_die("pipe");
	stopped = fork();
	if (stopped == 0)
		stopped_main();
	if (stopped < 0 || waitid(P_PID, (id_t)stopped, &info, WSTOPPED) < 0)
		victim_die("stopped");
}

static void check_stopped(void)
{
	siginfo_t info;
	char byte;

	if (kill(stopped, SIGCONT) < 0 || read(answers[0], &byte, 1) != 1 ||
	    waitid(P_PID, (id_t)stopped, &info, WSTOPPED) < 0)
		victim_bad("the stopped child did not go on: %s", strerror(errno));
}

/* ---- a child in the same memory, until it ends ---- */

static int in_same_memory(void *arg)
{
	uint64_t i = fresh_page(0);

	(void)arg;
	victim_verify(page(i), SEED, i);
	victim_fill(page(i), SEED + 1, i);
	return 0;
}

static void check_vfork(void)
{
	uint64_t i = fresh_page(0);
	pid_t child = clone(in_same_memory, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | SIGCHLD,
			    NULL);
	int status;

	if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
		victim_bad("a child in the same memory: %s", strerror(errno));
	victim_verify(page(i), SEED + 1, i);
	victim_fill(page(i), SEED, i);
}

/* ---- the heap ---- */

static void make_heap(void)
{
	uintptr_t at = (uintptr_t)sbrk(0);

	if (sbrk((intptr_t)(VICTIM_PAGE - at % VICTIM_PAGE + HEAP_PAGES * VICTIM_PAGE)) ==
	    (void *)-1)
		victim_die("sbrk");
	heap = (uint8_t *)sbrk(0) - HEAP_PAGES * VICTIM_PAGE;
	for (uint64_t i = 0; i < HEAP_PAGES; i++)
		victim_fill(heap + i * VICTIM_PAGE, HEAP_SEED, i);
}

/* A part is given back and taken again: it is zero then. */
static void check_heap(void)
{
	static const uint8_t zeros[VICTIM_PAGE];
	uint8_t *given = heap + (HEAP_PAGES - HEAP_GIVEN) * VICTIM_PAGE;

	if (sbrk(-(intptr_t)(HEAP_GIVEN * VICTIM_PAGE)) == (void *)-1 ||
	    sbrk(HEAP_GIVEN * VICTIM_PAGE) != given)
		victim_bad("sbrk: %s", strerror(errno));
	for (uint64_t i = 0; i < HEAP_GIVEN; i++) {
		if (memcmp(given + i * VICTIM_PAGE, zeros, VICTIM_PAGE) != 0)
			victim_bad("heap page %llu is not zero", (unsigned long long)i);
		victim_fill(given + i * VICTIM_PAGE, HEAP_SEED, HEAP_PAGES - HEAP_GIVEN + i);
	}
	for (uint64_t i = 0; i < HEAP_PAGES; i++)
		victim_verify(heap + i * VICTIM_PAGE, HEAP_SEED, i);
}

/* ---- io_uring: the kernel's own threads read and write the memory ---- */

struct ring {
	int fd;
	uint8_t *rings;
	struct io_uring_sqe *sqes;
	struct io_uring_params p;
};

static void ring_open(struct ring *r)
{
	*r = (struct ring){0};
	r->fd = (int)syscall(SYS_io_uring_setup, 4, &r->p);
	if (r->fd < 0)
		victim_bad("io_uring_setup: %s", strerror(errno));
	/* both rings in one mapping: IORING_FEAT_SINGLE_MMAP, since Linux 5.4 */
	r->rings = mmap(NULL, VICTIM_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd,
			IORING_OFF_SQ_RING);
	r->sqes =
		mmap(NULL, VICTIM_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, IORING_OFF_SQES);
	if (r->rings == MAP_FAILED || (void *)r->sqes == MAP_FAILED)
		victim_bad("io_uring: %s", strerror(errno));
}

static uint32_t *ring_word(const struct ring *r, uint32_t offset)
{
	return (uint32_t *)(void *)(r->rings + offset);
}

/* One operation, by a thread of the kernel; returns its result. */
static int ring_do(struct ring *r, uint8_t opcode, int fd, void *at, uint32_t len)
{
	uint32_t *tail = ring_word(r, r->p.sq_off.tail), *head = ring_word(r, r->p.cq_off.head);
	struct io_uring_cqe *cqes = (void *)(r->rings + r->p.cq_off.cqes);

	r->sqes[0] = (struct io_uring_sqe){.opcode = opcode,
					   .flags = IOSQE_ASYNC,
					   .fd = fd,
					   .off = UINT64_MAX,
					   .addr = (uintptr_t)at,
					   .len = len};
	ring_word(r, r->p.sq_off.array)[*tail & (r->p.sq_entries - 1)] = 0;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, r->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) != 1)
		victim_bad("io_uring_enter: %s", strerror(errno));
	*head += 1;
	return cqes[(*head - 1) & (r->p.cq_entries - 1)].res;
}

static void check_uring(void)
{
	uint64_t from = fresh_page(1), to = fresh_page(2);
	int ends[2], written, got;
	struct ring r;

	if (pipe(ends) < 0)
		victim_bad("pipe: %s", strerror(errno));
	ring_open(&r);
	written = ring_do(&r, IORING_OP_WRITE, ends[1], page(from), VICTIM_PAGE);
	got = ring_do(&r, IORING_OP_READ, ends[0], page(to), VICTIM_PAGE);
	if (written != (int)VICTIM_PAGE || got != (int)VICTIM_PAGE)
		victim_bad("io_uring: wrote %d, read %d", written, got);
	victim_verify(page(to), SEED, from);
	victim_fill(page(to), SEED, to);
	munmap(r.rings, VICTIM_PAGE);
	munmap(r.sqes, VICTIM_PAGE);
	close(r.fd);
	close(ends[0]);
	close(ends[1]);
}

/* ---- what the kernel is told about the process ---- */

static void make_undumpable(void)
{
	if (prctl(PR_SET_DUMPABLE, 0) < 0)
		victim_die("PR_SET_DUMPABLE");
}

/* getpgid() is refused from then on. */
static void make_seccomp(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getpgid, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = sizeof(filter) / sizeof(filter[0]), .filter = filter};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
		victim_die("seccomp");
}

static void check_seccomp(void)
{
	if (syscall(SYS_getpgid, 0) != -1 || errno != ENOSYS)
		victim_bad("the seccomp filter is gone");
}

static void make_locked(void)
{
	if (mlockall(MCL_CURRENT | MCL_FUTURE) < 0)
		victim_die("mlockall");
}

/* Of its own, with memory registered that nobody will ever bring. */
static void make_userfaultfd(void)
{
	struct uffdio_api api = {.api = UFFD_API};
	struct uffdio_register reg = {
		.range = {.start = (uintptr_t)victim_map(1), .len = VICTIM_PAGE},
		.mode = UFFDIO_REGISTER_MODE_MISSING};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) < 0 || ioctl(fd, UFFDIO_REGISTER, &reg) < 0)
		victim_die("userfaultfd");
}

static void nothing(void)
{
}

static const struct oddity {
	const char *name;
	void (*make)(void);
	void (*check)(void);
} oddities[] = {
	{"heap", make_heap, check_heap},
	{"zombie", make_zombie, check_zombie},
	{"stopped", make_stopped, check_stopped},
	{"vfork", nothing, check_vfork},
	{"uring", nothing, check_uring},
	{"undumpable", make_undumpable, nothing},
	{"seccomp", make_seccomp, check_seccomp},
	{"locked", make_locked, nothing},
	{"userfaultfd", make_userfaultfd, nothing},
};

static const struct oddity *find(const char *name)
{
	for (size_t i = 0; i < sizeof(oddities) / sizeof(oddities[0]); i++)
		if (!strcmp(oddities[i].name, name))
			return &oddities[i];
	victim_die(name);
}

int main(int argc, char **argv)
{
	if (argc < 3) {
		fputs("usage: oddities STATUS NAME...\n", stderr);
		return 2;
	}
	victim_init(argv[1]);
	memory = victim_map(PAGES);
	for (uint64_t i = 0; i < PAGES; i++)
		victim_fill(page(i), SEED, i);
	for (int i = 2; i < argc; i++)
		find(argv[i])->make();
	victim_ready();
	for (;;) {
		if (!victim_asked(10))
			continue;
		asked++;
		for (int i = 2; i < argc; i++)
			find(argv[i])->check();
		verify(0, PAGES);
		victim_ok(asked);
	}
}

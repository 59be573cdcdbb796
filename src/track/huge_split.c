/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "huge_split.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "young.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

#define UNIT_SIZE (UINT64_C(1) << YOUNG_UNIT_SHIFT)
#define PAGE_SIZE 4096u

/* What the program may have to wait: this part of the time since the start, in thousandths, and
 * this much at once. Together below 1 % in any window of a second or more. */
#define STALL_SHARE 7u
#define STALL_CREDIT_NS (2 * NSEC_PER_MSEC)
/* What a call costs a program that does not wait for it: interrupts that flush translations; and
 * what it takes to wake up one that does. */
#define UNNOTICED_NS UINT64_C(20000)
#define WAKING_NS UINT64_C(50000)
/* Until it is known: 0.1 to 0.3 ms for a split, 0.3 to 2 ms for a join were seen. */
#define FIRST_SPLIT_NS UINT64_C(200000)
#define FIRST_JOIN_NS UINT64_C(1000000)

/* What our own processor time may be beyond its share, at once. */
#define CPU_CREDIT_NS (10 * NSEC_PER_MSEC)

/* When no huge page is to be had, try again after this. */
#define SPARE_GAP_NS NSEC_PER_SEC

struct handle {
	int pidfd;
	int stat;
	clockid_t clock; /* the process's processor time */
};

/* The last call, as long as it is not known whether the program waited for it. */
struct call {
	const struct handle *handle; /* NULL: settled */
	uint64_t faults;
	uint64_t ns;
	uint64_t *dear;
};

struct splitter {
	struct handle *handles; /* by task; descriptors are -1 until used */
	size_t n_handles;
	uint64_t start;
	uint64_t cpu_ns;
	struct call last;
	uint64_t split_ns, join_ns; /* what one costs the program when it is dear, lately */
	unsigned most_apart;
	id_t thread;		 /* that splits, */
	int nice;		 /* and how nice it is while nothing is apart */
	bool stopped;		 /* one could not be put together */
	void *mapping;		 /* holds the spare page, on a border of 2 MB */
	volatile uint8_t *spare; /* NULL: none */
	bool spare_held;
	uint64_t spare_due; /* when to try again */
	struct splitter_totals totals;
};

/*
 * A huge page of our own. Given back right before a call that needs one, it is the one that the
 * kernel takes, for it is on top of this processor's free pages: there is one, it need not be made
 * by moving others, and it is in the processor's cache. The call is done in two thirds of the time;
 * where a hypervisor has to find memory first, in a tenth. What is put together leaves 2 MB in one
 * piece free for the next.
 */
static bool hold_spare(struct splitter *s)
{
	unsigned char resident = 0;

	if (s->spare_held)
		return true;
	if (clock_ns() < s->spare_due || !s->spare)
		return false;
	*s->spare = 1;
	/* Only a huge page brings its neighbours along. */
	if (!mincore((uint8_t *)s->spare + PAGE_SIZE, PAGE_SIZE, &resident) && (resident & 1))
		return s->spare_held = true;
	madvise((void *)s->spare, UNIT_SIZE, MADV_DONTNEED);
	s->spare_due = clock_ns() + SPARE_GAP_NS;
	return false;
}

static void drop_spare(struct splitter *s)
{
	if (s->spare_held)
		madvise((void *)s->spare, UNIT_SIZE, MADV_DONTNEED);
	s->spare_held = false;
}

static void map_spare(struct splitter *s)
{
	void *p = mmap(NULL, 2 * UNIT_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		       0);

	if (p == MAP_FAILED)
		return;
	s->mapping = p;
	s->spare = (volatile uint8_t *)(((uintptr_t)p + UNIT_SIZE - 1) & ~(UNIT_SIZE - 1));
	madvise((void *)s->spare, UNIT_SIZE, MADV_HUGEPAGE);
}

int splitter_new(struct splitter **ret, size_t n_tasks, struct frem_error *err)
{
	struct splitter *s = calloc(1, sizeof(*s));
	struct handle *handles = calloc(n_tasks ? n_tasks : 1, sizeof(*handles));

	if (!s || !handles) {
		free(s);
		free(handles);
		return frem_oom(err);
	}
	for (size_t i = 0; i < n_tasks; i++)
		handles[i] = (struct handle){.pidfd = -1, .stat = -1};
	s->handles = handles;
	s->n_handles = n_tasks;
	s->start = clock_ns();
	s->split_ns = FIRST_SPLIT_NS;
	s->join_ns = FIRST_JOIN_NS;
	s->most_apart = 1;
	map_spare(s);
	*ret = s;
	return 0;
}

void splitter_free(struct splitter *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n_handles; i++) {
		if (s->handles[i].pidfd >= 0)
			close(s->handles[i].pidfd);
		if (s->handles[i].stat >= 0)
			close(s->handles[i].stat);
	}
	if (s->mapping)
		munmap(s->mapping, 2 * UNIT_SIZE);
	free(s->handles);
	free(s);
}

static const struct handle *handle_of(struct splitter *s, size_t task, pid_t pid)
{
	struct handle *h = &s->handles[task];
	char path[64];

	if (h->pidfd < 0)
		h->pidfd = pidfd_open(pid, 0);
	if (h->stat < 0) {
		snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
		h->stat = open(path, O_RDONLY | O_CLOEXEC);
		if (clock_getcpuclockid(pid, &h->clock))
			h->clock = CLOCK_MONOTONIC;
	}
	return h->pidfd >= 0 && h->stat >= 0 ? h : NULL;
}

/* ---- what it costs ---- */

/* Page faults of the process so far that did no I/O: proc_pid_stat(5), field 10. */
static uint64_t faults_of(const struct handle *h)
{
	char line[512];
	ssize_t n = pread(h->stat, line, sizeof(line) - 1, 0);
	const char *at;

	if (n <= 0)
		return 0;
	line[n] = 0;
	at = strrchr(line, ')'); /* ends field 2, in which anything may be */
	for (unsigned field = 2; at && field < 10; field++)
		at = strchr(at + 1, ' ');
	return at ? strtoull(at, NULL, 10) : 0;
}

/*
 * The thread that waited for the last call counts its fault only when it is through, so the call is
 * judged when the next one comes. A program that has other faults all the time pays for all calls.
 */
static void settle(struct splitter *s)
{
	struct call *c = &s->last;
	uint64_t cost = UNNOTICED_NS;

	if (!c->handle)
		return;
	if (faults_of(c->handle) != c->faults)
		cost = c->ns + WAKING_NS;
	s->totals.stall_ns += cost;
	*c->dear = cost > *c->dear ? cost : (*c->dear * 7 + cost) / 8;
	c->handle = NULL;
}

/* process_madvise() of the first `size` bytes of a unit: 0 or -errno. */
static int advise(const struct handle *h, uint64_t unit, size_t size, int advice)
{
	struct iovec range = {(void *)(uintptr_t)(unit << YOUNG_UNIT_SHIFT), size};

	return process_madvise(h->pidfd, &range, 1, advice, 0) < 0 ? -errno : 0;
}

/* While a call keeps memory from the program, nothing else must keep the call from the processor:
 * not even the program's other threads. */
static void hurry(bool on)
{
	struct sched_param p = {.sched_priority = on ? 1 : 0};

	sched_setscheduler(0, (on ? SCHED_FIFO : SCHED_OTHER) | SCHED_RESET_ON_FORK, &p);
}

static struct call begin_call(struct splitter *s, const struct handle *h, uint64_t *dear)
{
	settle(s);
	hurry(true);
	return (struct call){h, faults_of(h), clock_thread_cpu_ns(), dear};
}

/* What counts is the call's processor time: when it sleeps, it is before it takes the memory. */
static void end_call(struct splitter *s, struct call *c)
{
	c->ns = clock_thread_cpu_ns() - c->ns;
	hurry(false);
	s->last = *c;
}

/* ---- whether it may be ---- */

/* Whether `want` fits into `share` of `whole` of the time since the start, and `credit`. */
static bool fits(const struct splitter *s, uint64_t want, uint64_t credit, uint64_t share,
		 uint64_t whole, uint64_t *ret_due)
{
	uint64_t due = s->start + (want > credit ? want - credit : 0) * whole / share;

	if (due <= clock_ns())
		return true;
	if (due < *ret_due)
		*ret_due = due;
	return false;
}

bool splitter_crowded(struct splitter *s)
{
	return s->totals.apart >= s->most_apart || !hold_spare(s);
}

bool splitter_may(struct splitter *s, unsigned cpu_percent, uint64_t *ret_due)
{
	uint64_t stall;

	if (s->totals.apart >= s->most_apart || s->stopped)
		return false;
	settle(s);
	stall = s->totals.stall_ns + s->split_ns + (s->totals.apart + 1) * s->join_ns;
	if (!fits(s, stall, STALL_CREDIT_NS, STALL_SHARE, 1000, ret_due) ||
	    !fits(s, s->cpu_ns, CPU_CREDIT_NS, cpu_percent, 100, ret_due))
		return false;
	if (hold_spare(s))
		return true;
	*ret_due = s->spare_due < *ret_due ? s->spare_due : *ret_due;
	return false;
}

/* ---- doing it ---- */

/* As long as something is apart, this thread waits for a processor no longer than others do. */
static void set_apart(struct splitter *s, unsigned apart)
{
	if (!s->totals.apart && apart) {
		s->thread = (id_t)gettid();
		s->nice = getpriority(PRIO_PROCESS, s->thread);
		setpriority(PRIO_PROCESS, s->thread, s->nice > 0 ? 0 : s->nice);
	} else if (s->totals.apart && !apart) {
		setpriority(PRIO_PROCESS, s->thread, s->nice);
	}
	s->totals.apart = apart;
}

void splitter_split(struct splitter *s, size_t task, pid_t pid, uint64_t unit)
{
	const struct handle *h = handle_of(s, task, pid);
	struct call call;

	set_apart(s, s->totals.apart + 1);
	s->totals.splits++;
	if (!h)
		return;
	call = begin_call(s, h, &s->split_ns);
	/* the small pages inherit the accessed bit: what counts is accessed after the second call
	 */
	if (!advise(h, unit, PAGE_SIZE, MADV_COLD))
		advise(h, unit, UNIT_SIZE, MADV_COLD);
	end_call(s, &call);
}

int splitter_join(struct splitter *s, size_t task, pid_t pid, uint64_t unit)
{
	const struct handle *h = handle_of(s, task, pid);
	struct call call;
	int r = -ESRCH;

	if (h) {
		hold_spare(s);
		call = begin_call(s, h, &s->join_ns);
		drop_spare(s);
		r = advise(h, unit, UNIT_SIZE, MADV_COLLAPSE);
		end_call(s, &call);
	}
	if (r == -ESRCH) { /* with all its memory */
		set_apart(s, s->totals.apart - 1);
		return 0;
	}
	if (!r) {
		set_apart(s, s->totals.apart - 1);
		s->totals.joins++;
		s->most_apart = s->most_apart * 2 < SPLITTER_MOST_APART ? s->most_apart * 2
									: SPLITTER_MOST_APART;
	} else if (r != -EAGAIN && !s->stopped) {
		s->stopped = true;
		log_debug("tracking: a huge page cannot be put together again, ignoring: %s",
			  strerror(-r));
	}
	return r;
}

void splitter_forget(struct splitter *s)
{
	set_apart(s, s->totals.apart - 1);
}

void splitter_charge(struct splitter *s, uint64_t cpu_ns)
{
	s->cpu_ns += cpu_ns;
}

uint64_t splitter_program_ns(struct splitter *s, size_t task, pid_t pid)
{
	const struct handle *h = handle_of(s, task, pid);
	uint64_t ns = h ? clock_read_ns(h->clock) : 0;

	return ns ? ns : clock_ns();
}

void splitter_totals(const struct splitter *s, struct splitter_totals *ret)
{
	*ret = s->totals;
}

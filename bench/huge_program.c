/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "huge_program.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"

#define PAGE 4096u
#define LINE 64u
#define UNIT_PAGES 512u
#define UNIT_SIZE ((size_t)UNIT_PAGES * PAGE)
#define AT_ONCE 64u	  /* accesses between two updates of the count */
#define SWEEP_AT_ONCE 16u /* pages a millisecond */
#define SHARED_SIZE(pages) (sizeof(struct huge_shared) + (pages))

const char *const huge_pattern_names[HUGE_PATTERNS] = {
	"tenth", "hundredth", "written", "stream", "mixed", "sweep", "rare", "forked",
};

struct huge_shared {
	_Atomic uint64_t count;
	_Atomic int filled;
	_Atomic pid_t child;
	uint8_t used[]; /* by page */
};

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13; /* Marsaglia's xorshift */
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void pause_a_millisecond(void)
{
	struct timespec t = {0, 1000000};

	nanosleep(&t, NULL);
}

/* ---- what it uses ---- */

static bool chooses(enum huge_pattern pattern, uint64_t page, uint64_t *random)
{
	uint64_t r = next_random(random) >> 20;

	switch (pattern) {
	case HUGE_TENTH:
	case HUGE_WRITTEN:
		return r % 10 == 0;
	case HUGE_HUNDREDTH:
	case HUGE_RARE:
		return r % 100 == 0;
	case HUGE_FORKED:
		return page % UNIT_PAGES == 0;
	case HUGE_MIXED:
		return page / UNIT_PAGES % 2 || r % 50 == 0;
	default:
		return true;
	}
}

static int choose(struct huge_program *p, enum huge_pattern pattern)
{
	uint64_t random = 88172645463325252;

	p->chosen = calloc(p->pages, sizeof(*p->chosen));
	if (!p->chosen)
		return -1;
	for (uint64_t page = 0; page < p->pages; page++)
		if (chooses(pattern, page, &random))
			p->chosen[p->n_chosen++] = (uint32_t)page;
	return 0;
}

static _Noreturn void use_at_random(const struct huge_program *p, bool write)
{
	uint64_t random = 123456789;

	for (;;) {
		for (unsigned i = 0; i < AT_ONCE; i++) {
			uint64_t r = next_random(&random);
			volatile uint8_t *at = p->memory +
					       (size_t)p->chosen[(r >> 20) % p->n_chosen] * PAGE +
					       (r & (PAGE - 1));

			if (write)
				*at = (uint8_t)r;
			else
				(void)*at;
		}
		p->shared->count += AT_ONCE;
	}
}

static _Noreturn void stream(const struct huge_program *p)
{
	for (;;)
		for (uint64_t page = 0; page < p->pages; page++) {
			for (unsigned i = 0; i < PAGE; i += LINE)
				(void)p->memory[page * PAGE + i];
			p->shared->count += PAGE / LINE;
		}
}

static void use_page(const struct huge_program *p, uint64_t page)
{
	(void)p->memory[page * PAGE];
	p->shared->used[page] = 1;
	p->shared->count++;
}

static _Noreturn void sweep(const struct huge_program *p)
{
	for (uint64_t page = 0;; page = (page + SWEEP_AT_ONCE) % p->pages) {
		for (unsigned i = 0; i < SWEEP_AT_ONCE; i++)
			use_page(p, page + i);
		pause_a_millisecond();
	}
}

static _Noreturn void use_rarely(const struct huge_program *p)
{
	uint64_t random = 123456789;

	for (;;) {
		use_page(p, p->chosen[(next_random(&random) >> 20) % p->n_chosen]);
		pause_a_millisecond();
	}
}

static _Noreturn void share(const struct huge_program *p)
{
	pid_t child = fork();

	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	p->shared->child = child;
	for (;;) {
		for (uint64_t i = 0; i < p->n_chosen; i++)
			use_page(p, p->chosen[i]);
		pause_a_millisecond();
	}
}

static _Noreturn void program_main(const struct huge_program *p, enum huge_pattern pattern)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (uint64_t page = 0; page < p->pages; page++)
		p->memory[page * PAGE] = (uint8_t)(page | 1);
	p->shared->filled = 1;
	if (pattern == HUGE_STREAM)
		stream(p);
	if (pattern == HUGE_SWEEP)
		sweep(p);
	if (pattern == HUGE_RARE)
		use_rarely(p);
	if (pattern == HUGE_FORKED)
		share(p);
	/* marked here: doing so page by page would be most of the program */
	use_at_random(p, pattern == HUGE_WRITTEN);
}

/* ---- starting and stopping ---- */

static int map_memory(struct huge_program *p)
{
	void *shared = mmap(NULL, SHARED_SIZE(p->pages), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	p->mapping = mmap(NULL, p->pages * PAGE + UNIT_SIZE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	p->shared = shared == MAP_FAILED ? NULL : shared;
	if (p->mapping == MAP_FAILED || !p->shared)
		return -1;
	p->memory = (volatile uint8_t *)(((uintptr_t)p->mapping + UNIT_SIZE - 1) &
					 ~(uintptr_t)(UNIT_SIZE - 1));
	madvise((void *)p->memory, p->pages * PAGE, MADV_HUGEPAGE);
	return 0;
}

int huge_program_start(struct huge_program *p, enum huge_pattern pattern, uint64_t pages)
{
	*p = (struct huge_program){.pages = pages};
	if (map_memory(p) || choose(p, pattern))
		return -1;
	p->pid = fork();
	if (!p->pid)
		program_main(p, pattern);
	if (p->pid < 0)
		return -1;
	while (!p->shared->filled)
		pause_a_millisecond();
	huge_program_stop(p);
	return 0;
}

void huge_program_end(struct huge_program *p)
{
	if (p->pid > 0) {
		kill(p->pid, SIGKILL);
		waitpid(p->pid, NULL, 0);
	}
	if (p->shared)
		munmap(p->shared, SHARED_SIZE(p->pages));
	if (p->mapping != MAP_FAILED)
		munmap(p->mapping, p->pages * PAGE + UNIT_SIZE);
	free(p->chosen);
}

void huge_program_stop(const struct huge_program *p)
{
	char path[64], line[16];

	kill(p->pid, SIGSTOP);
	waitpid(p->pid, NULL, WUNTRACED);
	snprintf(path, sizeof(path), "/proc/%d/syscall", (int)p->pid);
	do { /* it may still be on its way off the processor */
		_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
		ssize_t n = read(fd, line, sizeof(line) - 1);

		line[n > 0 ? n : 0] = 0;
		sched_yield();
	} while (strncmp(line, "running", 7) == 0);
	memset(p->shared->used, 0, p->pages);
}

void huge_program_continue(const struct huge_program *p)
{
	kill(p->pid, SIGCONT);
}

uint64_t huge_program_count(const struct huge_program *p)
{
	return p->shared->count;
}

void huge_program_times(const struct huge_program *p, double *ret_run_ms, double *ret_wait_ms)
{
	_cleanup_fclose_ FILE *f = NULL;
	char path[64], line[128], *at;

	snprintf(path, sizeof(path), "/proc/%d/schedstat", (int)p->pid);
	f = fopen(path, "re");
	if (!f || !fgets(line, sizeof(line), f))
		return;
	*ret_run_ms = strtod(line, &at) / 1e6;
	*ret_wait_ms = strtod(at, NULL) / 1e6;
}

uint8_t *huge_program_used(const struct huge_program *p)
{
	uint8_t *used = malloc(p->pages);
	bool noted = memchr(p->shared->used, 1, p->pages) != NULL;

	if (!used)
		return NULL;
	memcpy(used, p->shared->used, p->pages);
	for (uint64_t i = 0; !noted && i < p->n_chosen; i++)
		used[p->chosen[i]] = 1;
	return used;
}

pid_t huge_program_child(const struct huge_program *p)
{
	return p->shared->child;
}

uint64_t huge_program_huge(const struct huge_program *p)
{
	_cleanup_fclose_ FILE *f = NULL;
	char path[64], line[256];

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)p->pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (strncmp(line, "AnonHugePages:", 14) == 0)
			return strtoull(line + 14, NULL, 10) * 1024;
	return 0;
}

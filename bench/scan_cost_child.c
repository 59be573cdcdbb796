/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scan_cost_child.h"

#include <errno.h>
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
#define MOST_PROCESSES 4096u
#define USED_SHARE 50u	    /* of the pages, one in so many is used all the time */
#define USED_AT_ONCE 16u    /* pages a millisecond */
#define READS_AT_ONCE 4096u /* between two looks at what is to be done */

struct program_shared {
	_Atomic int phase;
	_Atomic uint64_t rounds; /* phases begun so far */
	_Atomic uint64_t done;	 /* processes that are through with all of them */
	_Atomic uint64_t reads;
	_Atomic pid_t pids[MOST_PROCESSES];
};

void pause_ms(double ms)
{
	struct timespec t = {(time_t)(ms / 1000), (long)(ms * 1e6) % 1000000000};

	while (nanosleep(&t, &t))
		;
}

static uint64_t next_random(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) + 1442695040888963407;
	return *state >> 33;
}

static void touch_every(const struct program *p, uint64_t step)
{
	for (uint64_t i = 0; i < p->pages; i += step)
		(void)p->memory[i * PAGE];
}

static void read_at_random(const struct program *p, uint64_t *random)
{
	for (unsigned i = 0; i < READS_AT_ONCE; i++)
		(void)p->memory[next_random(random) % p->pages * PAGE + i % PAGE];
	p->shared->reads += READS_AT_ONCE;
}

static void use_some(const struct program *p, uint64_t *random)
{
	for (unsigned i = 0; i < USED_AT_ONCE; i++)
		(void)p->memory[next_random(random) % (p->pages / USED_SHARE + 1) * PAGE];
	pause_ms(1);
}

static _Noreturn void process_main(const struct program *p, size_t number)
{
	uint64_t random = number, rounds = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (uint64_t i = 0; i < p->pages; i++)
		p->memory[i * PAGE] = 1;
	p->shared->pids[number] = getpid();
	p->shared->done++;
	for (;;) {
		if (rounds == p->shared->rounds) {
			use_some(p, &random);
			continue;
		}
		if (p->shared->phase == PROGRAM_RANDOM) {
			read_at_random(p, &random);
			continue;
		}
		rounds++;
		touch_every(p, p->shared->phase == PROGRAM_TENTH ? 10 : 1);
		p->shared->done++;
	}
}

static void root_main(const struct program *p)
{
	for (size_t i = 1; i < p->n; i++) {
		pid_t pid = fork();

		if (!pid)
			process_main(p, i);
		if (pid < 0)
			_exit(1);
	}
	process_main(p, 0);
}

static void wait_done(const struct program *p)
{
	while (p->shared->done < p->n * (p->shared->rounds + 1))
		pause_ms(1);
}

int program_start(struct program *p, double gb, size_t n)
{
	void *memory, *shared;

	p->n = n;
	p->pages = (uint64_t)(gb * (1 << 30)) / PAGE / n;
	if (!p->pages || n > MOST_PROCESSES) {
		errno = EINVAL;
		return -1;
	}
	p->pids = calloc(n, sizeof(*p->pids));
	shared = mmap(NULL, sizeof(*p->shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	memory = mmap(NULL, p->pages * PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (shared == MAP_FAILED || memory == MAP_FAILED || !p->pids)
		return -1;
	madvise(memory, p->pages * PAGE, MADV_NOHUGEPAGE);
	p->shared = shared;
	p->memory = memory;
	p->pids[0] = fork();
	if (!p->pids[0])
		root_main(p);
	if (p->pids[0] < 0)
		return -1;
	wait_done(p);
	for (size_t i = 0; i < n; i++)
		p->pids[i] = p->shared->pids[i];
	return 0;
}

void program_end(struct program *p)
{
	/* its children go with it */
	kill(p->pids[0], SIGKILL);
	waitpid(p->pids[0], NULL, 0);
	munmap((void *)p->memory, p->pages * PAGE);
	munmap(p->shared, sizeof(*p->shared));
	free(p->pids);
}

/* In /proc/PID/stat the state follows the name; /proc/PID/syscall says "running" until the process
 * has left the processor. */
static bool stopped(pid_t pid)
{
	char path[64], line[256] = "";
	const char *files[] = {"stat", "syscall"};

	for (unsigned i = 0; i < 2; i++) {
		_cleanup_close_ int fd = -1;
		const char *state;

		snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, files[i]);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || read(fd, line, sizeof(line) - 1) <= 0)
			return true; /* gone */
		state = strrchr(line, ')');
		if (i ? !strncmp(line, "running", 7) : !state || state[2] != 'T')
			return false;
	}
	return true;
}

void program_stop(const struct program *p)
{
	for (size_t i = 0; i < p->n; i++)
		kill(p->pids[i], SIGSTOP);
	for (size_t i = 0; i < p->n; i++)
		while (!stopped(p->pids[i]))
			sched_yield();
}

void program_continue(const struct program *p)
{
	for (size_t i = 0; i < p->n; i++)
		kill(p->pids[i], SIGCONT);
}

void program_begin(const struct program *p, enum program_phase phase)
{
	p->shared->phase = phase;
	p->shared->rounds++;
}

void program_tell(const struct program *p, enum program_phase phase)
{
	program_begin(p, phase);
	wait_done(p);
}

uint64_t program_reads(const struct program *p)
{
	return p->shared->reads;
}

double program_cpu_ms(const struct program *p)
{
	struct timespec t = {};
	clockid_t clock;

	if (!clock_getcpuclockid(p->pids[0], &clock))
		clock_gettime(clock, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "track_child.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define HUGE_PAGE (2u << 20)

struct spinner {
	const struct child *child;
	unsigned number;
};

static void *spin(void *arg)
{
	const struct spinner *s = arg;
	volatile uint8_t *hot = s->child->memory + s->number * HOT_PAGES * PAGE;
	cpu_set_t cpu;

	CPU_ZERO(&cpu);
	CPU_SET(s->number, &cpu);
	sched_setaffinity(0, sizeof(cpu), &cpu); /* with one processor they share it */
	for (;;) {
		for (unsigned i = 0; i < HOT_PAGES; i++)
			(void)hot[i * PAGE];
		s->child->shared->passes[s->number]++;
	}
	return NULL;
}

static void start_spinners(const struct child *c)
{
	static struct spinner spinners[CHILD_THREADS];
	pthread_t thread;

	for (unsigned i = 0; i < CHILD_THREADS; i++) {
		spinners[i] = (struct spinner){c, i};
		if (pthread_create(&thread, NULL, spin, &spinners[i]))
			_exit(1);
	}
}

void child_exec(const struct child *c)
{
	char args[4][32];

	snprintf(args[0], sizeof(args[0]), "%lu", (unsigned long)(uintptr_t)c->memory);
	snprintf(args[1], sizeof(args[1]), "%lu", (unsigned long)c->pages);
	snprintf(args[2], sizeof(args[2]), "%d", c->from);
	fcntl(c->from, F_SETFD, 0);
	execl("/proc/self/exe", "after-exec", args[0], args[1], args[2], NULL);
	_exit(1);
}

void child_after_exec(int argc, char **argv)
{
	volatile uint8_t *memory;
	uint64_t pages;

	if (argc != 4 || strcmp(argv[0], "after-exec") != 0)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	pages = strtoull(argv[2], NULL, 10);
	memory = mmap((void *)strtoull(argv[1], NULL, 10), pages * PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	if (memory == MAP_FAILED)
		_exit(1);
	for (uint64_t i = 0; i < pages; i++)
		memory[i * PAGE] = 2;
	if (write((int)strtol(argv[3], NULL, 10), "", 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

static void obey(const struct child *c, const struct child_command *cmd)
{
	uint64_t i;

	switch (cmd->op) {
	case CHILD_READ:
		for (i = cmd->first; i < cmd->end; i += cmd->step)
			(void)c->memory[i * PAGE];
		break;
	case CHILD_WRITE:
		for (i = cmd->first; i < cmd->end; i += cmd->step)
			c->memory[i * PAGE] = 3;
		break;
	case CHILD_SPIN:
		start_spinners(c);
		break;
	case CHILD_EXEC:
		child_exec(c);
		break;
	case CHILD_CALL:
		((child_function)cmd->first)((void *)cmd->end);
		break;
	case CHILD_EXIT:
		if (write(c->from, "", 1) == 1)
			_exit(0);
		_exit(1);
	}
}

static _Noreturn void child_main(const struct child *c, uint64_t step)
{
	struct child_command cmd;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (uint64_t i = 0; i < c->pages; i += step)
		c->memory[i * PAGE] = 1;
	for (;;) {
		if (write(c->from, "", 1) != 1 || read(c->to, &cmd, sizeof(cmd)) != sizeof(cmd))
			_exit(1);
		obey(c, &cmd);
	}
}

static void wait_for_reply(const struct child *c)
{
	char reply;

	assert_int_equal(read(c->from, &reply, 1), 1);
}

void child_start(struct child *c, uint64_t pages, unsigned flags)
{
	uint64_t size = pages * PAGE;
	int to[2], from[2];
	uint8_t *memory;

	assert_int_equal(pipe2(to, O_CLOEXEC), 0);
	assert_int_equal(pipe2(from, O_CLOEXEC), 0);
	c->pages = pages;
	c->shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(c->shared, MAP_FAILED);
	memory = mmap(NULL, size + HUGE_PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_ptr_not_equal(memory, MAP_FAILED);
	c->mapping = memory;
	c->memory = memory + (HUGE_PAGE - (uintptr_t)memory % HUGE_PAGE) % HUGE_PAGE;
	madvise(memory, size + HUGE_PAGE, flags & CHILD_HUGE ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	c->pid = (pid_t)syscall(SYS_clone, SIGCHLD | (flags & CHILD_OWN_PIDS ? CLONE_NEWPID : 0),
				NULL, NULL, NULL, NULL);
	assert_true(c->pid >= 0);
	if (!c->pid) {
		c->to = to[0];
		c->from = from[1];
		child_main(c, flags & CHILD_SPARSE ? 512 : 1);
	}
	close(to[0]);
	close(from[1]);
	c->to = to[1];
	c->from = from[0];
	wait_for_reply(c);
	child_stop(c);
}

/* A stopped thread may still be on its way off the processor: /proc/PID/syscall tells. Frozen by
 * ptrace, as CRIU does it, it never is. */
static bool off_processor(int tasks, const char *tid)
{
	char path[300], line[16] = "";
	int fd;

	snprintf(path, sizeof(path), "%s/syscall", tid);
	fd = openat(tasks, path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_true(read(fd, line, sizeof(line) - 1) > 0);
	close(fd);
	return strncmp(line, "running", 7) != 0;
}

void child_stop(const struct child *c)
{
	struct dirent *e;
	char path[64];
	int status;
	DIR *d;

	assert_int_equal(kill(c->pid, SIGSTOP), 0);
	assert_int_equal(waitpid(c->pid, &status, WUNTRACED), c->pid);
	assert_true(WIFSTOPPED(status));
	snprintf(path, sizeof(path), "/proc/%d/task", (int)c->pid);
	d = opendir(path);
	assert_non_null(d);
	while ((e = readdir(d)))
		while (e->d_name[0] != '.' && !off_processor(dirfd(d), e->d_name))
			sched_yield();
	closedir(d);
}

void child_continue(const struct child *c)
{
	assert_int_equal(kill(c->pid, SIGCONT), 0);
}

void child_do(const struct child *c, enum child_op op, uint64_t first, uint64_t end, uint64_t step)
{
	struct child_command cmd = {op, first, end, step};

	assert_int_equal(write(c->to, &cmd, sizeof(cmd)), sizeof(cmd));
	wait_for_reply(c);
}

void child_done(struct child *c)
{
	kill(c->pid, SIGKILL);
	waitpid(c->pid, NULL, 0);
	close(c->to);
	close(c->from);
	munmap(c->shared, PAGE);
	munmap(c->mapping, c->pages * PAGE + HUGE_PAGE);
}

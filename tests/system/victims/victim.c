/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "victim.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static char status_path[4096];

void victim_die(const char *what)
{
	perror(what);
	_exit(1);
}

void victim_init(const char *status_file)
{
	sigset_t set;

	if ((size_t)snprintf(status_path, sizeof(status_path), "%s", status_file) >=
	    sizeof(status_path))
		victim_die("status file");
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

void victim_ready(void)
{
	const char *text = getenv("READY_FD");
	int fd = text ? (int)victim_number(text) : -1;

	if (fd < 0)
		return;
	if (write(fd, "r", 1) != 1)
		victim_die("READY_FD");
	close(fd);
}

int victim_asked(unsigned ms)
{
	struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	return sigtimedwait(&set, NULL, &t) == SIGUSR1;
}

static void status_line(const char *line)
{
	int fd = open(status_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	size_t n = strlen(line);

	if (fd < 0 || write(fd, line, n) != (ssize_t)n)
		victim_die(status_path);
	close(fd);
}

void victim_ok(uint64_t progress)
{
	char line[64];

	snprintf(line, sizeof(line), "ok %llu\n", (unsigned long long)progress);
	status_line(line);
}

void victim_bad(const char *fmt, ...)
{
	char what[200], line[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	snprintf(line, sizeof(line), "bad %s\n", what);
	status_line(line);
	_exit(VICTIM_BAD);
}

void *victim_map(size_t pages)
{
	void *at = mmap(NULL, pages * VICTIM_PAGE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		victim_die("mmap");
	/* kernels without huge pages say EINVAL, and are right */
	madvise(at, pages * VICTIM_PAGE, MADV_NOHUGEPAGE);
	return at;
}

/* The finaliser of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators,
 * OOPSLA 2014): every word depends on its place alone, so any page can be checked by itself. */
static uint64_t word_at(uint64_t seed, uint64_t place)
{
	uint64_t z = seed + (place + 1) * UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

void victim_fill(void *at, uint64_t seed, uint64_t page)
{
	uint64_t *words = at;

	for (size_t i = 0; i < VICTIM_WORDS; i++)
		words[i] = word_at(seed, page * VICTIM_WORDS + i);
}

void victim_verify(const void *at, uint64_t seed, uint64_t page)
{
	const volatile uint64_t *words = at;

	for (size_t i = 0; i < VICTIM_WORDS; i++) {
		uint64_t found = words[i], want = word_at(seed, page * VICTIM_WORDS + i);

		if (found != want)
			victim_bad("pid %d page %llu word %zu: %016llx instead of %016llx",
				   getpid(), (unsigned long long)page, i, (unsigned long long)found,
				   (unsigned long long)want);
	}
}

uint64_t victim_number(const char *text)
{
	unsigned long long v;
	char *end;

	errno = 0;
	v = strtoull(text, &end, 10);
	if (errno || end == text || *end)
		victim_die(text);
	return v;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pattern COUNTER MEGABYTES [huge]: a program whose touches are known. Its memory is filled once;
 * from then on step n writes to one page that was not used before, the n-th of a fixed scattered
 * order, and to a page of a small hot part, and computes for a while. The step is shown in the file
 * COUNTER (8 bytes), which is mapped. With `huge` the memory asks for transparent huge pages.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096u
#define HUGE (UINT64_C(2) << 20)
#define HOT 256u	     /* pages */
#define COMPUTE 360000u	     /* rounds a step: half a millisecond */
#define STEP UINT64_C(40503) /* odd: over a power of two of pages, every page once */

static _Noreturn void die(const char *what)
{
	perror(what);
	exit(1);
}

static volatile uint64_t *counter_open(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	void *p;

	if (fd < 0 || ftruncate(fd, PAGE) < 0)
		die(path);
	p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		die(path);
	close(fd);
	return p;
}

/* Aligned, so that all of it can be huge pages. */
static uint8_t *memory_new(uint64_t bytes, int huge)
{
	uint8_t *p = mmap(NULL, bytes + HUGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		die("memory");
	p += HUGE - (uintptr_t)p % HUGE;
	madvise(p, bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	for (uint64_t i = 0; i < bytes; i += sizeof(i))
		memcpy(p + i, &(uint64_t){i * UINT64_C(0x9e3779b97f4a7c15)}, sizeof(i));
	return p;
}

static uint64_t compute(uint64_t x)
{
	for (unsigned i = 0; i < COMPUTE; i++)
		x = x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return x;
}

int main(int argc, char **argv)
{
	volatile uint64_t *counter;
	uint64_t pages = 1, x = 1;
	uint8_t *memory;

	if (argc < 3) {
		fputs("usage: pattern COUNTER MEGABYTES [huge]\n", stderr);
		return 2;
	}
	while (pages * 2 * PAGE <= strtoull(argv[2], NULL, 10) << 20)
		pages *= 2; /* the scattered order wants a power of two */
	counter = counter_open(argv[1]);
	memory = memory_new(pages * PAGE, argc > 3);
	for (uint64_t n = 1;; n++) {
		x = compute(x);
		memory[n * STEP % pages * PAGE] = (uint8_t)x;
		memory[n % HOT * PAGE] = (uint8_t)n;
		*counter = n;
	}
}

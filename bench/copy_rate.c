/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * copy_rate MEGABYTES: how fast this machine fills memory by UFFDIO_COPY, one thread, a frame of
 * 128 KiB a call out of the same buffer. Prints megabytes a second, the best of three.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"

#define FRAME ((size_t)128 << 10)
#define TURNS 3

static int die(const char *what)
{
	fprintf(stderr, "copy_rate: %s: %s\n", what, strerror(errno));
	return 1;
}

/* Fills the range; returns its milliseconds, or -1. */
static double fill(int fd, uint64_t at, size_t size, const void *from)
{
	uint64_t start = clock_ns();

	for (size_t done = 0; done < size; done += FRAME) {
		struct uffdio_copy copy = {
			.dst = at + done, .src = (uint64_t)(uintptr_t)from, .len = FRAME};

		if (ioctl(fd, UFFDIO_COPY, &copy) < 0)
			return -1;
	}
	return clock_ms_since(start);
}

int main(int argc, char **argv)
{
	struct uffdio_api api = {.api = UFFD_API};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	size_t size = argc == 2 ? strtoull(argv[1], NULL, 10) << 20 : 0;
	double best = 0;
	void *from;

	if (size == 0) {
		fputs("usage: copy_rate MEGABYTES\n", stderr);
		return 2;
	}
	from = aligned_alloc(FRAME, FRAME);
	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) < 0 || !from)
		return die("userfaultfd");
	memset(from, 7, FRAME);
	for (int turn = 0; turn < TURNS; turn++) {
		void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			       0);
		struct uffdio_register reg = {
			.range = {.start = (uint64_t)(uintptr_t)p, .len = size},
			.mode = UFFDIO_REGISTER_MODE_MISSING};
		double ms, rate;

		if (p == MAP_FAILED)
			return die("memory");
		madvise(p, size, MADV_NOHUGEPAGE);
		if (ioctl(fd, UFFDIO_REGISTER, &reg) < 0)
			return die("registering memory");
		ms = fill(fd, reg.range.start, size, from);
		if (ms <= 0)
			return die("copying");
		rate = (double)size / 1e3 / ms;
		if (rate > best)
			best = rate;
		munmap(p, size);
	}
	free(from);
	close(fd);
	printf("%.1f\n", best);
	return 0;
}

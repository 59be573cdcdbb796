/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "uffd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "format/frame.h"

int uffd_put(int fd, uint64_t address, const void *data, uint64_t pages, uint64_t *ret_pages)
{
	uint64_t len = pages * PAGE_BYTES;
	int64_t done;
	int r;

	if (data) {
		struct uffdio_copy c = {.dst = address, .src = (uintptr_t)data, .len = len};

		r = ioctl(fd, UFFDIO_COPY, &c) < 0 ? -errno : 0;
		done = c.copy;
	} else {
		struct uffdio_zeropage z = {.range = {.start = address, .len = len}};

		r = ioctl(fd, UFFDIO_ZEROPAGE, &z) < 0 ? -errno : 0;
		done = z.zeropage;
	}
	/* the field holds -errno where nothing was done, and the ioctl says EAGAIN after a part */
	if (done > 0 && (uint64_t)done <= len)
		*ret_pages = (uint64_t)done / PAGE_BYTES;
	else
		*ret_pages = 0;
	return r;
}

void uffd_wake(int fd, uint64_t address, uint64_t pages)
{
	struct uffdio_range range = {.start = address, .len = pages * PAGE_BYTES};

	ioctl(fd, UFFDIO_WAKE, &range);
}

/* The kernel takes no range that reaches out of what an address space can have, and where that ends
 * depends on the processor: so it is done in ranges that lie on one side of every power of two, and
 * of the page before it, where the limits are. */
void uffd_wake_all(int fd)
{
	for (unsigned bit = 12; bit < 63; bit++) {
		uint64_t start = UINT64_C(1) << bit, pages = start / PAGE_BYTES;

		if (pages > 1)
			uffd_wake(fd, start, pages - 1);
		uffd_wake(fd, start + (pages - 1) * PAGE_BYTES, 1);
	}
}

/* The kernel looks at its counter of running changes before it looks at the arguments, so a range
 * of no length asks for that counter alone. */
bool uffd_changing(int fd)
{
	struct uffdio_zeropage z = {0};

	return ioctl(fd, UFFDIO_ZEROPAGE, &z) < 0 && errno == EAGAIN;
}

/* UFFDIO_CONTINUE is for shared memory: on a private mapping it fails with EINVAL, but only after
 * the mapping was looked up. */
int uffd_probe(int fd, uint64_t address)
{
	struct uffdio_continue c = {.range = {.start = address, .len = PAGE_BYTES}};

	if (ioctl(fd, UFFDIO_CONTINUE, &c) == 0 || errno == EINVAL)
		return 0;
	return -errno;
}

/* At any address that a mapping could have. */
bool uffd_lives(int fd)
{
	return uffd_probe(fd, UINT64_C(1) << 20) != -ESRCH;
}

int uffd_read(int fd, struct uffd_msg *out, size_t n)
{
	ssize_t got;

	do
		got = read(fd, out, n * sizeof(*out));
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return errno == EAGAIN ? 0 : -errno;
	if ((size_t)got % sizeof(*out))
		return -EIO;
	return (int)((size_t)got / sizeof(*out));
}

bool uffd_is(int fd)
{
	char path[64], target[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return false;
	target[n] = '\0';
	return strcmp(target, "anon_inode:[userfaultfd]") == 0;
}

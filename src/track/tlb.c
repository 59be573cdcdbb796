/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tlb.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"

/* What can be written to clear_refs: Documentation/filesystems/proc.rst. */
#define CLEAR_ANONYMOUS '2'
#define CLEAR_SOFT_DIRTY '4'

/* Bit 55 of an entry of /proc/PID/pagemap: Documentation/admin-guide/mm/soft-dirty.rst. */
#define PAGEMAP_SOFT_DIRTY (UINT64_C(1) << 55)

static int clear_refs(pid_t pid, char what, struct frem_error *err)
{
	_cleanup_close_ int fd = -1;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/clear_refs", (int)pid);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT && !kill(pid, 0))
		return frem_hint(err, frem_fail(err, FREM_UNABLE, ENOENT, "%s", path),
				 "the kernel has to be built with CONFIG_PROC_PAGE_MONITOR");
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : frem_fail(err, FREM_UNABLE, errno, "%s", path);
	if (write(fd, &what, 1) != 1)
		return errno == ESRCH ? -ESRCH : frem_fail(err, FREM_FAILED, errno, "%s", path);
	return 0;
}

int clear_accessed(pid_t pid, struct frem_error *err)
{
	return clear_refs(pid, CLEAR_ANONYMOUS, err);
}

/* How many of the ranges were done, as a number of bytes says. */
static size_t ranges_done(const struct iovec *ranges, size_t n, size_t bytes)
{
	size_t i = 0;

	while (i < n && bytes >= ranges[i].iov_len)
		bytes -= ranges[i++].iov_len;
	return i;
}

void make_cold(int fd, const struct iovec *ranges, size_t n)
{
	while (n) {
		ssize_t bytes = process_madvise(fd, ranges, n, MADV_COLD, 0);
		size_t done = ranges_done(ranges, n, bytes > 0 ? (size_t)bytes : 0);

		if (bytes < 0 && errno != ENOMEM && errno != EINVAL) {
			log_debug("process_madvise, ignoring: %s", strerror(errno));
			return;
		}
		/* it stops at a range that has a hole, the rest of which was done, or at one that
		 * is locked */
		done += done < n;
		ranges += done;
		n -= done;
	}
}

/* ---- a flush of everything ---- */

static bool soft_dirty =
	true; /* this kernel keeps such bits: unless it is known that it does not */

/* A page that was just written to has its bit set, where there is one. */
static void look_for_soft_dirty(void)
{
	size_t size = (size_t)sysconf(_SC_PAGESIZE);
	_cleanup_close_ int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	volatile char *page =
		mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t entry = PAGEMAP_SOFT_DIRTY;
	off_t at = (off_t)((uintptr_t)page / size * sizeof(entry));

	if (page == MAP_FAILED)
		return;
	*page = 1;
	if (fd >= 0 && pread(fd, &entry, sizeof(entry), at) == sizeof(entry))
		soft_dirty = entry & PAGEMAP_SOFT_DIRTY;
	munmap((void *)page, size);
}

/* Clearing soft-dirty bits has to flush; where there are none it is a flush and nothing else. */
bool drop_translations(pid_t pid)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, look_for_soft_dirty);
	return !soft_dirty && !clear_refs(pid, CLEAR_SOFT_DIRTY, NULL);
}

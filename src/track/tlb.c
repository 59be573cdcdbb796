/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tlb.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"

int clear_accessed(pid_t pid, struct frem_error *err)
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
	if (write(fd, "1", 1) != 1)
		return errno == ESRCH ? -ESRCH : frem_fail(err, FREM_FAILED, errno, "%s", path);
	return 0;
}

void make_cold(int fd, uint64_t address, size_t size)
{
	struct iovec range = {(void *)(uintptr_t)address, size};

	/* ENOMEM: a part of it is not mapped; the rest was done */
	if (process_madvise(fd, &range, 1, MADV_COLD, 0) < 0 && errno != ENOMEM)
		log_debug("process_madvise, ignoring: %s", strerror(errno));
}

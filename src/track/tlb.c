/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tlb.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
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

/* Field 28 of /proc/PID/stat: where the stack of the process began. 0 if it is not known. */
static uintptr_t stack_start(pid_t pid)
{
	_cleanup_fclose_ FILE *f = NULL;
	char path[64], line[2048];
	uintptr_t address = 0;
	char *p;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (!f || !fgets(line, sizeof(line), f))
		return 0;
	p = strrchr(line, ')'); /* field 2, the command, may hold anything */
	for (int field = 2; p && field < 28; field++)
		p = strchr(p + 1, ' ');
	if (!p || sscanf(p, " %" SCNuPTR, &address) != 1)
		return 0;
	return address;
}

void tlb_invalidate(pid_t pid)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t end = (stack_start(pid) & ~(page - 1)) + page;
	struct iovec stack = {(void *)(end - 16 * page), 16 * page};
	_cleanup_close_ int fd = -1;

	if (end <= 16 * page)
		return;
	fd = pidfd_open(pid, 0);
	if (fd < 0)
		return;
	/* ENOMEM: the lower part of the range is not mapped yet; the rest was done */
	if (process_madvise(fd, &stack, 1, MADV_COLD, 0) < 0 && errno != ENOMEM)
		log_debug("process %d: cannot flush cached translations, ignoring: %s", (int)pid,
			  strerror(errno));
}

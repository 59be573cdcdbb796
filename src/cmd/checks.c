/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "checks.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <linux/userfaultfd.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "units.h"

#define KERNEL_MAJOR 5 /* the first with BPF iterators over a task's mappings: 5.12 */
#define KERNEL_MINOR 12
#define FREE_COMFORTABLE (UINT64_C(1) << 30)
#define NOFILE_COMFORTABLE 4096

#ifndef TMPFS_MAGIC
#define TMPFS_MAGIC 0x01021994
#endif

struct named_bit {
	const char *name;
	uint64_t bit;
};

void check_say(struct check *c, enum check_state state, const char *hint, const char *fmt, ...)
{
	va_list ap;

	c->state = state;
	snprintf(c->hint, sizeof(c->hint), "%s", hint ? hint : "");
	va_start(ap, fmt);
	vsnprintf(c->text, sizeof(c->text), fmt, ap);
	va_end(ap);
}

int check_need(void (*look)(struct check *), struct frem_error *err)
{
	struct check c = {0};

	look(&c);
	if (c.state != CHECK_MISSING)
		return 0;
	return frem_hint(err, frem_fail(err, FREM_UNABLE, 0, "%s", c.text), "%s", c.hint);
}

/* The names of the bits that `has` lacks, separated by ", "; "" where it has all. */
static void name_missing(const struct named_bit *bits, size_t n, uint64_t has, char *out,
			 size_t size)
{
	size_t used = 0;

	*out = '\0';
	for (size_t i = 0; i < n && used < size; i++) {
		if (has & bits[i].bit)
			continue;
		used += (size_t)snprintf(out + used, size - used, "%s%s", used ? ", " : "",
					 bits[i].name);
	}
}

/* ---- privileges ---- */

static int effective_capabilities(uint64_t *ret)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/self/status", "re");
	char line[256];

	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, "CapEff:", 7) == 0) {
			*ret = strtoull(line + 7, NULL, 16);
			return 0;
		}
	}
	return -ENODATA;
}

void check_privileges(struct check *ret)
{
	static const struct named_bit needed[] =
		{
			/* userfaultfd fork events, other tasks' memory; the dump and the restore
			   itself */
			{"CAP_SYS_PTRACE", UINT64_C(1) << CAP_SYS_PTRACE},
			{"CAP_SYS_ADMIN", UINT64_C(1) << CAP_SYS_ADMIN},
			{"CAP_SETUID", UINT64_C(1) << CAP_SETUID},
			{"CAP_SETGID", UINT64_C(1) << CAP_SETGID},
			{"CAP_DAC_OVERRIDE", UINT64_C(1) << CAP_DAC_OVERRIDE},
			{"CAP_KILL", UINT64_C(1) << CAP_KILL},
		},
				      useful[] = {
					      {"CAP_NET_ADMIN (sockets)", UINT64_C(1)
										  << CAP_NET_ADMIN},
					      {"CAP_CHOWN (files of other users)",
					       UINT64_C(1) << CAP_CHOWN},
					      {"CAP_SYS_CHROOT (programs in a changed root)",
					       UINT64_C(1) << CAP_SYS_CHROOT},
				      };
	char missing[512], lacking[512];
	uint64_t has = 0;
	int r = effective_capabilities(&has);

	if (r < 0) {
		check_say(ret, CHECK_MISSING, "mount /proc", "reading /proc/self/status: %s",
			  strerror(-r));
		return;
	}
	name_missing(needed, sizeof(needed) / sizeof(*needed), has, missing, sizeof(missing));
	name_missing(useful, sizeof(useful) / sizeof(*useful), has, lacking, sizeof(lacking));
	if (*missing)
		check_say(ret, CHECK_MISSING, "run frem as root, or with these capabilities",
			  "%s, without %s", geteuid() ? "not root" : "root", missing);
	else if (*lacking)
		check_say(ret, CHECK_DEGRADED, "give frem these capabilities",
			  "no checkpoint of programs that need %s", lacking);
	else
		check_say(ret, CHECK_OK, NULL, "%s, with the capabilities needed",
			  geteuid() ? "not root" : "root");
}

/* ---- kernel ---- */

void check_kernel(struct check *ret)
{
	unsigned long major, minor = 0;
	struct utsname u;
	char *rest;

	if (uname(&u) < 0) {
		check_say(ret, CHECK_MISSING, NULL, "an unknown kernel");
		return;
	}
	major = strtoul(u.release, &rest, 10);
	if (*rest == '.')
		minor = strtoul(rest + 1, NULL, 10);
	if (strcmp(u.machine, "x86_64") != 0)
		check_say(ret, CHECK_MISSING, "frem runs on x86_64", "%s %s on %s", u.sysname,
			  u.release, u.machine);
	else if (major < KERNEL_MAJOR || (major == KERNEL_MAJOR && minor < KERNEL_MINOR))
		check_say(ret, CHECK_DEGRADED, "use Linux 5.12 or later",
			  "%s %s %s is too old to record touch sets", u.sysname, u.release,
			  u.machine);
	else
		check_say(ret, CHECK_OK, NULL, "%s %s %s", u.sysname, u.release, u.machine);
}

/* ---- userfaultfd ---- */

static int open_userfaultfd(void)
{
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	return fd < 0 ? -errno : fd;
}

/* What the kernel offers: with no features asked for, UFFDIO_API tells all that there are. */
static int offered_features(uint64_t *ret)
{
	struct uffdio_api api = {.api = UFFD_API};
	_cleanup_close_ int fd = open_userfaultfd();

	if (fd < 0)
		return fd;
	if (ioctl(fd, UFFDIO_API, &api) < 0)
		return -errno;
	*ret = api.features;
	return 0;
}

void check_userfaultfd(struct check *ret)
{
	static const struct named_bit needed[] = {
		{"EVENT_FORK", UFFD_FEATURE_EVENT_FORK},
		{"EVENT_REMAP", UFFD_FEATURE_EVENT_REMAP},
		{"EVENT_REMOVE", UFFD_FEATURE_EVENT_REMOVE},
		{"EVENT_UNMAP", UFFD_FEATURE_EVENT_UNMAP},
	};
	struct uffdio_api api = {.api = UFFD_API};
	_cleanup_close_ int fd = -1;
	uint64_t offered = 0;
	char missing[128];
	int r = offered_features(&offered);

	if (r < 0) {
		check_say(ret, CHECK_MISSING,
			  r == -EPERM	 ? "run frem as root; in a container, allow userfaultfd in "
					   "its seccomp profile; `--resume full` does without it"
			  : r == -ENOSYS ? "use a kernel built with CONFIG_USERFAULTFD"
					 : NULL,
			  "opening a userfaultfd: %s", strerror(-r));
		return;
	}
	name_missing(needed, sizeof(needed) / sizeof(*needed), offered, missing, sizeof(missing));
	if (*missing) {
		check_say(ret, CHECK_MISSING, "use Linux 4.11 or later", "userfaultfd without %s",
			  missing);
		return;
	}
	for (size_t i = 0; i < sizeof(needed) / sizeof(*needed); i++)
		api.features |= needed[i].bit;
	fd = open_userfaultfd();
	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) < 0)
		check_say(ret, CHECK_MISSING, "run frem as root (CAP_SYS_PTRACE)",
			  "enabling the events of a userfaultfd: %s", strerror(errno));
	else
		check_say(ret, CHECK_OK, NULL, "with fork, remap, remove and unmap events");
}

/* ---- run directory ---- */

static const char *file_system_name(const struct statfs *fs)
{
	static const struct {
		unsigned long magic;
		const char *name;
	} known[] = {
		{EXT4_SUPER_MAGIC, "ext4"},	    {XFS_SUPER_MAGIC, "xfs"},
		{BTRFS_SUPER_MAGIC, "btrfs"},	    {TMPFS_MAGIC, "tmpfs"},
		{OVERLAYFS_SUPER_MAGIC, "overlay"}, {NFS_SUPER_MAGIC, "nfs"},
		{F2FS_SUPER_MAGIC, "f2fs"},	    {0x2fc12fc1, "zfs"},
		{FUSE_SUPER_MAGIC, "fuse"},	    {V9FS_MAGIC, "9p"},
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if ((unsigned long)fs->f_type == known[i].magic)
			return known[i].name;
	return "another file system";
}

/* Does what a run directory needs: makes a directory, and takes it away again. */
static int try_directory(const char *dir, struct statfs *ret)
{
	char path[4096];
	int n = snprintf(path, sizeof(path), "%s/frem-check-XXXXXX", dir);

	if (n < 0 || (size_t)n >= sizeof(path))
		return -ENAMETOOLONG;
	if (!mkdtemp(path))
		return -errno;
	rmdir(path);
	return statfs(dir, ret) < 0 ? -errno : 0;
}

void check_run_directory(struct check *ret)
{
	const char *dir = getenv("FREM_RUN_DIR");
	char space[UNITS_SIZE];
	struct statfs fs = {0};
	uint64_t left;
	int r;

	if (!dir || !*dir)
		dir = "/var/tmp";
	r = try_directory(dir, &fs);
	if (r < 0) {
		check_say(ret, CHECK_MISSING, "name a writable directory in FREM_RUN_DIR", "%s: %s",
			  dir, strerror(-r));
		return;
	}
	left = (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize;
	units_bytes(left, space);
	if (left < FREE_COMFORTABLE)
		check_say(ret, CHECK_DEGRADED,
			  "name a directory with more space in FREM_RUN_DIR: a checkpoint needs "
			  "as much as the program's memory, a restart only a little",
			  "%s (%s): only %s free", dir, file_system_name(&fs), space);
	else
		check_say(ret, CHECK_OK, NULL, "%s (%s): %s free", dir, file_system_name(&fs),
			  space);
}

/* ---- limits ---- */

void check_limits(struct check *ret)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) < 0)
		check_say(ret, CHECK_DEGRADED, NULL, "reading the limit of open files: %s",
			  strerror(errno));
	else if (l.rlim_max < NOFILE_COMFORTABLE)
		check_say(ret, CHECK_DEGRADED,
			  "raise the hard limit of open files, as with 'ulimit -Hn 1048576'",
			  "open files: %llu, at most %llu: too few for large process trees",
			  (unsigned long long)l.rlim_cur, (unsigned long long)l.rlim_max);
	else
		check_say(ret, CHECK_OK, NULL, "open files: %llu, raised to %llu when needed",
			  (unsigned long long)l.rlim_cur, (unsigned long long)l.rlim_max);
}

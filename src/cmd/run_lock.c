/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "run_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/file.h"
#include "process.h"

#define REMAINS_MS 10000 /* for what was killed to be gone; it takes a few ms */
#define PID_SIZE 16
#define FILE_SCHEME "file://"

struct search {
	char file[16 + DIGEST_HEX_SIZE];
	int other; /* the file of another one that is locked, or -1 */
};

/* A directory by what it is: it may be written in several ways. */
static void name_store(const char *store, char *ret, size_t size)
{
	const char *path = strncmp(store, FILE_SCHEME, strlen(FILE_SCHEME)) == 0
				   ? store + strlen(FILE_SCHEME)
				   : store;
	struct stat st;

	if (path[0] == '/' && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		snprintf(ret, size, "%" PRIu64 ":%" PRIu64, (uint64_t)st.st_dev,
			 (uint64_t)st.st_ino);
	else
		snprintf(ret, size, "%s", store);
}

static void name_file(const char *store, const char *name, char *ret, size_t size)
{
	uint8_t digest[DIGEST_SIZE];
	char hex[DIGEST_HEX_SIZE], text[PATH_MAX];
	struct digest_stream d;

	name_store(store, text, sizeof(text));
	digest_start(&d);
	digest_update(&d, text, strlen(text) + 1);
	digest_update(&d, name, strlen(name));
	digest_finish(&d, digest);
	digest_to_hex(digest, hex);
	snprintf(ret, size, "run-%s", hex);
}

/* The process whose lock it is, or 0 where that has ended. */
static pid_t owner_of(int fd)
{
	struct process_info info;
	char text[PID_SIZE] = "";
	pid_t pid;

	if (pread(fd, text, sizeof(text) - 1, 0) < 0)
		return 0;
	pid = (pid_t)strtol(text, NULL, 10);
	if (pid <= 0 || process_info_read(pid, &info, NULL) < 0 || info.state == 'Z' ||
	    info.state == 'X')
		return 0;
	return pid;
}

/* One that lives comes before one that was killed and is not gone yet. */
static void look_at(void *arg, int dir_fd)
{
	struct search *s = arg;
	int fd;

	if (s->other >= 0 && owner_of(s->other))
		return;
	fd = openat(dir_fd, s->file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0) {
		cleanup_close(&s->other);
		s->other = take_fd(&fd);
	}
	cleanup_close(&fd);
}

static int make_own(const struct rundir *own, const char *file, int *ret_fd, struct frem_error *err)
{
	_cleanup_close_ int fd = openat(rundir_fd(own), file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	char pid[PID_SIZE];

	snprintf(pid, sizeof(pid), "%d", getpid());
	if (fd < 0 || flock(fd, LOCK_EX) < 0 || file_write_all(fd, pid, strlen(pid)) < 0)
		return frem_fail(err, FREM_FAILED, errno, "making '%s/%s'", rundir_path(own), file);
	*ret_fd = take_fd(&fd);
	return 0;
}

/* Makes our own file and looks for another; two that start at once do so one after the other. */
static int make_and_look(const struct rundir *own, struct search *s, int *ret_fd,
			 struct frem_error *err)
{
	_cleanup_close_ int parent =
		openat(rundir_fd(own), "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (parent < 0 || flock(parent, LOCK_EX) < 0)
		return frem_fail(err, FREM_FAILED, errno, "locking the place of run directories");
	r = make_own(own, s->file, ret_fd, err);
	if (r == 0)
		rundir_others(own, look_at, s);
	return r;
}

static int await_other(int other, const char *name, struct frem_error *err)
{
	const struct timespec pause = {.tv_nsec = 5 * (long)NSEC_PER_MSEC};
	uint64_t start = clock_ns();
	pid_t owner = owner_of(other);
	int r;

	while (!owner && clock_ms_since(start) < REMAINS_MS) {
		if (flock(other, LOCK_SH | LOCK_NB) == 0)
			return 0;
		nanosleep(&pause, NULL);
	}
	r = owner ? frem_fail(err, FREM_REFUSED, 0, "'%s' runs already, as process %d", name, owner)
		  : frem_fail(err, FREM_REFUSED, 0, "'%s' runs already, or has not ended yet",
			      name);
	return frem_hint(err, r, "end that one first, or give this one another --name");
}

int run_lock_take(const struct rundir *own, const char *store, const char *name, int *ret_fd,
		  struct frem_error *err)
{
	struct search s = {.other = -1};
	_cleanup_close_ int fd = -1;
	int r;

	name_file(store, name, s.file, sizeof(s.file));
	r = make_and_look(own, &s, &fd, err);
	if (r == 0 && s.other >= 0)
		r = await_other(s.other, name, err);
	cleanup_close(&s.other);
	if (r == 0)
		*ret_fd = take_fd(&fd);
	return r;
}

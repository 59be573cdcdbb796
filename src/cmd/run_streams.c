/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "run_streams.h"

#include <fcntl.h>
#include <linux/kcmp.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"

#define KEPT_FLAGS (O_ACCMODE | O_APPEND | O_NONBLOCK | O_SYNC | O_DIRECT | O_NOATIME)

static bool same_description(int a, int b)
{
	return syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, a, b) == 0;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_rdev == b->st_rdev &&
	       (a->st_mode & S_IFMT) == (b->st_mode & S_IFMT);
}

/* Opens what fd is open on by its path; -1 where that is not possible. */
static int open_again(int fd)
{
	_cleanup_close_ int again = -1;
	char link[32], path[PATH_MAX];
	struct stat was, is;
	int flags = fcntl(fd, F_GETFL);
	off_t at = lseek(fd, 0, SEEK_CUR);
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (flags < 0 || flags & O_PATH || n < 0 || fstat(fd, &was) < 0 || S_ISSOCK(was.st_mode) ||
	    S_ISFIFO(was.st_mode))
		return -1;
	path[n] = '\0';
	/* first without side effects: it may be something else by now */
	if (stat(path, &is) < 0 || !same_file(&was, &is))
		return -1;
	again = open(path, (flags & KEPT_FLAGS) | O_NOCTTY | O_CLOEXEC);
	if (again < 0 || fstat(again, &is) < 0 || !same_file(&was, &is))
		return -1;
	if (at > 0 && lseek(again, at, SEEK_SET) < 0)
		return -1;
	return take_fd(&again);
}

struct reopening {
	int list[256]; /* what the job inherits */
	size_t n;
};

static int note_inherited(void *arg, int fd)
{
	struct reopening *r = arg;
	int flags = fcntl(fd, F_GETFD);

	if (flags >= 0 && !(flags & FD_CLOEXEC) && r->n < sizeof(r->list) / sizeof(r->list[0]))
		r->list[r->n++] = fd;
	return 0;
}

/* Descriptors that shared an offset, as those of `>out 2>&1`, go on sharing one: all of them are
 * replaced together. */
static void replace(const struct reopening *r, size_t first, bool *done)
{
	bool together[sizeof(r->list) / sizeof(r->list[0])] = {false};
	_cleanup_close_ int again = open_again(r->list[first]);

	for (size_t i = first; again >= 0 && i < r->n; i++)
		together[i] = !done[i] && same_description(r->list[first], r->list[i]);
	for (size_t i = first; again >= 0 && i < r->n; i++) {
		if (i != first && !together[i])
			continue;
		dup2(again, r->list[i]);
		done[i] = true;
	}
}

static bool is_regular(int fd, struct stat *ret)
{
	return fstat(fd, ret) == 0 && S_ISREG(ret->st_mode);
}

static void append_only(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags >= 0)
		fcntl(fd, F_SETFL, flags | O_APPEND);
}

static void look_at_outputs(struct run_output ret[RUN_OUTPUTS])
{
	for (int fd = STDOUT_FILENO; fd <= STDERR_FILENO; fd++) {
		struct stat st;

		ret[fd].is_file = is_regular(fd, &st);
		ret[fd].was_empty = ret[fd].is_file && st.st_size == 0;
		ret[fd].appends = (fcntl(fd, F_GETFL) & O_APPEND) != 0;
	}
}

void run_streams_reopen(struct run_output ret[RUN_OUTPUTS])
{
	struct reopening r = {.n = 0};
	bool done[sizeof(r.list) / sizeof(r.list[0])] = {false};
	struct stat out, err;

	look_at_outputs(ret);
	file_each_open(note_inherited, &r);
	for (size_t i = 0; i < r.n; i++)
		if (!done[i])
			replace(&r, i, done);
	/* frem and the job write there by turns, from different offsets once it was restarted */
	if (!is_regular(STDERR_FILENO, &err))
		return;
	append_only(STDERR_FILENO);
	if (is_regular(STDOUT_FILENO, &out) && same_file(&out, &err))
		append_only(STDOUT_FILENO);
}

void run_streams_catch_up(void)
{
	struct stat st;

	for (int fd = STDOUT_FILENO; fd <= STDERR_FILENO; fd++)
		if (is_regular(fd, &st))
			lseek(fd, 0, SEEK_END);
}

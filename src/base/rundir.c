/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/rundir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"

#define PREFIX "frem-"
#define SUFFIX "XXXXXX"

struct rundir {
	char path[PATH_MAX];
	int fd;
	int alive;     /* write end of the janitor's pipe */
	pid_t janitor; /* only waited for by the process that forked it */
	pid_t owner;
};

/* CRIU may still be writing into the directory when its user was killed: try for a while. */
static void remove_until_gone(const char *path)
{
	for (int i = 0; i < 200; i++) {
		struct timespec pause = {.tv_nsec = 50000000};

		if (file_remove_tree(path) == 0 && access(path, F_OK) < 0)
			return;
		nanosleep(&pause, NULL);
	}
}

static _Noreturn void janitor(const char *path, int pipe_fd)
{
	char byte;

	setsid();
	prctl(PR_SET_NAME, "frem-janitor");
	signal(SIGTERM, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	/* hold nothing of the user's: its terminal, pipes and listening sockets */
	if (dup2(pipe_fd, 3) < 0)
		_exit(1);
	close_range(4, ~0U, 0);
	file_let_go_of_streams();
	if (chdir("/") < 0)
		_exit(1);
	while (read(3, &byte, 1) < 0 && errno == EINTR)
		;
	remove_until_gone(path);
	_exit(0);
}

static int start_janitor(struct rundir *d, struct frem_error *err)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return frem_fail(err, FREM_FAILED, errno, "making a pipe");
	d->owner = getpid();
	d->janitor = fork();
	if (d->janitor < 0) {
		int r = frem_fail(err, FREM_FAILED, errno, "starting the janitor");

		close(ends[0]);
		close(ends[1]);
		return r;
	}
	if (d->janitor == 0)
		janitor(d->path, ends[0]);
	close(ends[0]);
	d->alive = ends[1];
	return 0;
}

/* Opens a run directory of this user; -1 where it is something else. */
static int open_ours(int parent_fd, const char *name)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (strncmp(name, PREFIX, strlen(PREFIX)) != 0 ||
	    strlen(name) != strlen(PREFIX) + strlen(SUFFIX))
		return -1;
	fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 || st.st_uid != geteuid())
		return -1;
	return take_fd(&fd);
}

/* Is it a run directory whose users and janitor are all gone? Every user shares its lock. */
static bool is_stale(int parent_fd, const char *name)
{
	_cleanup_close_ int fd = open_ours(parent_fd, name);

	return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0;
}

/* Removes what was left where even the janitor was killed. */
static void sweep(const char *parent)
{
	_cleanup_closedir_ DIR *dir = opendir(parent);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		char path[PATH_MAX];

		if (is_stale(dirfd(dir), entry->d_name) &&
		    snprintf(path, sizeof(path), "%s/%s", parent, entry->d_name) < PATH_MAX)
			file_remove_tree(path);
	}
}

/* Makes, opens and locks the directory. A sweep of another frem may take it in between: -ESTALE. */
static int make_directory(struct rundir *d, struct frem_error *err)
{
	struct stat st;

	if (!mkdtemp(d->path))
		return frem_fail(err, FREM_FAILED, errno, "making '%s'", d->path);
	d->fd = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d->fd < 0)
		return errno == ENOENT
			       ? -ESTALE
			       : frem_fail(err, FREM_FAILED, errno, "opening '%s'", d->path);
	if (flock(d->fd, LOCK_EX) < 0 || fstat(d->fd, &st) < 0)
		return frem_fail(err, FREM_FAILED, errno, "locking '%s'", d->path);
	if (st.st_nlink > 0)
		return 0;
	close(take_fd(&d->fd));
	return -ESTALE;
}

int rundir_new(const char *parent, struct rundir **ret, struct frem_error *err)
{
	struct rundir *d;
	int n, r;

	if (!parent)
		parent = getenv("FREM_RUN_DIR");
	if (!parent || !*parent)
		parent = "/var/tmp";
	d = calloc(1, sizeof(*d));
	if (!d)
		return frem_oom(err);
	d->fd = d->alive = -1;
	sweep(parent);
	do {
		n = snprintf(d->path, sizeof(d->path), "%s/" PREFIX SUFFIX, parent);
		if (n < 0 || (size_t)n >= sizeof(d->path)) {
			rundir_free(d);
			return frem_fail(err, FREM_FAILED, ENAMETOOLONG, "run directory below '%s'",
					 parent);
		}
		r = make_directory(d, err);
	} while (r == -ESTALE);
	if (r < 0) {
		frem_hint(err, r, "FREM_RUN_DIR names another place for run directories");
		rundir_free(d);
		return r;
	}
	r = start_janitor(d, err);
	if (r < 0) {
		rmdir(d->path);
		rundir_free(d);
		return r;
	}
	*ret = d;
	return 0;
}

void rundir_free(struct rundir *d)
{
	if (!d)
		return;
	if (d->fd >= 0)
		close(d->fd);
	if (d->alive >= 0)
		close(d->alive);
	/* a forked user may keep the directory, so only look whether the janitor is through */
	if (d->janitor > 0 && d->owner == getpid()) {
		for (int i = 0; i < 500 && waitpid(d->janitor, NULL, WNOHANG) == 0; i++) {
			struct timespec pause = {.tv_nsec = 2000000};

			nanosleep(&pause, NULL);
		}
	}
	free(d);
}

const char *rundir_path(const struct rundir *d)
{
	return d->path;
}

int rundir_fd(const struct rundir *d)
{
	return d->fd;
}

int rundir_subdir(const struct rundir *d, const char *name, int *ret_fd, struct frem_error *err)
{
	int fd;

	if (mkdirat(d->fd, name, 0700) < 0)
		return frem_fail(err, FREM_FAILED, errno, "making '%s/%s'", d->path, name);
	fd = openat(d->fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return frem_fail(err, FREM_FAILED, errno, "opening '%s/%s'", d->path, name);
	*ret_fd = fd;
	return 0;
}

void rundir_others(const struct rundir *d, void (*each)(void *arg, int dir_fd), void *arg)
{
	const char *own = strrchr(d->path, '/') + 1;
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *entry;
	int parent = openat(d->fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	dir = parent < 0 ? NULL : fdopendir(parent);
	if (!dir && parent >= 0)
		close(parent);
	while (dir && (entry = readdir(dir))) {
		_cleanup_close_ int fd = -1;

		if (strcmp(entry->d_name, own) == 0)
			continue;
		fd = open_ours(dirfd(dir), entry->d_name);
		if (fd >= 0)
			each(arg, fd);
	}
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/rundir.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"

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
	int null;

	setsid();
	prctl(PR_SET_NAME, "frem-janitor");
	signal(SIGTERM, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	/* hold nothing of the user's: its terminal, pipes and listening sockets */
	if (dup2(pipe_fd, 3) < 0)
		_exit(1);
	close_range(4, ~0U, 0);
	null = open("/dev/null", O_RDWR);
	for (int fd = 0; null >= 0 && fd < 3; fd++)
		dup2(null, fd);
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
	n = snprintf(d->path, sizeof(d->path), "%s/frem-XXXXXX", parent);
	if (n < 0 || (size_t)n >= sizeof(d->path)) {
		free(d);
		return frem_fail(err, FREM_FAILED, ENAMETOOLONG, "run directory below '%s'",
				 parent);
	}
	if (!mkdtemp(d->path)) {
		r = frem_fail(err, FREM_FAILED, errno, "making a run directory below '%s'", parent);
		free(d);
		return frem_hint(err, r, "FREM_RUN_DIR names another place for run directories");
	}
	d->fd = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = d->fd < 0 ? frem_fail(err, FREM_FAILED, errno, "opening '%s'", d->path)
		      : start_janitor(d, err);
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

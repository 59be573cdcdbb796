/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "criu_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"

#define DEADLINE_MS 20000

struct criu_program criu;

static char victim_path[4096];

void fail_with(const struct frem_error *err)
{
	print_error("%s\n%s%s\n", err->text, err->detail, err->hint);
	fail();
}

int fixture_setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char path[128];

	snprintf(f->dir, sizeof(f->dir), "/tmp/frem-criu-XXXXXX");
	if (!f || !mkdtemp(f->dir))
		return -1;
	snprintf(f->state, sizeof(f->state), "%s/state", f->dir);
	snprintf(f->other, sizeof(f->other), "%s/other", f->dir);
	snprintf(path, sizeof(path), "%s/images", f->dir);
	if (mkdir(path, 0700) < 0)
		return -1;
	f->images = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	snprintf(path, sizeof(path), "%s/work", f->dir);
	if (mkdir(path, 0700) < 0)
		return -1;
	f->work = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = f;
	return 0;
}

void end_victim(struct fixture *f)
{
	if (f->pid <= 0)
		return;
	kill(-f->pid, SIGKILL); /* victims lead their process group */
	kill(f->pid, SIGKILL);
	waitpid(f->pid, NULL, 0);
	/* we are the subreaper of the rest: its pids must be free, too */
	while (waitpid(-f->pid, NULL, 0) > 0 || errno == EINTR)
		;
	f->pid = 0;
}

int fixture_teardown(void **state)
{
	struct fixture *f = *state;

	end_victim(f);
	close(f->images);
	close(f->work);
	file_remove_tree(f->dir);
	free(f);
	return 0;
}

/* Starts the victim; its standard streams are fds[0..2], or /dev/null where those are -1. */
void start(struct fixture *f, const char *role, const char *arg, const int fds[3], bool session)
{
	f->pid = fork();
	if (f->pid == 0) {
		int null = open("/dev/null", O_RDWR);

		if (session)
			setsid();
		else
			setpgid(0, 0);
		for (int i = 0; i < 3; i++)
			dup2(fds && fds[i] >= 0 ? fds[i] : null, i);
		if (session && isatty(0))
			ioctl(0, TIOCSCTTY, 0);
		close_range(3, ~0U, 0);
		execl(victim_path, "criu_victim", f->state, role, arg, (char *)NULL);
		_exit(127);
	}
	assert_true(f->pid > 0);
}

uint64_t count_of(const struct fixture *f)
{
	uint64_t value = 0;
	int fd = open(f->state, O_RDONLY | O_CLOEXEC);

	if (fd >= 0) {
		if (pread(fd, &value, sizeof(value), 0) != sizeof(value))
			value = 0;
		close(fd);
	}
	return value;
}

/* Waits until the victim has checked its memory some more times; fails if it found it wrong. */
void assert_goes_on(struct fixture *f)
{
	uint64_t start_count = count_of(f), start_time = clock_ns();

	while (count_of(f) < start_count + 5) {
		assert_true(clock_ms_since(start_time) < DEADLINE_MS);
		usleep(1000);
	}
	assert_true(count_of(f) != UINT64_MAX);
}

int try_dump(struct fixture *f, struct criu_dump d)
{
	d.pid = f->pid;
	d.images_fd = f->images;
	memset(&f->err, 0, sizeof(f->err));
	return criu_dump(&criu, &d, &f->frozen, &f->err);
}

void dump(struct fixture *f, struct criu_dump d)
{
	if (try_dump(f, d) < 0)
		fail_with(&f->err);
}

int try_restore(struct fixture *f, struct criu_restore r)
{
	r.images_fd = f->images;
	r.work_fd = f->work;
	memset(&f->err, 0, sizeof(f->err));
	return criu_restore(&criu, &r, &f->pid, &f->err);
}

void restore(struct fixture *f, struct criu_restore r)
{
	if (try_restore(f, r) < 0)
		fail_with(&f->err);
}

bool has_file(int dirfd, const char *name)
{
	return faccessat(dirfd, name, F_OK, 0) == 0;
}

char state_of(pid_t pid)
{
	char path[64], line[512], *at;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "re");
	if (!f)
		return '-';
	at = fgets(line, sizeof(line), f) ? strrchr(line, ')') : NULL;
	fclose(f);
	if (!at)
		return '-';
	return at[2];
}

int fixture_find_criu(void **state)
{
	struct frem_error err = {0};
	ssize_t n = readlink("/proc/self/exe", victim_path, sizeof(victim_path) - 16);

	(void)state;
	if (n <= 0)
		return -1;
	victim_path[n] = '\0';
	snprintf(strrchr(victim_path, '/'), 16, "/criu_victim");
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	/* a session led from outside of our pid namespace is nothing CRIU could dump a part of */
	if (getsid(0) == 0)
		setsid();
	if (!getenv("FREM_CRIU") && access(SOURCE_CRIU, X_OK) == 0)
		setenv("FREM_CRIU", SOURCE_CRIU, 1);
	if (criu_find(&criu, &err) < 0 || criu_check(&criu, &err) < 0) {
		print_message("skipped: %s\n%s", err.text, err.detail);
		exit(77);
	}
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tree_kill.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/clock.h"
#include "uffd.h"

#define RETRY_MS 5
#define SCANS_MAX 100 /* a tree that forks faster than it can be stopped is killed as it is */

struct pids {
	pid_t *pid;
	size_t n, cap;
};

static bool contains(const struct pids *p, pid_t pid)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->pid[i] == pid)
			return true;
	return false;
}

static void add(struct pids *p, pid_t pid)
{
	if (pid <= 1 || pid == getpid() || contains(p, pid))
		return;
	if (p->n == p->cap) {
		size_t cap = p->cap ? 2 * p->cap : 64;
		pid_t *more = realloc(p->pid, cap * sizeof(*more));

		if (!more)
			return;
		p->pid = more;
		p->cap = cap;
	}
	p->pid[p->n++] = pid;
}

void job_tree_init(struct job_tree *t, pid_t caller)
{
	*t = (struct job_tree){.pidfd = -1, .ancestors = {caller, 0}};
}

void job_tree_done(struct job_tree *t)
{
	cleanup_close(&t->pidfd);
	free(t->seen);
	free(t->prints);
}

/* A line "NAME:\tnumbers" of /proc/PID/status: its first and its last number. */
static bool status_numbers(const char *status, const char *name, long *ret_first, long *ret_last)
{
	const char *line = strstr(status, name);
	char *end;
	long n;

	if (!line)
		return false;
	line += strlen(name);
	n = strtol(line, &end, 10);
	if (end == line)
		return false;
	*ret_first = *ret_last = n;
	while (*end == '\t' || *end == ' ') {
		line = end;
		n = strtol(line, &end, 10);
		if (end == line)
			break;
		*ret_last = n;
	}
	return true;
}

static bool read_proc(pid_t pid, const char *name, char *out, size_t size)
{
	_cleanup_close_ int fd = -1;
	char path[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, out, size - 1);
	if (n <= 0)
		return false;
	out[n] = '\0';
	return true;
}

static pid_t parent_of(pid_t pid)
{
	char status[4096];
	long first, last;

	if (!read_proc(pid, "status", status, sizeof(status)) ||
	    !status_numbers(status, "\nPPid:", &first, &last))
		return 0;
	return (pid_t)first;
}

static bool is_below(pid_t pid, const pid_t ancestors[2])
{
	for (int depth = 0; depth < 4096 && pid > 1; depth++) {
		pid = parent_of(pid);
		if (pid > 1 && (pid == ancestors[0] || pid == ancestors[1]))
			return true;
	}
	return false;
}

static long inner_pid(pid_t pid)
{
	char status[4096];
	long outer, inner;

	return read_proc(pid, "status", status, sizeof(status)) &&
			       status_numbers(status, "\nNSpid:", &outer, &inner)
		       ? inner
		       : 0;
}

int job_tree_add_seen(struct job_tree *t, int32_t inner, pid_t pid)
{
	if (t->n_seen == t->cap_seen) {
		size_t cap = t->cap_seen ? 2 * t->cap_seen : 64;
		struct job_seen *more = realloc(t->seen, cap * sizeof(*more));

		if (!more)
			return -ENOMEM;
		t->seen = more;
		t->cap_seen = cap;
	}
	if (pid > 0 && inner_pid(pid) != inner)
		pid = 0;
	t->seen[t->n_seen++] = (struct job_seen){.inner = inner, .pid = pid};
	return 0;
}

static bool is_seen_itself(const struct job_tree *t, pid_t pid)
{
	for (size_t i = 0; i < t->n_seen; i++)
		if (pid > 0 && t->seen[i].pid == pid)
			return true;
	return false;
}

pid_t job_tree_top(const struct job_tree *t)
{
	for (size_t i = 0; i < t->n_seen; i++) {
		pid_t pid = t->seen[i].pid;

		if (pid > 0 && !is_seen_itself(t, parent_of(pid)))
			return pid;
	}
	return 0;
}

static bool was_seen(const struct job_tree *t, pid_t pid)
{
	long inner = t->n_seen ? inner_pid(pid) : 0;

	for (size_t i = 0; i < t->n_seen; i++)
		if (t->seen[i].inner == inner &&
		    (t->seen[i].pid == pid || is_below(pid, t->ancestors)))
			return true;
	return false;
}

static void add_children(struct pids *p, pid_t pid)
{
	_cleanup_closedir_ DIR *tasks = NULL;
	char path[400];
	struct dirent *d;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	tasks = opendir(path);
	while (tasks && (d = readdir(tasks))) {
		_cleanup_free_ char *word = NULL;
		_cleanup_fclose_ FILE *f = NULL;
		size_t size = 0;

		if (!isdigit((unsigned char)d->d_name[0]))
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%s/children", pid, d->d_name);
		f = fopen(path, "re");
		while (f && getdelim(&word, &size, ' ', f) > 0)
			if (isdigit((unsigned char)word[0]))
				add(p, (pid_t)strtol(word, NULL, 10));
	}
}

/* Field number i of /proc/PID/stat, from 3 on. */
static uint64_t stat_field(const char *stat_text, unsigned i)
{
	const char *at = strrchr(stat_text, ')'); /* ends field 2, which may hold anything */

	for (unsigned k = 2; at && k < i; k++)
		at = strchr(at + 1, ' ');
	return at ? strtoull(at + 1, NULL, 10) : 0;
}

static bool get_print(pid_t pid, struct job_print *ret)
{
	char path[64], text[2048];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/ns/pid", pid);
	if (!read_proc(pid, "stat", text, sizeof(text)) || stat(path, &st) < 0)
		return false;
	*ret = (struct job_print){.stack = stat_field(text, 28),
				  .arguments = stat_field(text, 48),
				  .pid_ns = st.st_ino};
	return ret->stack && ret->arguments;
}

/* Whether some mapping waits for missing pages (VmFlags "um"). */
static bool has_userfault_memory(pid_t pid)
{
	_cleanup_fclose_ FILE *f = NULL;
	_cleanup_free_ char *line = NULL;
	char path[64];
	size_t n = 0;

	snprintf(path, sizeof(path), "/proc/%d/smaps", pid);
	f = fopen(path, "re");
	while (f && getline(&line, &n, f) > 0)
		if (strncmp(line, "VmFlags:", 8) == 0 && strstr(line, " um"))
			return true;
	return false;
}

static bool is_orphan(const struct job_tree *t, pid_t pid)
{
	struct job_print p;

	if (t->n_prints == 0 || !get_print(pid, &p))
		return false;
	for (size_t i = 0; i < t->n_prints; i++)
		if (p.stack == t->prints[i].stack && p.arguments == t->prints[i].arguments &&
		    p.pid_ns == t->prints[i].pid_ns)
			return has_userfault_memory(pid);
	return false;
}

/* Everything that has to be looked up in all of /proc: orphans, and tasks that CRIU announced. */
static void add_from_proc(const struct job_tree *t, struct pids *p)
{
	_cleanup_closedir_ DIR *proc = opendir("/proc");
	struct dirent *d;

	while (proc && (d = readdir(proc))) {
		pid_t pid = (pid_t)strtol(d->d_name, NULL, 10);

		if (pid <= 1)
			continue;
		if (t->root ? is_orphan(t, pid) : was_seen(t, pid))
			add(p, pid);
	}
}

static bool root_lives(const struct job_tree *t)
{
	struct pollfd fd = {.fd = t->pidfd, .events = POLLIN};

	return t->pidfd >= 0 && poll(&fd, 1, 0) == 0;
}

/* The next ones to be stopped; those found before are stopped already. */
static void scan(const struct job_tree *t, struct pids *p)
{
	if (t->root && root_lives(t))
		add(p, t->root);
	add_from_proc(t, p);
	for (size_t i = 0; i < p->n; i++)
		add_children(p, p->pid[i]);
}

static void take_prints(struct job_tree *t)
{
	struct pids p = {0};

	add(&p, t->root);
	for (size_t i = 0; i < t->n_seen; i++)
		add(&p, t->seen[i].pid);
	for (size_t i = 0; i < p.n; i++)
		add_children(&p, p.pid[i]);
	free(t->prints);
	t->n_prints = 0;
	t->prints = calloc(p.n + 1, sizeof(*t->prints));
	for (size_t i = 0; t->prints && i < p.n; i++)
		t->n_prints += get_print(p.pid[i], &t->prints[t->n_prints]);
	free(p.pid);
}

void job_tree_set_root(struct job_tree *t, pid_t root)
{
	cleanup_close(&t->pidfd);
	t->root = root;
	t->pidfd = (int)syscall(SYS_pidfd_open, root, 0);
	take_prints(t);
}

void job_tree_kill(const struct job_tree *t)
{
	struct pids p = {0};
	size_t stopped = 0;

	for (int i = 0; i < SCANS_MAX; i++) {
		scan(t, &p);
		if (p.n == stopped)
			break;
		while (stopped < p.n)
			kill(p.pid[stopped++], SIGSTOP);
	}
	for (size_t i = 0; i < p.n; i++)
		kill(p.pid[i], SIGKILL);
	free(p.pid);
}

static int is_live_uffd(void *arg, int fd)
{
	(void)arg;
	return uffd_is(fd) && uffd_lives(fd);
}

bool uffds_alive(void)
{
	return file_each_open(is_live_uffd, NULL) > 0;
}

bool job_tree_kill_all(const struct job_tree *t, int timeout_ms)
{
	uint64_t start = clock_ns();

	for (;;) {
		struct timespec pause = {.tv_nsec = RETRY_MS * 1000000L};

		job_tree_kill(t);
		if (!uffds_alive() && !(t->root && root_lives(t)))
			return true;
		if (clock_ms_since(start) > timeout_ms)
			return false;
		nanosleep(&pause, NULL);
	}
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "criu/tree.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

#define TREE_MAX (1u << 22) /* PID_MAX_LIMIT of the kernel */

static int add(struct tree *t, pid_t pid)
{
	if (t->n == t->cap) {
		size_t cap = t->cap ? t->cap * 2 : 64;
		pid_t *more = cap > TREE_MAX ? NULL : realloc(t->pids, cap * sizeof(*more));

		if (!more)
			return -ENOMEM;
		t->pids = more;
		t->cap = cap;
	}
	t->pids[t->n++] = pid;
	return 0;
}

static int by_pid(const void *a, const void *b)
{
	pid_t x = *(const pid_t *)a, y = *(const pid_t *)b;

	return x < y ? -1 : x > y;
}

static int add_children_of_thread(struct tree *t, pid_t pid, const char *thread)
{
	_cleanup_fclose_ FILE *f = NULL;
	char path[64], word[16];

	snprintf(path, sizeof(path), "/proc/%d/task/%.16s/children", pid, thread);
	f = fopen(path, "re");
	while (f && fscanf(f, "%15s", word) == 1)
		if (add(t, (pid_t)strtol(word, NULL, 10)) < 0)
			return -ENOMEM;
	return 0;
}

static int add_children(struct tree *t, pid_t pid)
{
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *entry;
	size_t first = t->n;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.' && add_children_of_thread(t, pid, entry->d_name) < 0)
			return -ENOMEM;
	if (t->n > first)
		qsort(t->pids + first, t->n - first, sizeof(pid_t), by_pid);
	return 0;
}

int tree_read(pid_t root, struct tree *ret, struct frem_error *err)
{
	struct tree t = {0};
	int r = add(&t, root);

	for (size_t i = 0; r == 0 && i < t.n; i++)
		r = add_children(&t, t.pids[i]);
	if (r < 0) {
		tree_done(&t);
		return frem_oom(err);
	}
	*ret = t;
	return 0;
}

int tree_children_of_self(struct tree *ret, struct frem_error *err)
{
	struct tree t = {0};

	if (add_children(&t, getpid()) < 0) {
		tree_done(&t);
		return frem_oom(err);
	}
	*ret = t;
	return 0;
}

void tree_done(struct tree *t)
{
	free(t->pids);
	*t = (struct tree){0};
}

pid_t tree_inner_pid(pid_t pid)
{
	_cleanup_fclose_ FILE *f = NULL;
	char path[64], line[512];
	pid_t inner = -1;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		const char *last = strrchr(line, '\t');

		if (!strncmp(line, "NSpid:", 6) && last)
			inner = (pid_t)strtol(last, NULL, 10);
	}
	return inner;
}

long tree_stat_field(pid_t pid, int n)
{
	_cleanup_fclose_ FILE *f = NULL;
	char path[64], line[1024], *rest, *word;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "re");
	/* the second field is a name in parentheses, which may have anything in it */
	rest = f && fgets(line, sizeof(line), f) ? strrchr(line, ')') : NULL;
	if (!rest || rest[1] != ' ')
		return -1;
	rest += 2;
	for (int i = 3; (word = strsep(&rest, " ")); i++)
		if (i == n)
			return strtol(word, NULL, 10);
	return -1;
}

void tree_comm(pid_t pid, char out[17])
{
	_cleanup_fclose_ FILE *f = NULL;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	snprintf(out, 17, "?");
	f = fopen(path, "re");
	if (f && fgets(out, 17, f))
		out[strcspn(out, "\n")] = '\0';
}

static void signal_all(const struct tree *t, int number)
{
	for (size_t i = 0; i < t->n; i++)
		kill(t->pids[i], number);
}

void tree_await(pid_t pid, uint64_t until)
{
	_cleanup_close_ int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d", pid);
	while (access(path, F_OK) == 0) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		uint64_t now = clock_ns();

		if (now >= until || waitpid(pid, NULL, WNOHANG) == pid)
			return;
		/* once it has ended, nothing tells when another parent reaps it */
		if (poll(&p, 1, (int)((until - now) / NSEC_PER_MSEC) + 1) > 0)
			usleep(500);
	}
}

void tree_kill(pid_t root)
{
	struct tree t = {0};
	size_t before;

	/* stopped from the root down, none of them can start another one unseen */
	do {
		before = t.n;
		tree_done(&t);
		if (tree_read(root, &t, NULL) < 0)
			break;
		signal_all(&t, SIGSTOP);
	} while (t.n > before);
	signal_all(&t, SIGKILL);
	tree_done(&t);
	kill(root, SIGKILL);
}

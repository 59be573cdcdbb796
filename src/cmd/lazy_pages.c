/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * frem lazy-pages: stands in for `criu lazy-pages` on a plain image directory.
 *
 * This process is the daemon as its callers see it: it says when it listens, it ends with status 0
 * once all memory is in, and what ends it ends the service. The pager's processes do the work.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "cmd.h"
#include "interrupt.h"
#include "lazy_pages_options.h"
#include "pager/pager.h"
#include "ui.h"

#define EVENT_POLL_MS 200 /* how soon a signal is looked at */

struct lazy_pages {
	struct lazy_pages_options o;
	int images_fd, work_fd;
	int starter; /* -d: to the process that was started; -1 */
	struct pager *pager;
};

static struct {
	int fd; /* -1: messages go where frem's own go */
	uint64_t started_ns;
} log_file = {.fd = -1};

static void write_log(const char *mark, const char *text)
{
	uint64_t us = (clock_ns() - log_file.started_ns) / 1000;
	char line[2048];
	int n = snprintf(line, sizeof(line) - 1, "(%02u.%06u) %s%s", (unsigned)(us / 1000000),
			 (unsigned)(us % 1000000), mark, text);

	if (n > (int)sizeof(line) - 2)
		n = (int)sizeof(line) - 2;
	line[n++] = '\n';
	file_write_all(log_file.fd, line, (size_t)n);
}

static void log_to_file(enum log_level level, const char *line)
{
	write_log(level == LOG_LEVEL_WARNING ? "Warn  " : "", line);
}

/* CRIU's verbosity to frem's log levels. */
static enum log_level most_logged(int verbosity)
{
	return verbosity < 2	? LOG_LEVEL_WARNING
	       : verbosity == 2 ? LOG_LEVEL_NOTICE
	       : verbosity == 3 ? LOG_LEVEL_INFO
				: LOG_LEVEL_DEBUG;
}

static int open_log(const struct lazy_pages *l, struct frem_error *err)
{
	const char *name = l->o.log;

	if (!name) {
		ui_set_level(l->o.verbosity - 2);
		return 0;
	}
	log_file.started_ns = clock_ns();
	if (strcmp(name, "-") == 0)
		log_file.fd = STDOUT_FILENO;
	else
		log_file.fd = openat(l->work_fd, name,
				     O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
	if (log_file.fd < 0)
		return frem_fail(err, FREM_FAILED, errno, "opening the log '%s'", name);
	log_set_sink(log_to_file, most_logged(l->o.verbosity));
	return 0;
}

static int open_dir(const char *path, int *ret, struct frem_error *err)
{
	*ret = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *ret < 0 ? frem_fail(err, FREM_FAILED, errno, "opening '%s'", path) : 0;
}

static int write_pidfile(const struct lazy_pages *l, pid_t pid, struct frem_error *err)
{
	_cleanup_close_ int fd = -1;
	char text[16];
	int n = snprintf(text, sizeof(text), "%d", pid), r;

	if (!l->o.pidfile)
		return 0;
	fd = openat(l->work_fd, l->o.pidfile, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	r = fd < 0 ? -errno : file_write_all(fd, text, (size_t)n);
	return r < 0 ? frem_fail(err, FREM_FAILED, -r, "writing '%s'", l->o.pidfile) : 0;
}

static int write_status(const struct lazy_pages *l, struct frem_error *err)
{
	int r;

	if (l->o.status_fd < 0)
		return 0;
	r = file_write_all(l->o.status_fd, "", 1);
	close(l->o.status_fd);
	return r < 0 ? frem_fail(err, FREM_FAILED, -r, "writing to --status-fd") : 0;
}

/* It listens. In the background, the process that was started tells everyone. */
static int announce(struct lazy_pages *l, struct frem_error *err)
{
	int r;

	log_info("listening in '%s'", l->o.work);
	if (l->starter < 0)
		return write_status(l, err);
	r = file_write_all(l->starter, "", 1);
	close(take_fd(&l->starter));
	if (r < 0)
		return frem_fail(err, FREM_FAILED, -r, "going into the background");
	file_let_go_of_streams();
	return 0;
}

static int answer(const struct lazy_pages *l, struct frem_error *err)
{
	const struct pager_stats *s = pager_stats(l->pager);

	return ui_answer(json_pack("{s:I, s:I, s:f, s:f}", "lazy_pages", (json_int_t)s->pages_total,
				   "demand_faults", (json_int_t)s->demand_faults, "stall_ms",
				   s->stall_ms, "drained_ms", s->drained_ms),
			 err);
}

static int follow(struct lazy_pages *l, struct frem_error *err)
{
	int r = 0;

	while (r == 0) {
		struct pager_event e;

		r = interrupt_check(err);
		if (r < 0 || !pager_next_event(l->pager, EVENT_POLL_MS, &e))
			continue;
		if (e.notice[0])
			log_notice("%s", e.notice);
		if (e.type == PAGER_EVENT_READY) {
			r = announce(l, err);
		} else if (e.type == PAGER_EVENT_DRAINED) {
			log_info("all memory is in");
			return 0;
		} else if (e.type == PAGER_EVENT_FAILED) {
			*err = e.err;
			r = e.err.errnum ? -e.err.errnum : -EIO;
		}
	}
	return r;
}

/* The daemon's life. Ended before all memory is in, it ends the tasks: never would they go on with
 * zeros in its place. */
static int serve(struct lazy_pages *l, const struct cmd_context *c, struct frem_error *err)
{
	struct pager_options o = {
		.mode = PAGER_NOW, .images_fd = l->images_fd, .work_fd = l->work_fd};
	int r;

	if (l->o.auto_dedup)
		log_warning("--auto-dedup, ignoring: the image is left as it is");
	interrupt_catch();
	r = pager_start(&o, &l->pager, err);
	if (r == 0)
		r = follow(l, err);
	if (r == 0 && c->json)
		r = answer(l, err);
	if (r < 0 && log_file.fd >= 0)
		write_log("Error (frem): ", err->text);
	pager_free(l->pager);
	return r;
}

/* In the process that was started. What ended the daemon early was said by itself. */
static int see_it_off(const struct lazy_pages *l, pid_t daemon, int from_daemon,
		      struct frem_error *err)
{
	int status = 0, r;
	char byte;
	ssize_t n;

	do
		n = read(from_daemon, &byte, 1);
	while (n < 0 && errno == EINTR);
	if (n != 1) {
		waitpid(daemon, &status, 0);
		_exit(WIFEXITED(status) && WEXITSTATUS(status) ? WEXITSTATUS(status) : FREM_FAILED);
	}
	r = write_pidfile(l, daemon, err);
	if (r == 0)
		r = write_status(l, err);
	if (r < 0)
		kill(daemon, SIGTERM);
	return r;
}

static int go_into_background(struct lazy_pages *l, const struct cmd_context *c,
			      struct frem_error *err)
{
	int ends[2], r;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return frem_fail(err, FREM_FAILED, errno, "making a pipe");
	pid = fork();
	if (pid < 0) {
		r = frem_fail(err, FREM_FAILED, errno, "starting the daemon");
	} else if (pid > 0) {
		close(take_fd(&ends[1]));
		r = see_it_off(l, pid, ends[0], err);
	} else {
		setsid();
		if (l->o.status_fd >= 0)
			close(l->o.status_fd);
		l->starter = take_fd(&ends[1]);
		r = serve(l, c, err);
		cleanup_close(&l->starter);
	}
	close(ends[0]);
	cleanup_close(&ends[1]);
	return r;
}

int cmd_lazy_pages(struct cmd_context *c, int argc, char **argv, struct frem_error *err)
{
	struct lazy_pages l = {.images_fd = -1, .work_fd = -1, .starter = -1};
	int r = lazy_pages_parse(argc, argv, c->verbose, &l.o, err);

	if (r < 0)
		return r;
	r = open_dir(l.o.images, &l.images_fd, err);
	if (r == 0)
		r = open_dir(l.o.work, &l.work_fd, err);
	if (r == 0)
		r = open_log(&l, err);
	if (r == 0)
		r = l.o.daemon ? go_into_background(&l, c, err) : serve(&l, c, err);
	cleanup_close(&l.images_fd);
	cleanup_close(&l.work_fd);
	return r < 0 ? frem_context(err, r, "lazy-pages") : r;
}

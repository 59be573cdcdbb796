/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "criu/criu.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "run.h"

#define UNPACKED "/var/lib/frem/criu/criu" /* scripts/get-criu */

struct search {
	struct criu_program *found;
	char old[32]; /* the version of one that is too old, or "" */
};

/* Asks for the version; false where there is no CRIU at this path. */
static bool ask_version(const char *path, struct criu_program *ret)
{
	const char *const argv[] = {path, "--version", NULL};
	char out[512], *end;
	const char *at;

	if (access(path, X_OK) < 0 || run_command(argv, out, sizeof(out)) != 0)
		return false;
	at = strstr(out, "Version:");
	if (!at || sscanf(at, "Version: %31s", ret->version) != 1)
		return false;
	ret->major = (int)strtol(ret->version, &end, 10);
	ret->minor = *end == '.' ? (int)strtol(end + 1, NULL, 10) : 0;
	snprintf(ret->path, sizeof(ret->path), "%s", path);
	return true;
}

static bool try_path(struct search *s, const char *path)
{
	struct criu_program p = {0};

	if (strlen(path) >= sizeof(p.path) || !ask_version(path, &p))
		return false;
	if (p.major < CRIU_OLDEST_MAJOR ||
	    (p.major == CRIU_OLDEST_MAJOR && p.minor < CRIU_OLDEST_MINOR)) {
		if (!s->old[0])
			snprintf(s->old, sizeof(s->old), "%s", p.version);
		return false;
	}
	*s->found = p;
	return true;
}

/* Every `criu` in PATH, and where it is for root although not in everybody's PATH. */
static bool try_system(struct search *s)
{
	const char *path = getenv("PATH");
	char copy[8192], file[PATH_MAX], *rest = copy, *dir;

	snprintf(copy, sizeof(copy), "%s:/usr/sbin:/sbin:/usr/local/sbin", path ? path : "");
	while ((dir = strsep(&rest, ":"))) {
		int n = snprintf(file, sizeof(file), "%s/criu", dir);

		if (dir[0] == '/' && n > 0 && (size_t)n < sizeof(file) && try_path(s, file))
			return true;
	}
	return false;
}

static bool try_beside(struct search *s)
{
	char file[PATH_MAX + 16];
	ssize_t n = readlink("/proc/self/exe", file, PATH_MAX);
	char *slash;

	if (n <= 0 || n >= PATH_MAX)
		return false;
	file[n] = '\0';
	slash = strrchr(file, '/');
	if (!slash)
		return false;
	snprintf(slash, sizeof(file) - (size_t)(slash - file), "/criu/criu");
	return try_path(s, file);
}

static int missing(const struct search *s, struct frem_error *err)
{
	int r = s->old[0] ? frem_fail(err, FREM_UNABLE, 0,
				      "criu %s is too old, %d.%d or newer is needed", s->old,
				      CRIU_OLDEST_MAJOR, CRIU_OLDEST_MINOR)
			  : frem_fail(err, FREM_UNABLE, 0, "criu is not installed");

	return frem_hint(err, r,
			 "install criu %d.%d or newer, or name its binary in FREM_CRIU; "
			 "/usr/libexec/frem/get-criu (scripts/get-criu in the sources) unpacks one",
			 CRIU_OLDEST_MAJOR, CRIU_OLDEST_MINOR);
}

int criu_find(struct criu_program *ret, struct frem_error *err)
{
	const char *named = getenv("FREM_CRIU");
	struct search s = {.found = ret};
	int r;

	if (named && named[0]) {
		if (try_path(&s, named))
			return 0;
		r = s.old[0] ? missing(&s, err)
			     : frem_fail(err, FREM_UNABLE, 0,
					 "FREM_CRIU: '%s' is not a criu that runs", named);
		return frem_hint(err, r, "unset FREM_CRIU, or set it to a criu binary");
	}
	if (try_system(&s) || try_beside(&s) || try_path(&s, UNPACKED))
		return 0;
	return missing(&s, err);
}

/* The lines of out that say what is wrong: errors if there are any, else all of them. */
static void take_lines(char *out, struct frem_error *err)
{
	bool errors = strstr(out, "Error") != NULL;
	char *rest = out, *line;

	while ((line = strsep(&rest, "\n")))
		if (line[0] && (!errors || strstr(line, "Error")))
			frem_detail(err, line);
}

int criu_check(const struct criu_program *p, struct frem_error *err)
{
	const char *const argv[] = {p->path, "check", NULL};
	char out[8192];
	int status, r;

	file_raise_nofile();
	status = run_command(argv, out, sizeof(out));
	if (status == 0)
		return 0;
	r = frem_fail(err, FREM_UNABLE, 0, "criu %s does not work here", p->version);
	if (geteuid() != 0)
		frem_hint(err, r, "run frem as root");
	if (status > 0)
		take_lines(out, err);
	return r;
}

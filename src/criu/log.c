/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "base/buffer.h"
#include "base/file.h"
#include "run.h"

#define LOG_MAX ((size_t)16 << 20)
#define LINES_MAX 6 /* the first errors are the cause, the later ones its echo */

/* What CRIU's words mean to a user who can do something about it. */
static const struct {
	const char *words;
	const char *cure;
} hints[] = {
	{"has bad size", "the file has changed since the checkpoint: put it back as it was"},
	{"has bad mode", "the file's mode has changed since the checkpoint: put it back as it was"},
	{"is outside of its pid namespace",
	 "start the program as the leader of a session of its own, with setsid"},
	{"unsupported stop signal",
	 "the program waits in the background for its terminal: bring it to the foreground"},
	{"Address already in use", "end the program that listens on that address"},
};

static void hint_at(const char *line, struct frem_error *err)
{
	for (size_t i = 0; i < sizeof(hints) / sizeof(hints[0]); i++)
		if (strstr(line, hints[i].words))
			frem_hint(err, 0, "%s", hints[i].cure);
}

/* Lines that every failure has, or that are no cause of one. */
static bool is_noise(const char *line)
{
	return strstr(line, "Can't setup RLIMIT_NOFILE") || strstr(line, "Dumping FAILED") ||
	       strstr(line, "Restoring FAILED");
}

void log_take_errors(int dirfd, const char *name, const char *message, struct frem_error *err)
{
	_cleanup_buffer_ struct buffer log = {0};
	int lines = 0;
	char *line, *rest;

	if (!err)
		return;
	/* a log that is cut at the limit still starts with what matters */
	file_read_at(dirfd, name, LOG_MAX, &log);
	if (buffer_append(&log, "", 1) < 0)
		return;
	rest = (char *)log.data;
	while (lines < LINES_MAX && (line = strsep(&rest, "\n"))) {
		char *at = strstr(line, "Error (");

		if (!at || is_noise(at))
			continue;
		frem_detail(err, at);
		hint_at(at, err);
		lines++;
	}
	if (lines == 0 && message && message[0])
		frem_detail(err, message);
}

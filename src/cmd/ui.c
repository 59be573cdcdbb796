/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ui.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "meter.h"
#include "ui_stderr.h"

#define TERMINAL_INTERVAL_NS (NSEC_PER_SEC / 10)
#define QUIET_INTERVAL_NS (10 * NSEC_PER_SEC)

static json_t *answer;
static bool answered;

static void log_to_stderr(enum log_level level, const char *line)
{
	stderr_line(level == LOG_LEVEL_WARNING ? LINE_WARNING : LINE_PLAIN, "frem: ", line);
}

/* ---- progress ---- */

static pthread_mutex_t meter_lock = PTHREAD_MUTEX_INITIALIZER;
static struct meter meter;
static bool progress_shown = true;

static void show_progress(struct progress *p, const char *what, uint64_t done, uint64_t total)
{
	char update[METER_TEXT], ended[METER_TEXT];

	(void)p;
	if (!progress_shown)
		return;
	pthread_mutex_lock(&meter_lock);
	meter_report(&meter, clock_ns(), what, done, total, update, ended);
	if (stderr_is_terminal()) {
		if (*update)
			stderr_status(update);
	} else {
		if (*ended)
			stderr_line(LINE_PLAIN, "frem: ", ended);
		if (*update)
			stderr_line(LINE_PLAIN, "frem: ", update);
	}
	pthread_mutex_unlock(&meter_lock);
}

struct progress *ui_progress(void)
{
	static struct progress sink = {.report = show_progress};

	return &sink;
}

void ui_progress_done(void)
{
	char ended[METER_TEXT];

	pthread_mutex_lock(&meter_lock);
	meter_end(&meter, clock_ns(), ended);
	if (*ended && !stderr_is_terminal())
		stderr_line(LINE_PLAIN, "frem: ", ended);
	stderr_status(NULL);
	pthread_mutex_unlock(&meter_lock);
}

void ui_init(int level, enum ui_colours colours)
{
	stderr_init(colours);
	meter.interval_ns = stderr_is_terminal() ? TERMINAL_INTERVAL_NS : QUIET_INTERVAL_NS;
	meter.patience_ns = stderr_is_terminal() ? METER_PATIENCE_NS : QUIET_INTERVAL_NS;
	ui_set_level(level);
}

void ui_set_level(int level)
{
	static const enum log_level levels[] = {LOG_LEVEL_WARNING, LOG_LEVEL_NOTICE, LOG_LEVEL_INFO,
						LOG_LEVEL_DEBUG};

	progress_shown = level >= 0;
	if (level < -1)
		log_set_sink(NULL, LOG_LEVEL_WARNING);
	else
		log_set_sink(log_to_stderr, levels[(level > 2 ? 2 : level) + 1]);
}

/* ---- results ---- */

void ui_print(const char *fmt, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	if (!text)
		return;
	make_visible(text, true);
	fputs(text, stdout);
}

/* Bytes of the UTF-8 character at s; 0 where there is none. */
static size_t character(const char *s, size_t n)
{
	for (size_t len = 1; len <= 4 && len <= n; len++) {
		json_t *one = json_stringn(s, len);

		json_decref(one);
		if (one)
			return len;
	}
	return 0;
}

json_t *ui_json_string(const char *s)
{
	json_t *text = json_string(s);
	size_t n = strlen(s), len;
	char *copy;

	if (text)
		return text;
	copy = strdup(s);
	for (size_t i = 0; copy && i < n; i += len) {
		len = character(copy + i, n - i);
		if (!len) {
			copy[i] = '?';
			len = 1;
		}
	}
	text = copy ? json_string(copy) : NULL;
	free(copy);
	return text;
}

int ui_answer(json_t *steal, struct frem_error *err)
{
	if (!steal)
		return frem_oom(err);
	json_decref(answer);
	answer = steal;
	return 0;
}

static int print_answer(struct frem_error *err)
{
	errno = 0;
	if (json_dumpf(answer, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) < 0 ||
	    putchar('\n') == EOF || fflush(stdout) == EOF)
		return frem_fail(err, FREM_FAILED, errno ? errno : EIO, "writing the output");
	answered = true;
	return 0;
}

int ui_answer_now(struct frem_error *err)
{
	int r = print_answer(err);

	json_decref(answer);
	answer = NULL;
	return r;
}

static json_t *error_lines(const struct frem_error *err)
{
	json_t *lines = json_array();
	char text[sizeof(err->detail)], *rest = text, *line;

	snprintf(text, sizeof(text), "%s", err->detail);
	while ((line = strsep(&rest, "\n")))
		if (*line)
			json_array_append_new(lines, ui_json_string(line));
	return lines;
}

/* Puts the error into the answer, or makes it the answer where that is no object. */
static void answer_error(const struct frem_error *err)
{
	json_t *error = json_object();

	json_object_set_new(error, "code", json_integer(err->code));
	json_object_set_new(error, "text", ui_json_string(err->text));
	json_object_set_new(error, "hint", ui_json_string(err->hint));
	json_object_set_new(error, "detail", error_lines(err));
	if (!json_is_object(answer)) {
		json_decref(answer);
		answer = json_object();
	}
	json_object_set_new(answer, "error", error);
}

static void show_error(const struct frem_error *err)
{
	char text[sizeof(err->detail)], *rest = text, *line;

	stderr_line(LINE_ERROR, "frem: ", err->text);
	snprintf(text, sizeof(text), "%s", err->detail);
	while ((line = strsep(&rest, "\n")))
		if (*line)
			stderr_line(LINE_PLAIN, "  ", line);
	if (err->hint[0])
		stderr_line(LINE_PLAIN, "hint: ", err->hint);
}

/* What stdio still holds must get through, or the reader was given half an answer. */
static int flush_output(struct frem_error *err)
{
	bool failed = ferror(stdout);

	errno = 0;
	if (fflush(stdout) == EOF || failed)
		return frem_fail(err, FREM_FAILED, errno ? errno : EIO, "writing the output");
	return 0;
}

int ui_finish(int r, bool json, struct frem_error *err)
{
	struct frem_error broken = {0};
	int code = r;

	ui_progress_done();
	if (r < 0) {
		if (err->code == FREM_OK)
			frem_fail(err, FREM_FAILED, -r, "failed");
		code = err->code;
	}
	if (json && !answered) {
		if (r < 0)
			answer_error(err);
		else if (!answer)
			answer = json_object();
		print_answer(&broken);
	}
	if (!broken.code)
		flush_output(&broken);
	json_decref(answer);
	answer = NULL;
	if (err->code)
		show_error(err);
	if (broken.code) {
		show_error(&broken);
		code = code ? code : FREM_FAILED;
	}
	return code;
}

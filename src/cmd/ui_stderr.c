/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ui_stderr.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/file.h"

#define ERASE_LINE "\r\033[K"
#define STATUS_SIZE 512

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool terminal;
static bool colours;
static char status[STATUS_SIZE]; /* as shown; "" for none */

void stderr_init(enum ui_colours when)
{
	const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");

	terminal = isatty(STDERR_FILENO) && term && *term && strcmp(term, "dumb") != 0;
	colours = when == UI_COLOURS_ALWAYS ||
		  (when == UI_COLOURS_AUTO && terminal && !(no_color && *no_color));
}

bool stderr_is_terminal(void)
{
	return terminal;
}

void make_visible(char *s, bool keep_newlines)
{
	for (uint8_t *p = (uint8_t *)s; *p; p++) {
		if (*p == '\n' && keep_newlines)
			continue;
		if (*p < 0x20 || *p == 0x7f)
			*p = '?';
		/* U+0080 to U+009F, which some terminals obey as well */
		if (p[0] == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f)
			p[0] = p[1] = '?';
	}
}

size_t text_width(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += ((uint8_t)*s & 0xc0) != 0x80;
	return n;
}

/* Cuts s to the terminal's width, on a character's boundary, so that the line never wraps. */
static void cut_to_width(char *s)
{
	struct winsize w;
	size_t columns = 80, n = 0;

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 0)
		columns = w.ws_col;
	for (; *s; s++) {
		if (((uint8_t)*s & 0xc0) == 0x80)
			continue;
		if (++n >= columns) {
			*s = '\0';
			return;
		}
	}
}

static const char *colour_start(enum line_colour colour)
{
	if (!colours || colour == LINE_PLAIN)
		return "";
	return colour == LINE_WARNING ? "\033[33m" : "\033[31m";
}

void stderr_line(enum line_colour colour, const char *prefix, const char *text)
{
	const char *start = colour_start(colour);
	char line[4096 + STATUS_SIZE], *body;
	int n;

	pthread_mutex_lock(&lock);
	n = snprintf(line, sizeof(line), "%s%s%s%s", *status ? ERASE_LINE : "", start, prefix,
		     *start ? "\033[0m" : "");
	body = line + n;
	snprintf(body, 4000, "%s", text);
	make_visible(body, false);
	n += (int)strlen(body);
	/* the status line again, below */
	n += snprintf(line + n, sizeof(line) - (size_t)n, "\n%s", status);
	(void)file_write_all(STDERR_FILENO, line, (size_t)n);
	pthread_mutex_unlock(&lock);
}

void stderr_status(const char *text)
{
	char line[STATUS_SIZE + 16];
	int n;

	if (!terminal)
		return;
	pthread_mutex_lock(&lock);
	if (text || *status) {
		snprintf(status, sizeof(status), "%s", text ? text : "");
		make_visible(status, false);
		cut_to_width(status);
		n = snprintf(line, sizeof(line), ERASE_LINE "%s", status);
		(void)file_write_all(STDERR_FILENO, line, (size_t)n);
	}
	pthread_mutex_unlock(&lock);
}

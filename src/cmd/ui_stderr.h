/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whole lines to stderr, and below them one status line that is updated in place. Used by the ui
 * only. Thread-safe; a line that cannot be written is lost.
 */
#ifndef FREM_CMD_UI_STDERR_H
#define FREM_CMD_UI_STDERR_H

#include <stdbool.h>
#include <stddef.h>

#include "ui.h"

enum line_colour {
	LINE_PLAIN,
	LINE_WARNING,
	LINE_ERROR,
};

void stderr_init(enum ui_colours colours);
/* Does it have a status line? */
bool stderr_is_terminal(void);
/* prefix (coloured where colours are wanted), then text, as one line. */
void stderr_line(enum line_colour colour, const char *prefix, const char *text);
/* Shows text in the status line; NULL takes it away. Does nothing where there is none. */
void stderr_status(const char *text);

/* Replaces control characters by '?', newlines too unless they are to be kept. In place. */
void make_visible(char *s, bool keep_newlines);
/* Columns that s takes on a terminal: its UTF-8 characters. */
size_t text_width(const char *s);

#endif

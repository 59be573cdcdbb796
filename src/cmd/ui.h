/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * All that frem shows. Results go to stdout; log lines, progress and errors go to stderr, each line
 * in one write(2), prefixed "frem: ", control characters made visible as '?'.
 *
 * On a terminal, work that takes over a second has one line that is updated in place; elsewhere a
 * line every ten seconds and one when such a phase ends. Log lines and progress may come from any
 * thread; the rest belongs to the main thread.
 */
#ifndef FREM_CMD_UI_H
#define FREM_CMD_UI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/log.h"
#include "base/progress.h"
#include "units.h"

enum ui_colours {
	UI_COLOURS_AUTO, /* on a terminal, unless NO_COLOR is set */
	UI_COLOURS_ALWAYS,
	UI_COLOURS_NEVER,
};

/*
 * Sets up stderr and installs the log sink. level: 0 says what the user should know and shows
 * progress, 1 says more and 2 everything; -1 says warnings and errors alone, -2 errors alone.
 */
void ui_init(int level, enum ui_colours colours);
/* The same with another level. */
void ui_set_level(int level);

/* ---- progress ---- */

/* The one sink to hand to the library. */
struct progress *ui_progress(void);
/* Ends the current phase: the line goes away. To be called before results are printed. */
void ui_progress_done(void);
/* What a progress line says, without prefix; rate in bytes a second, 0 where it is not known. */
void ui_progress_text(char *out, size_t size, const char *what, uint64_t done, uint64_t total,
		      double rate);

/* ---- results ---- */

/*
 * The result of a verb in --json mode; takes the reference. main() prints it once the verb has
 * returned, with a member "error" added where the verb failed. NULL is an allocation failure.
 */
int ui_answer(json_t *steal, struct frem_error *err);
/* Prints the answer at once, for verbs that go on running. */
int ui_answer_now(struct frem_error *err);
/*
 * Ends the output: prints the answer, or the error, or both in one object (json), and the error on
 * stderr. r is what the verb returned. Returns the exit code: 1 also where stdout cannot take what
 * was written to it.
 */
int ui_finish(int r, bool json, struct frem_error *err);

/* A JSON string; bytes that are not UTF-8 become '?'. */
json_t *ui_json_string(const char *s);

/* Prints to stdout as printf() does, with control characters of the arguments made visible. */
void ui_print(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* ---- tables ---- */

struct ui_table;

/* A column's title; a leading '>' aligns it to the right. */
int ui_table_new(const char *const *titles, size_t columns, struct ui_table **ret,
		 struct frem_error *err);
void ui_table_free(struct ui_table *t);
/* The next cell, left to right, row by row. An allocation failure shows in ui_table_print(). */
void ui_table_cell(struct ui_table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Prints the table to stdout, its columns as wide as needed; an empty one prints nothing. */
int ui_table_print(struct ui_table *t, struct frem_error *err);

FREM_CLEANUP(struct ui_table *, cleanup_ui_table, ui_table_free)
#define _cleanup_ui_table_ _cleanup_(cleanup_ui_table)

#endif

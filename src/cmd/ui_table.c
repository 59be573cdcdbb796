/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "ui.h"
#include "ui_stderr.h"

struct ui_table {
	size_t columns;
	bool *right;
	char **cells; /* row by row; the first row holds the titles */
	size_t n, cap;
	bool failed;
};

static int add_cell(struct ui_table *t, char *text)
{
	char **more;

	if (t->n == t->cap) {
		size_t cap = t->cap ? 2 * t->cap : 64;

		more = text ? reallocarray(t->cells, cap, sizeof(*more)) : NULL;
		if (!more) {
			free(text);
			t->failed = true;
			return -1;
		}
		t->cells = more;
		t->cap = cap;
	}
	if (!text) {
		t->failed = true;
		return -1;
	}
	make_visible(text, false);
	t->cells[t->n++] = text;
	return 0;
}

int ui_table_new(const char *const *titles, size_t columns, struct ui_table **ret,
		 struct frem_error *err)
{
	_cleanup_ui_table_ struct ui_table *t = calloc(1, sizeof(*t));

	if (t)
		t->right = calloc(columns, sizeof(*t->right));
	if (!t || !t->right)
		return frem_oom(err);
	t->columns = columns;
	for (size_t i = 0; i < columns; i++) {
		t->right[i] = titles[i][0] == '>';
		if (add_cell(t, strdup(titles[i] + t->right[i])) < 0)
			return frem_oom(err);
	}
	*ret = TAKE_PTR(t);
	return 0;
}

void ui_table_free(struct ui_table *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->n; i++)
		free(t->cells[i]);
	free(t->cells);
	free(t->right);
	free(t);
}

void ui_table_cell(struct ui_table *t, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	add_cell(t, text);
}

static void print_cell(const struct ui_table *t, size_t i, size_t width)
{
	size_t column = i % t->columns, len = text_width(t->cells[i]);
	int pad = (int)(width > len ? width - len : 0);

	if (column)
		fputs("  ", stdout);
	if (t->right[column])
		printf("%*s%s", pad, "", t->cells[i]);
	else if (column + 1 < t->columns)
		printf("%s%*s", t->cells[i], pad, "");
	else
		fputs(t->cells[i], stdout);
	if (column + 1 == t->columns)
		putchar('\n');
}

int ui_table_print(struct ui_table *t, struct frem_error *err)
{
	_cleanup_free_ size_t *widths = calloc(t->columns, sizeof(*widths));

	if (t->failed || !widths)
		return frem_oom(err);
	if (t->n <= t->columns)
		return 0;
	for (size_t i = 0; i < t->n; i++) {
		size_t len = text_width(t->cells[i]);

		if (len > widths[i % t->columns])
			widths[i % t->columns] = len;
	}
	for (size_t i = 0; i < t->n; i++)
		print_cell(t, i, widths[i % t->columns]);
	return 0;
}

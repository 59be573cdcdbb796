/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options that have their values from elsewhere than the command line. */
#include <stdint.h>
#include <string.h>

#include "options.h"
#include "units.h"

static struct {
	const struct option_setting *list;
	size_t n;
} defaults;

void options_set_defaults(const struct option_setting *list, size_t n)
{
	defaults.list = list;
	defaults.n = n;
}

static bool is_of(const struct option_row *row, const struct option_row *rows)
{
	while (rows->name && rows != row)
		rows++;
	return rows->name != NULL;
}

int options_take_defaults(const struct option_row *rows,
			  int (*take)(const struct option_row *row, const char *value, void *arg,
				      struct frem_error *err),
			  void *arg, struct frem_error *err)
{
	int r = 0;

	for (size_t i = 0; i < defaults.n && r == 0; i++) {
		const struct option_setting *s = &defaults.list[i];

		if (is_of(s->row, rows))
			r = take(s->row, s->value, arg, err);
		if (r < 0)
			frem_context(err, r, "%s", s->where);
	}
	return r;
}

static bool is_word(const char *words, const char *value)
{
	size_t n = strlen(value), len;

	for (; words && *words; words += len + (words[len] == '|')) {
		len = strcspn(words, "|");
		if (len == n && strncmp(words, value, n) == 0)
			return true;
	}
	return false;
}

int options_check_value(const struct option_row *row, const char *value, struct frem_error *err)
{
	uint64_t ignored;

	if (is_word(row->words, value))
		return 0;
	switch (row->kind) {
	case ARG_NUMBER:
	case ARG_PID:
		return units_parse_number(value, "number", 0, INT64_MAX, &ignored, err);
	case ARG_DURATION:
		return units_parse_duration(value, &ignored, err);
	case ARG_RATE:
		return units_parse_rate(value, &ignored, err);
	case ARG_SIZE:
		return units_parse_size(value, &ignored, err);
	default:
		return row->words ? frem_fail(err, FREM_USAGE, 0, "'%s': not one of %s", value,
					      row->words)
				  : 0;
	}
}

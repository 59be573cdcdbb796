/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "options.h"

#include <stdio.h>
#include <string.h>

static int usage_hint(int r, const char *verb, struct frem_error *err)
{
	return frem_hint(err, r, "'frem %s%s--help' says how it is used", verb ? verb : "",
			 verb ? " " : "");
}

/*
 * Takes argv[i], and the argument behind it perhaps, if it is this option, which has a value.
 * Returns how many arguments it took, 0 if it is another one; *ret is NULL without a value.
 */
static int take_value(int argc, char **argv, int i, const char *option, const char **ret,
		      struct frem_error *err)
{
	const char *arg = argv[i] + 2; /* behind the dashes */
	size_t n = strlen(option);
	int took = 1;

	*ret = NULL;
	if (strncmp(arg, option, n) != 0 || (arg[n] != '=' && arg[n] != '\0'))
		return 0;
	if (arg[n] == '=') {
		*ret = arg + n + 1;
	} else if (i + 1 < argc) {
		*ret = argv[i + 1];
		took = 2;
	}
	if (*ret && **ret)
		return took;
	*ret = NULL;
	if (!err->code)
		usage_hint(frem_fail(err, FREM_USAGE, 0, "option '--%s' needs a value", option),
			   NULL, err);
	return took;
}

static void add_store(struct globals *g, const char *store, struct frem_error *err)
{
	if (g->n_stores < OPTIONS_STORES_MOST)
		g->stores[g->n_stores++] = store;
	else if (!err->code)
		frem_fail(err, FREM_USAGE, 0, "more than %u stores", OPTIONS_STORES_MOST);
}

/* Where the value of an option that is a text alone is kept; NULL for the others. */
static const char **text_of(struct globals *g, int id)
{
	switch (id) {
	case OPT_STORE_TIMEOUT:
		return &g->store_timeout;
	case OPT_LOG_LEVEL:
		return &g->log_level;
	case OPT_COLOR:
		return &g->color;
	case OPT_CRIU:
		return &g->criu;
	case OPT_RUN_DIR:
		return &g->run_dir;
	case OPT_CONFIG_FILE:
		return &g->config_file;
	default:
		return NULL;
	}
}

static unsigned bit_of(const struct option_row *row)
{
	return 1u << (row->id - OPT_STORE);
}

static void set_global(struct globals *g, const struct option_row *row, const char *value,
		       struct frem_error *err)
{
	const char **text = text_of(g, row->id);

	if (text)
		*text = value;
	else if (row->id == OPT_STORE)
		add_store(g, value, err);
	else if (row->id == OPT_JSON)
		g->json = value != NULL;
	else if (row->id == OPT_VERBOSE)
		g->verbose++;
	else if (row->id == OPT_QUIET)
		g->verbose--;
	else if (row->id == OPT_HELP)
		g->help = true;
	else if (row->id == OPT_VERSION)
		g->version = true;
}

void options_no_default(struct globals *g, int id)
{
	g->given |= 1u << (id - OPT_STORE);
}

void options_default_global(struct globals *g, const struct option_setting *s)
{
	struct frem_error ignored = {0}; /* more stores than fit: the first ones count */

	if (!(g->given & bit_of(s->row)))
		set_global(g, s->row, s->value, &ignored);
}

/* "-v", and "-vv" for it twice: letters of one option alone, so that a verb's groups stay whole. */
static bool take_letters(const char *arg, const struct option_row *row, struct globals *g,
			 struct frem_error *err)
{
	const char letter[] = {row->letter, '\0'};
	size_t n = row->letter && arg[0] == '-' ? strspn(arg + 1, letter) : 0;

	if (n == 0 || arg[1 + n])
		return false;
	for (size_t i = 0; i < n; i++)
		set_global(g, row, "", err);
	g->given |= bit_of(row);
	return true;
}

/* Takes argv[i] if it is a global option. Returns how many arguments it took, 0 if it is none. */
static int take_global(int argc, char **argv, int i, struct globals *g, struct frem_error *err)
{
	const char *arg = argv[i], *value = NULL;
	bool is_long = strncmp(arg, "--", 2) == 0;
	int took = 0;

	if (strcmp(arg, "--no-json") == 0) {
		g->json = false;
		options_no_default(g, OPT_JSON);
		return 1;
	}
	for (const struct option_row *row = options_global; row->name; row++) {
		if (take_letters(arg, row, g, err))
			return 1;
		if (is_long && row->kind != ARG_NONE)
			took = take_value(argc, argv, i, row->name, &value, err);
		else if (is_long && strcmp(arg + 2, row->name) == 0)
			value = "", took = 1;
		if (value && !err->code && options_check_value(row, value, err) < 0)
			frem_context(err, -EINVAL, "--%s", row->name);
		if (value)
			set_global(g, row, value, err);
		if (took) {
			g->given |= bit_of(row);
			return took;
		}
	}
	return 0;
}

int options_globals(int *argc, char **argv, struct globals *ret, struct frem_error *err)
{
	int kept = 1, i = 1, took;
	bool verb = false;

	for (; i < *argc && strcmp(argv[i], "--") != 0; i += took) {
		took = take_global(*argc, argv, i, ret, err);
		if (took)
			continue;
		took = 1;
		if (argv[i][0] != '-')
			verb = true;
		else if (!verb && !err->code)
			usage_hint(frem_fail(err, FREM_USAGE, 0, "unknown option '%s'", argv[i]),
				   NULL, err);
		argv[kept++] = argv[i];
	}
	for (; i < *argc; i++)
		argv[kept++] = argv[i];
	*argc = kept;
	argv[kept] = NULL;
	return err->code ? -1 : 0;
}

void options_start(void)
{
	optind = 0; /* glibc: also forgets where it was within a group of short options */
	opterr = 0;
}

static bool is_long(int val, const struct option *longs)
{
	for (; longs->name; longs++)
		if (longs->val == val)
			return true;
	return false;
}

int options_next(int argc, char **argv, const char *shorts, const struct option *longs,
		 struct frem_error *err)
{
	char own[64];
	int o;

	snprintf(own, sizeof(own), ":%s", shorts); /* ':' tells a missing value apart */
	o = getopt_long(argc, argv, own, longs, NULL);
	if (o == -1)
		return 0;
	if (o == ':')
		frem_fail(err, FREM_USAGE, 0, "option '%s' needs a value", argv[optind - 1]);
	else if (o == '?' && optopt && is_long(optopt, longs))
		frem_fail(err, FREM_USAGE, 0, "option '%s' takes no value", argv[optind - 1]);
	else if (o == '?' && optopt)
		frem_fail(err, FREM_USAGE, 0, "unknown option '-%c'", optopt);
	else if (o == '?')
		frem_fail(err, FREM_USAGE, 0, "unknown option '%s'", argv[optind - 1]);
	else
		return o;
	return usage_hint(-1, argv[0], err);
}

#define OFF 0x10000 /* in the val of a flag's --no-NAME */
#define NO_NAME_SIZE 40

/* getopt_long()'s view of a verb's rows. */
struct getopt_view {
	struct option longs[2 * OPTIONS_MOST + 1];
	char shorts[2 * OPTIONS_MOST + 1];
	char no_names[OPTIONS_MOST][NO_NAME_SIZE];
};

static void view_rows(const struct option_row *rows, struct getopt_view *v)
{
	struct option *o = v->longs;
	char *s = v->shorts;

	for (size_t i = 0; rows[i].name && i < OPTIONS_MOST; i++) {
		bool flag = rows[i].kind == ARG_NONE;

		*o++ = (struct option){rows[i].name, flag ? no_argument : required_argument, NULL,
				       rows[i].id};
		if (flag) {
			snprintf(v->no_names[i], NO_NAME_SIZE, "no-%s", rows[i].name);
			*o++ = (struct option){v->no_names[i], no_argument, NULL, rows[i].id | OFF};
		}
		if (rows[i].letter)
			*s++ = rows[i].letter;
		if (rows[i].letter && !flag)
			*s++ = ':';
	}
}

static const struct option_row *find_row(const struct option_row *rows, int val)
{
	val &= ~OFF;
	while (rows->id != val && rows->letter != val)
		rows++;
	return rows;
}

int options_parse(int argc, char **argv, const struct option_row *rows,
		  int (*take)(const struct option_row *row, const char *value, void *arg,
			      struct frem_error *err),
		  void *arg, struct frem_error *err)
{
	struct getopt_view view = {0};
	int val, r;

	r = options_take_defaults(rows, take, arg, err);
	view_rows(rows, &view);
	options_start();
	while (r == 0 && (val = options_next(argc, argv, view.shorts, view.longs, err)) != 0) {
		const char *value = val & OFF ? NULL : optarg ? optarg : "";

		r = val < 0 ? val : take(find_row(rows, val), value, arg, err);
	}
	return r;
}

static int take_none(const struct option_row *row, const char *value, void *arg,
		     struct frem_error *err)
{
	(void)value;
	(void)arg;
	return frem_fail(err, FREM_USAGE, 0, "unknown option '--%s'", row->name);
}

int options_parse_none(int argc, char **argv, struct frem_error *err)
{
	return options_parse(argc, argv, options_none, take_none, NULL, err);
}

int options_operands(int argc, char **argv, int least, int most, const char *what,
		     struct frem_error *err)
{
	int n = argc - optind;

	if (n >= least && n <= most)
		return 0;
	if (n < least)
		frem_fail(err, FREM_USAGE, 0, "no %s given", what);
	else
		frem_fail(err, FREM_USAGE, 0, "unexpected argument '%s'", argv[optind + most]);
	return usage_hint(-1, argv[0], err);
}

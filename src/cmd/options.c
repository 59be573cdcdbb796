/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "options.h"

#include <stdio.h>
#include <string.h>

static int usage_hint(int r, const char *verb, struct frem_error *err)
{
	return frem_hint(err, r, "'frem %s%s--help' says how it is used", verb ? verb : "",
			 verb ? " " : "");
}

static bool is_verbose(const char *arg)
{
	return arg[0] == '-' && arg[1] == 'v' && arg[1 + strspn(arg + 1, "v")] == '\0';
}

/*
 * Takes argv[i], and the argument behind it perhaps, if it is this option, which has a value.
 * Returns how many arguments it took, 0 if it is another one; *ret is NULL without a value.
 */
static int take_value(int argc, char **argv, int i, const char *option, const char **ret,
		      struct frem_error *err)
{
	size_t n = strlen(option);
	int took = 1;

	*ret = NULL;
	if (strncmp(argv[i], option, n) != 0 || (argv[i][n] != '=' && argv[i][n] != '\0'))
		return 0;
	if (argv[i][n] == '=') {
		*ret = argv[i] + n + 1;
	} else if (i + 1 < argc) {
		*ret = argv[i + 1];
		took = 2;
	}
	if (*ret && **ret)
		return took;
	*ret = NULL;
	if (!err->code)
		usage_hint(frem_fail(err, FREM_USAGE, 0, "option '%s' needs a value", option), NULL,
			   err);
	return took;
}

static void add_store(struct globals *g, const char *store, struct frem_error *err)
{
	if (g->n_stores < OPTIONS_STORES_MOST)
		g->stores[g->n_stores++] = store;
	else if (!err->code)
		frem_fail(err, FREM_USAGE, 0, "more than %u stores", OPTIONS_STORES_MOST);
}

/* Takes argv[i] if it is a global option. Returns how many arguments it took, 0 if it is none. */
static int take_global(int argc, char **argv, int i, struct globals *g, struct frem_error *err)
{
	const char *arg = argv[i], *value;
	int took;

	took = take_value(argc, argv, i, "--store", &value, err);
	if (value)
		add_store(g, value, err);
	if (took)
		return took;
	took = take_value(argc, argv, i, "--store-timeout", &value, err);
	if (value)
		g->store_timeout = value;
	if (took)
		return took;
	if (strcmp(arg, "--json") == 0)
		g->json = true;
	else if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0)
		g->help = true;
	else if (strcmp(arg, "--version") == 0)
		g->version = true;
	else if (strcmp(arg, "--verbose") == 0)
		g->verbose++;
	else if (is_verbose(arg))
		g->verbose += (int)strlen(arg) - 1;
	else
		return 0;
	return 1;
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

int options_parse(int argc, char **argv, const struct option *longs,
		  int (*take)(int val, void *arg, struct frem_error *err), void *arg,
		  struct frem_error *err)
{
	int val, r = 0;

	options_start();
	while (r == 0 && (val = options_next(argc, argv, "", longs, err)) != 0)
		r = val < 0 ? val : take(val, arg, err);
	return r;
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

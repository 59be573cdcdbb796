/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ini.h>

#include "base/log.h"
#include "cmd.h"

#define SYSTEM_FILE "/etc/frem.conf"
#define USER_FILE "frem/frem.conf" /* below the user's directory of configurations */
#define SETTINGS_MOST 256
#define LINE_MOST 198 /* what the parser takes; a longer one would become two */

struct entry {
	char *verb; /* the section, "" before the first */
	size_t file;
	char *value, *where;
	struct option_setting setting;
};

struct config {
	struct entry entries[SETTINGS_MOST];
	size_t n;
	char *files[2];
	size_t n_files;
	struct option_setting for_verb[SETTINGS_MOST];
};

void config_free(struct config *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->n; i++) {
		free(c->entries[i].verb);
		free(c->entries[i].value);
		free(c->entries[i].where);
	}
	for (size_t i = 0; i < c->n_files; i++)
		free(c->files[i]);
	free(c);
}

const char *config_file(const struct config *c, size_t i)
{
	return i < c->n_files ? c->files[i] : NULL;
}

/* ---- a line ---- */

struct reader {
	struct config *c;
	FILE *f;
	const char *path;
	unsigned line;
	struct frem_error *err; /* the first one */
};

/* What belongs to one run alone makes no sense as a default. */
static bool is_for_files(const struct option_row *row)
{
	return row->kind != ARG_PID && row->id != OPT_HELP && row->id != OPT_VERSION &&
	       row->id != OPT_CONFIG_FILE && row->id != OPT_VERBOSE && row->id != OPT_QUIET;
}

static const struct option_row *find_row(const struct option_row *rows, const char *name)
{
	for (; rows->name; rows++)
		if (strcmp(rows->name, name) == 0 && is_for_files(rows))
			return rows;
	return NULL;
}

static int find_key(const char *section, const char *name, const struct option_row **ret,
		    struct frem_error *err)
{
	const struct cmd *cmd = *section ? cmd_find(section, NULL) : NULL;

	if (*section && !cmd)
		return frem_fail(err, FREM_USAGE, 0, "unknown section '[%s]'", section);
	*ret = cmd ? find_row(cmd->options, name) : NULL;
	if (!*ret)
		*ret = find_row(options_global, name);
	if (*ret)
		return 0;
	if (cmd)
		return frem_fail(err, FREM_USAGE, 0, "unknown key '%s' in section '[%s]'", name,
				 section);
	return frem_fail(err, FREM_USAGE, 0, "unknown key '%s'", name);
}

/* A flag's value as take() of options_parse() gets it. */
static int parse_flag(const char *value, const char **ret, struct frem_error *err)
{
	static const char *const on[] = {"yes", "true", "on", "1"};
	static const char *const off[] = {"no", "false", "off", "0"};

	for (size_t i = 0; i < sizeof(on) / sizeof(*on); i++) {
		if (strcasecmp(value, on[i]) != 0 && strcasecmp(value, off[i]) != 0)
			continue;
		*ret = strcasecmp(value, on[i]) == 0 ? "" : NULL;
		return 0;
	}
	return frem_fail(err, FREM_USAGE, 0, "'%s': neither yes nor no", value);
}

static int check_value(const struct option_row *row, const char *value, const char **ret,
		       struct frem_error *err)
{
	if (!*value)
		return frem_fail(err, FREM_USAGE, 0, "a value is missing");
	*ret = value;
	return row->kind == ARG_NONE ? parse_flag(value, ret, err)
				     : options_check_value(row, value, err);
}

/* Another file's value of the same key goes; given twice in one file it is a mistake. */
static int make_room(struct config *c, const char *section, const struct option_row *row,
		     struct frem_error *err)
{
	for (size_t i = c->n; i-- > 0;) {
		struct entry *e = &c->entries[i];

		if (e->setting.row != row || strcmp(e->verb, section) != 0)
			continue;
		if (e->file != c->n_files)
			e->setting.row = NULL;
		else if (row->id != OPT_STORE)
			return frem_fail(err, FREM_USAGE, 0,
					 "a second time: the first one is at %s", e->where);
	}
	if (c->n == SETTINGS_MOST)
		return frem_fail(err, FREM_USAGE, 0, "more than %d keys", SETTINGS_MOST);
	return 0;
}

static int add_entry(const struct reader *r, const char *section, const struct option_row *row,
		     const char *value, struct frem_error *err)
{
	struct entry *e = &r->c->entries[r->c->n++];

	*e = (struct entry){.verb = strdup(section), .value = strdup(value), .file = r->c->n_files};
	if (asprintf(&e->where, "%s:%u", r->path, r->line) < 0)
		e->where = NULL;
	if (!e->verb || !e->value || !e->where)
		return frem_oom(err);
	e->setting.row = row;
	e->setting.where = e->where;
	return check_value(row, e->value, &e->setting.value, err);
}

static int take_pair(const struct reader *r, const char *section, const char *name,
		     const char *value, struct frem_error *err)
{
	const struct option_row *row = NULL;
	int result = find_key(section, name, &row, err);

	if (result < 0)
		return result;
	result = make_room(r->c, section, row, err);
	if (result == 0)
		result = add_entry(r, section, row, value, err);
	return result < 0 ? frem_context(err, result, "%s", name) : 0;
}

/* The parser's view: 1 goes on, 0 is an error. */
static int take_line(void *arg, const char *section, const char *name, const char *value)
{
	struct reader *r = arg;
	int result;

	if (r->err->code)
		return 0;
	result = take_pair(r, section, name, value, r->err);
	if (result < 0)
		frem_context(r->err, result, "%s:%u", r->path, r->line);
	return result == 0;
}

static char *next_line(char *line, int size, void *arg)
{
	struct reader *r = arg;

	if (r->err->code || !fgets(line, size, r->f))
		return NULL;
	r->line++;
	if (strlen(line) > LINE_MOST || (!strchr(line, '\n') && !feof(r->f))) {
		frem_fail(r->err, FREM_USAGE, 0, "%s:%u: longer than %d characters", r->path,
			  r->line, LINE_MOST);
		return NULL;
	}
	return line;
}

/* ---- a file ---- */

static int parse(struct reader *r)
{
	int bad_line = ini_parse_stream(next_line, r, take_line, r);

	if (ferror(r->f))
		frem_fail(r->err, FREM_FAILED, EIO, "reading '%s'", r->path);
	else if (bad_line && !r->err->code)
		frem_fail(r->err, FREM_USAGE, 0, "%s:%d: neither '[COMMAND]' nor 'KEY = VALUE'",
			  r->path, bad_line);
	if (r->err->code == FREM_USAGE)
		frem_hint(r->err, 0, "'man frem.conf' says what can stand there");
	return r->err->code ? -EINVAL : 0;
}

/* Whoever can write it says which programs run with the user's rights. */
static bool is_trusted(FILE *f, const char *path)
{
	struct stat st;

	if (fstat(fileno(f), &st) == 0 && (st.st_uid == 0 || st.st_uid == geteuid()))
		return true;
	log_warning("'%s' belongs to another user, ignoring it", path);
	return false;
}

/* steal: its path, NULL where memory has run out. */
static int read_file(struct config *c, char *steal, bool needed, struct frem_error *err)
{
	_cleanup_free_ char *path = steal;
	struct frem_error mine = {0};
	struct reader r = {.c = c, .path = path, .err = &mine};
	int result = 0;

	if (!path)
		return frem_oom(err);
	r.f = fopen(path, "re");
	if (!r.f && !needed && errno == EACCES) {
		/* as where HOME is another user's still */
		log_info("'%s' cannot be read, ignoring it", path);
		return 0;
	}
	if (!r.f && !needed && (errno == ENOENT || errno == ENOTDIR))
		return 0;
	if (!r.f)
		return frem_fail(err, FREM_FAILED, errno, "reading '%s'", path);
	if (needed || is_trusted(r.f, path)) {
		result = parse(&r);
		c->files[c->n_files++] = TAKE_PTR(path);
	}
	fclose(r.f);
	if (result < 0)
		*err = mine;
	return result;
}

static char *user_file(void)
{
	const char *directory = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
	char *path;
	int n;

	if (directory && *directory == '/')
		n = asprintf(&path, "%s/" USER_FILE, directory);
	else
		n = asprintf(&path, "%s/.config/" USER_FILE, home && *home ? home : "/nonexistent");
	return n < 0 ? NULL : path;
}

int config_read(const char *only, struct config **ret, struct frem_error *err)
{
	_cleanup_config_ struct config *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return frem_oom(err);
	if (only) {
		r = read_file(c, strdup(only), true, err);
	} else {
		r = read_file(c, strdup(SYSTEM_FILE), false, err);
		if (r == 0)
			r = read_file(c, user_file(), false, err);
	}
	if (r == 0)
		*ret = TAKE_PTR(c);
	return r;
}

/* ---- for a verb ---- */

static bool has_own(const struct config *c, const char *verb, const struct option_row *row)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->entries[i].setting.row == row && strcmp(c->entries[i].verb, verb) == 0)
			return true;
	return false;
}

void config_apply(struct config *c, const char *verb, struct globals *g)
{
	size_t n = 0;

	for (size_t i = 0; i < c->n; i++) {
		const struct entry *e = &c->entries[i];
		bool mine = strcmp(e->verb, verb) == 0;

		if (!e->setting.row || (*e->verb && !mine))
			continue;
		if (find_row(options_global, e->setting.row->name) != e->setting.row)
			c->for_verb[n++] = e->setting;
		else if (mine || !has_own(c, verb, e->setting.row))
			options_default_global(g, &e->setting);
	}
	options_set_defaults(c->for_verb, n);
}

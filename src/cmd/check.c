/* SPDX-License-Identifier: GPL-2.0-or-later */
/* frem check: what this machine can do, and what to do about each thing missing. */
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include "checks.h"
#include "cmd.h"
#include "config.h"
#include "criu/criu.h"
#include "find_checkpoint.h"
#include "options.h"
#include "track/track.h"
#include "ui.h"

#define MOST_BACKENDS 8
#define MOST_CHECKS (9 + MOST_BACKENDS)

struct checks {
	struct check list[MOST_CHECKS];
	size_t n;
	bool ok; /* a fast restart can run */
};

static struct check *add(struct checks *all, const char *name, bool required)
{
	struct check *c = &all->list[all->n++];

	snprintf(c->name, sizeof(c->name), "%s", name);
	c->required = required;
	return c;
}

static void say_error(struct check *c, const struct frem_error *err)
{
	int line = (int)strcspn(err->detail, "\n");

	check_say(c, CHECK_MISSING, err->hint, "%s%s%.*s", err->text, line ? ": " : "", line,
		  err->detail);
}

static void check_criu(struct checks *all)
{
	struct check *found = add(all, "criu", true), *works = add(all, "criu check", true);
	struct criu_program criu;
	struct frem_error err = {0};

	if (criu_find(&criu, &err) < 0) {
		say_error(found, &err);
		check_say(works, CHECK_MISSING, "get a CRIU first", "not tried");
		return;
	}
	check_say(found, CHECK_OK, NULL, "%s, %s", criu.version, criu.path);
	if (criu_check(&criu, &err) < 0)
		say_error(works, &err);
	else
		check_say(works, CHECK_OK, NULL, "CRIU says that it works here");
}

static void check_trackers(struct checks *all)
{
	struct track_backend_info info[MOST_BACKENDS] = {0};
	size_t n = track_probe(info, MOST_BACKENDS);
	char name[48];

	for (size_t i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "tracker %s", info[i].name);
		if (info[i].works)
			check_say(add(all, name, false), CHECK_OK, NULL, "works");
		else
			check_say(
				add(all, name, false), CHECK_MISSING,
				"without a tracker, a checkpoint gets its touch set by its first restart",
				"%s", info[i].why);
	}
}

static void check_store(const struct cmd_context *c, struct checks *all)
{
	_cleanup_store_list_ struct store_list *l = NULL;
	_cleanup_store_ struct store *s = NULL;
	struct check *check = add(all, "store", true);
	struct frem_error err = {0};
	int r = store_open(c->store, &s, &err);

	/* no checkpoint can have this prefix: names do not begin with '.' */
	if (r == 0)
		r = store_list(s, "./", &l, &err);
	frem_hint(&err, 0,
		  "see that the directory is there, or that 'frem serve' runs and can be "
		  "reached");
	if (r < 0)
		say_error(check, &err);
	else
		check_say(check, CHECK_OK, NULL, "%s answers", store_url(s));
}

static void check_configuration(const struct cmd_context *c, struct checks *all)
{
	struct check *check = add(all, "configuration", false);
	const char *first = config_file(c->config, 0), *second = config_file(c->config, 1);

	if (!first)
		check_say(check, CHECK_OK, NULL, "no file");
	else
		check_say(check, CHECK_OK, NULL, "%s%s%s", first, second ? ", then " : "",
			  second ? second : "");
}

static void run_checks(const struct cmd_context *c, struct checks *all)
{
	check_privileges(add(all, "privileges", true));
	check_kernel(add(all, "kernel", true));
	check_criu(all);
	check_userfaultfd(add(all, "userfaultfd", true));
	check_trackers(all);
	check_run_directory(add(all, "run directory", true));
	check_limits(add(all, "limits", false));
	check_configuration(c, all);
	if (c->store)
		check_store(c, all);
	all->ok = true;
	for (size_t i = 0; i < all->n; i++)
		if (all->list[i].required && all->list[i].state == CHECK_MISSING)
			all->ok = false;
}

static const char *state_text(const struct check *c)
{
	static const char *const names[] = {"ok", "degraded", "missing"};

	return names[c->state];
}

static void print_checks(const struct checks *all)
{
	for (size_t i = 0; i < all->n; i++) {
		const struct check *c = &all->list[i];

		ui_print("%-8s  %-21s  %s\n", state_text(c), c->name, c->text);
		if (*c->hint && c->state != CHECK_OK)
			ui_print("%-8s  %-21s  -> %s\n", "", "", c->hint);
	}
	if (all->ok)
		ui_print("a fast restart can run here\n");
}

static int answer_checks(const struct checks *all, struct frem_error *err)
{
	json_t *list = json_array();

	for (size_t i = 0; i < all->n; i++) {
		const struct check *c = &all->list[i];

		json_array_append_new(
			list, json_pack("{s:o, s:b, s:s, s:b, s:o, s:o}", "name",
					ui_json_string(c->name), "ok", c->state != CHECK_MISSING,
					"state", state_text(c), "required", c->required, "text",
					ui_json_string(c->text), "hint", ui_json_string(c->hint)));
	}
	return ui_answer(json_pack("{s:b, s:o}", "ok", all->ok, "checks", list), err);
}

static int refuse(const struct checks *all, struct frem_error *err)
{
	char names[256] = "";
	size_t used = 0;

	for (size_t i = 0; i < all->n; i++) {
		const struct check *c = &all->list[i];

		if (c->required && c->state == CHECK_MISSING && used < sizeof(names))
			used += (size_t)snprintf(names + used, sizeof(names) - used, "%s%s",
						 used ? ", " : "", c->name);
	}
	return frem_fail(err, FREM_UNABLE, 0, "a fast restart cannot run here: missing: %s", names);
}

int cmd_check(struct cmd_context *c, int argc, char **argv, struct frem_error *err)
{
	struct checks *all;
	int r;

	r = options_parse_none(argc, argv, err);
	if (r == 0)
		r = options_operands(argc, argv, 0, 0, "", err);
	if (r < 0)
		return r;
	all = calloc(1, sizeof(*all));
	if (!all)
		return frem_oom(err);
	run_checks(c, all);
	if (c->json)
		r = answer_checks(all, err);
	else
		print_checks(all);
	if (r == 0 && !all->ok)
		r = refuse(all, err);
	free(all);
	return r;
}

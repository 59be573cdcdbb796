/* SPDX-License-Identifier: GPL-2.0-or-later */
/* frem prune. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cmd.h"
#include "find_checkpoint.h"
#include "interrupt.h"
#include "inventory.h"
#include "options.h"
#include "prune_name.h"
#include "ui.h"

#define KEEP_MOST 1000000
#define LEFTOVERS_SECONDS (24 * 3600)

struct prune {
	struct prune_policy policy;
	bool json;
	json_t *removed, *leftovers;
	uint64_t bytes;
};

static int parse_age(const char *text, const char *option, int64_t *ret, struct frem_error *err)
{
	uint64_t ms;
	int r = units_parse_duration(text, &ms, err);

	if (r < 0)
		return frem_context(err, r, "%s", option);
	*ret = (int64_t)((ms + 999) / 1000);
	return 0;
}

static int take_option(const struct option_row *row, const char *value, void *arg,
		       struct frem_error *err)
{
	struct prune_policy *p = arg;
	uint64_t keep;
	int r;

	switch (row->id) {
	case OPT_KEEP:
		r = units_parse_number(value, "--keep", 1, KEEP_MOST, &keep, err);
		if (r == 0)
			p->keep = (uint32_t)keep;
		return r;
	case OPT_OLDER_THAN:
		return parse_age(value, "--older-than", &p->older_than, err);
	case OPT_LEFTOVERS:
		return parse_age(value, "--leftovers", &p->leftovers_than, err);
	case OPT_DRY_RUN:
		p->dry_run = value != NULL;
		return 0;
	default:
		return -EINVAL;
	}
}

static int parse(int argc, char **argv, struct prune_policy *ret, struct frem_error *err)
{
	int r = options_parse(argc, argv, options_prune, take_option, ret, err);

	if (r == 0)
		r = options_operands(argc, argv, 0, argc, "NAME", err);
	for (int i = optind; r == 0 && i < argc; i++)
		r = name_check(argv[i], err);
	if (r == 0 && ret->older_than && ret->keep == PRUNE_KEEP_ALL)
		r = frem_hint(err, frem_fail(err, FREM_USAGE, 0, "--older-than without --keep"),
			      "--keep says how many of each name stay however old they are");
	return r;
}

static void removed(void *arg, const struct inventory_entry *e)
{
	bool leftover = e->manifest == INVENTORY_NONE;
	char text[CHECKPOINT_TEXT_SIZE], size[UNITS_SIZE];
	struct prune *p = arg;

	checkpoint_text(&e->id, text);
	units_bytes(e->stored, size);
	p->bytes += e->stored;
	json_array_append_new(leftover ? p->leftovers : p->removed, ui_json_string(text));
	if (!p->json)
		ui_print("%s %s%s, %s\n", p->policy.dry_run ? "would remove" : "removed", text,
			 leftover ? " (an interrupted upload)" : "", size);
}

static int prune_all(struct prune *p, struct store *s, struct frem_error *err)
{
	_cleanup_inventory_ struct inventory *v = NULL;
	const char *last = "";
	int r = inventory_read(s, NULL, &v, err);

	for (size_t i = 0; r == 0 && i < v->n; i++) {
		if (strcmp(v->entries[i].id.name, last) == 0)
			continue;
		last = v->entries[i].id.name;
		r = prune_name(s, last, &p->policy, err);
	}
	return r;
}

static int prune_named(struct prune *p, struct store *s, char *const *names, size_t n,
		       struct frem_error *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++)
		r = prune_name(s, names[i], &p->policy, err);
	return r;
}

int cmd_prune(struct cmd_context *c, int argc, char **argv, struct frem_error *err)
{
	struct prune p = {
		.policy = {.keep = PRUNE_KEEP_ALL,
			   .leftovers_than = LEFTOVERS_SECONDS,
			   .removed = removed},
		.json = c->json,
	};
	_cleanup_store_ struct store *s = NULL;
	int r = parse(argc, argv, &p.policy, err);

	if (r == 0)
		r = checkpoint_open_store(c, &s, err);
	if (r < 0)
		return r;
	interrupt_catch();
	store_set_interrupt(s, interrupted);
	p.policy.arg = &p;
	p.removed = json_array();
	p.leftovers = json_array();
	r = optind < argc ? prune_named(&p, s, &argv[optind], (size_t)(argc - optind), err)
			  : prune_all(&p, s, err);
	r = interrupt_explain(r, err);
	/* what has been removed is said also where the rest failed */
	if (ui_answer(json_pack("{s:b, s:o, s:o, s:I}", "dry_run", p.policy.dry_run, "removed",
				p.removed, "leftovers", p.leftovers, "bytes", (json_int_t)p.bytes),
		      r < 0 ? NULL : err) < 0 &&
	    r == 0)
		r = -ENOMEM;
	return r;
}

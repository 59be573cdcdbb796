/* SPDX-License-Identifier: GPL-2.0-or-later */
/* frem remove. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cmd.h"
#include "find_checkpoint.h"
#include "inventory.h"
#include "options.h"
#include "removal.h"
#include "ui.h"

struct removal {
	struct store *store;
	bool json;
	json_t *removed;
	uint64_t bytes;
};

static int parse_name(const char *text, bool all, struct checkpoint_name *ret,
		      struct frem_error *err)
{
	int r = name_parse(text, ret, err);

	if (r < 0)
		return r;
	if (all && ret->seq)
		return frem_hint(err,
				 frem_fail(err, FREM_USAGE, 0,
					   "'%s' is one checkpoint, but --all wants names", text),
				 "'frem remove %s' removes that one, 'frem remove --all %s' all",
				 text, ret->name);
	if (!all && !ret->seq)
		return frem_hint(
			err,
			frem_fail(err, FREM_USAGE, 0, "'%s' is a name, not a checkpoint", text),
			"'frem remove %s@N' removes one checkpoint, 'frem remove --all "
			"%s' all of them",
			text, text);
	return 0;
}

static int remove_one(struct removal *m, const struct inventory_entry *e, struct frem_error *err)
{
	char text[CHECKPOINT_TEXT_SIZE], size[UNITS_SIZE];
	int r = removal_of(m->store, &e->id, err);

	checkpoint_text(&e->id, text);
	if (r < 0)
		return frem_context(err, r, "removing '%s'", text);
	m->bytes += e->stored;
	json_array_append_new(m->removed, ui_json_string(text));
	if (m->json)
		return 0;
	units_bytes(e->stored, size);
	ui_print("removed %s%s, %s\n", text,
		 e->manifest == INVENTORY_NONE ? " (an interrupted upload)" : "", size);
	return 0;
}

/* One checkpoint, or all of a name. */
static int remove_named(struct removal *m, const struct checkpoint_name *id, struct frem_error *err)
{
	_cleanup_inventory_ struct inventory *v = NULL;
	char text[CHECKPOINT_TEXT_SIZE];
	int r = inventory_read(m->store, id, &v, err);

	if (r < 0)
		return r;
	if (!v->n) {
		checkpoint_text(id, text);
		frem_fail(err, FREM_NOT_FOUND, 0, "no checkpoint %s'%s' in store '%s'",
			  id->seq ? "" : "of ", text, store_url(m->store));
		return frem_hint(err, -ENOENT, "'frem list' shows those that are there");
	}
	for (size_t i = 0; r == 0 && i < v->n; i++)
		r = remove_one(m, &v->entries[i], err);
	return r;
}

/* A missing one does not keep the others: it is reported at the end. */
static int remove_all_named(struct removal *m, const struct checkpoint_name *ids, size_t n,
			    struct frem_error *err)
{
	struct frem_error later = {0};
	int missing = 0, r;

	for (size_t i = 0; i < n; i++) {
		r = remove_named(m, &ids[i], missing ? &later : err);
		if (r == -ENOENT && missing)
			log_warning("%s", later.text);
		else if (r == -ENOENT)
			missing = r;
		else if (r < 0 && missing)
			*err = later;
		if (r < 0 && r != -ENOENT)
			return r;
	}
	return missing;
}

static int take_option(const struct option_row *row, const char *value, void *arg,
		       struct frem_error *err)
{
	bool *all = arg;

	(void)row;
	(void)err;
	*all = value != NULL;
	return 0;
}

static int parse(int argc, char **argv, bool *ret_all, struct checkpoint_name **ret_ids,
		 struct frem_error *err)
{
	_cleanup_free_ struct checkpoint_name *ids = NULL;
	int r = options_parse(argc, argv, options_remove, take_option, ret_all, err);

	if (r == 0)
		r = options_operands(argc, argv, 1, argc, "NAME@N", err);
	if (r < 0)
		return r;
	ids = calloc((size_t)(argc - optind), sizeof(*ids));
	if (!ids)
		return frem_oom(err);
	for (int i = optind; i < argc; i++) {
		r = parse_name(argv[i], *ret_all, &ids[i - optind], err);
		if (r < 0)
			return r;
	}
	*ret_ids = TAKE_PTR(ids);
	return 0;
}

int cmd_remove(struct cmd_context *c, int argc, char **argv, struct frem_error *err)
{
	_cleanup_free_ struct checkpoint_name *ids = NULL;
	_cleanup_store_ struct store *s = NULL;
	struct removal m = {.json = c->json};
	struct frem_error oom = {0};
	bool all = false;
	int r = parse(argc, argv, &all, &ids, err);

	if (r == 0)
		r = checkpoint_open_store(c, &s, err);
	if (r != 0)
		return r;
	m.store = s;
	m.removed = json_array();
	r = remove_all_named(&m, ids, (size_t)(argc - optind), err);
	if (ui_answer(json_pack("{s:o, s:I}", "removed", m.removed, "bytes", (json_int_t)m.bytes),
		      &oom) < 0 &&
	    r == 0) {
		*err = oom;
		r = -ENOMEM;
	}
	return r;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * frem verify: which checkpoints there are to look at is what all stores together say; then each
 * store is looked at by itself, because a replica that is damaged is only noticed by who needs it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cmd.h"
#include "find_checkpoint.h"
#include "interrupt.h"
#include "inventory.h"
#include "options.h"
#include "ui.h"
#include "verify_store.h"

struct verification {
	const struct cmd_context *cmd;
	bool all;
	struct checkpoint_name *ids; /* to be verified */
	size_t n, cap;
	const char *store; /* the one that is looked at; NULL: there is only one */
	json_t *rows;
	/* of the checkpoint that is looked at: */
	const struct checkpoint_name *id;
	json_t *damage;
	/* in the end: */
	unsigned damaged, looked_at;
	struct frem_error first; /* damage */
};

/* ---- what to verify ---- */

static int add(struct verification *v, const struct checkpoint_name *id, struct frem_error *err)
{
	if (v->n == v->cap) {
		size_t cap = v->cap ? 2 * v->cap : 16;
		void *more = reallocarray(v->ids, cap, sizeof(*v->ids));

		if (!more)
			return frem_oom(err);
		v->ids = more;
		v->cap = cap;
	}
	v->ids[v->n++] = *id;
	return 0;
}

/* All of the store, or of a name. */
static int add_all(struct verification *v, struct store *s, const struct checkpoint_name *name,
		   struct frem_error *err)
{
	_cleanup_inventory_ struct inventory *there = NULL;
	size_t before = v->n;
	int r = inventory_read(s, name, &there, err);

	for (size_t i = 0; r == 0 && i < there->n; i++)
		if (there->entries[i].manifest != INVENTORY_NONE)
			r = add(v, &there->entries[i].id, err);
	if (r == 0 && name && v->n == before)
		r = frem_hint(err,
			      frem_fail(err, FREM_NOT_FOUND, 0,
					"no checkpoint of '%s' in store '%s'", name->name,
					store_url(s)),
			      "'frem list' shows those that are there");
	return r;
}

static int add_named(struct verification *v, struct store *s, const char *text,
		     struct frem_error *err)
{
	struct checkpoint_name id;
	int r = name_parse(text, &id, err);

	if (r == 0 && v->all && id.seq)
		r = frem_hint(err,
			      frem_fail(err, FREM_USAGE, 0,
					"'%s' is one checkpoint, but --all wants names", text),
			      "'frem verify %s' looks at that one", text);
	if (r < 0)
		return r;
	if (v->all)
		return add_all(v, s, &id, err);
	r = checkpoint_latest(s, &id, err);
	return r < 0 ? r : add(v, &id, err);
}

static int find_all(struct verification *v, int argc, char **argv, struct frem_error *err)
{
	_cleanup_store_ struct store *s = NULL;
	int r = checkpoint_open_store(v->cmd, &s, err);

	if (r < 0)
		return r;
	store_set_interrupt(s, interrupted);
	if (optind == argc)
		r = add_all(v, s, NULL, err);
	for (int i = optind; r == 0 && i < argc; i++)
		r = add_named(v, s, argv[i], err);
	return r;
}

/* ---- one checkpoint in one store ---- */

static void print_in_store(const struct verification *v)
{
	if (v->store)
		ui_print(" in store '%s'", v->store);
}

static void damaged(void *arg, const char *object, int64_t frame, int64_t offset,
		    const struct frem_error *err)
{
	struct verification *v = arg;
	json_t *one = json_pack("{s:s, s:o, s:o, s:o}", "object", object, "frame",
				frame < 0 ? json_null() : json_integer(frame), "offset",
				offset < 0 ? json_null() : json_integer(offset), "text",
				ui_json_string(err->text));

	if (v->first.code == FREM_OK) {
		v->first = *err;
		frem_context(&v->first, 0, "%s@%u", v->id->name, v->id->seq);
		if (v->store)
			frem_context(&v->first, 0, "store '%s'", v->store);
	}
	ui_progress_done();
	if (!v->cmd->json && !json_array_size(v->damage)) {
		ui_print("%s@%u is damaged", v->id->name, v->id->seq);
		print_in_store(v);
		ui_print(":\n");
	}
	json_array_append_new(v->damage, one);
	if (!v->cmd->json)
		ui_print("  %s\n", err->text);
}

static void add_row(struct verification *v, const char *state, const struct verify_totals *t)
{
	json_array_append_new(v->rows,
			      json_pack("{s:o, s:I, s:o, s:s, s:I, s:I, s:I, s:O}", "name",
					ui_json_string(v->id->name), "seq", (json_int_t)v->id->seq,
					"store", v->store ? ui_json_string(v->store) : json_null(),
					"state", state, "objects", (json_int_t)t->objects, "frames",
					(json_int_t)t->frames, "bytes", (json_int_t)t->bytes,
					"damage", v->damage));
}

static void print_undamaged(const struct verification *v, const struct verify_totals *t,
			    bool missing)
{
	char size[UNITS_SIZE];

	if (v->cmd->json)
		return;
	units_bytes(t->bytes, size);
	ui_print("%s@%u is %s", v->id->name, v->id->seq, missing ? "not there" : "good");
	print_in_store(v);
	if (missing)
		ui_print("\n");
	else
		ui_print(": %s in %u objects\n", size, t->objects);
}

/* -ENOENT: it is not there, which only matters where no store has it. */
static int verify_one(struct verification *v, struct store *s, struct frem_error *err)
{
	const struct verify_sink sink = {.damaged = damaged, .arg = v};
	struct verify_totals t = {0};
	bool bad;
	int r;

	v->damage = json_array();
	r = verify_checkpoint(s, v->id, &sink, &t, err);
	bad = json_array_size(v->damage) != 0;
	if (bad)
		v->damaged++;
	else if (r == 0 || r == -ENOENT)
		print_undamaged(v, &t, r < 0);
	if (r == 0 || bad)
		v->looked_at++;
	add_row(v, bad ? "damaged" : r == 0 ? "good" : r == -ENOENT ? "missing" : "unknown", &t);
	json_decref(v->damage);
	return r;
}

/* ---- all of them ---- */

static int verify_store(struct verification *v, const char *url, bool *there,
			struct frem_error *err)
{
	struct cmd_context one = *v->cmd;
	_cleanup_store_ struct store *s = NULL;
	int r;

	one.store = url;
	r = checkpoint_open_store(&one, &s, err);
	if (r == 0)
		store_set_interrupt(s, interrupted);
	for (size_t i = 0; r == 0 && i < v->n; i++) {
		struct frem_error missing = {0};

		v->id = &v->ids[i];
		r = verify_one(v, s, &missing);
		if (r == 0 || r == -ENOENT) {
			there[i] |= r == 0;
			r = 0;
		} else {
			*err = missing;
		}
	}
	return r;
}

/* A store that cannot be reached does not keep the others from being looked at. */
static int verify_stores(struct verification *v, bool *there, struct frem_error *err)
{
	_cleanup_free_ char *list = strdup(v->cmd->store);
	bool several = strchr(v->cmd->store, ' ') != NULL;
	char *rest = list, *url;
	int result = 0;

	if (!list)
		return frem_oom(err);
	while ((url = strsep(&rest, " "))) {
		struct frem_error one = {0};
		int r;

		v->store = several ? url : NULL;
		r = verify_store(v, url, there, &one);
		if (r == 0)
			continue;
		*err = one;
		result = r;
		if (r == -EINTR || !several)
			break;
		log_warning("store '%s': %s", url, one.text);
	}
	return result;
}

static int conclude(struct verification *v, const bool *there, struct frem_error *err)
{
	char text[CHECKPOINT_TEXT_SIZE];

	if (v->damaged) {
		*err = v->first;
		if (v->looked_at > 1)
			frem_context(err, 0, "%u of %u checkpoints damaged", v->damaged,
				     v->looked_at);
		return -EIO;
	}
	for (size_t i = 0; i < v->n; i++) {
		if (there[i])
			continue;
		checkpoint_text(&v->ids[i], text);
		frem_fail(err, FREM_NOT_FOUND, 0, "no checkpoint '%s'", text);
		return frem_hint(err, -ENOENT, "'frem list %s' shows those that are there",
				 v->ids[i].name);
	}
	return 0;
}

static int verify(struct verification *v, int argc, char **argv, struct frem_error *err)
{
	_cleanup_free_ bool *there = NULL;
	struct frem_error damage = {0};
	int r = find_all(v, argc, argv, err), c;

	if (r < 0)
		return r;
	there = calloc(v->n + 1, sizeof(*there));
	if (!there)
		return frem_oom(err);
	r = verify_stores(v, there, err);
	if (r == -EINTR)
		return r;
	c = r < 0 && !v->damaged ? 0 : conclude(v, there, &damage);
	if (c < 0) {
		*err = damage;
		r = c;
	}
	return r;
}

static int take_option(const struct option_row *row, const char *value, void *arg,
		       struct frem_error *err)
{
	struct verification *v = arg;

	(void)row;
	(void)err;
	v->all = value != NULL;
	return 0;
}

int cmd_verify(struct cmd_context *c, int argc, char **argv, struct frem_error *err)
{
	struct verification v = {.cmd = c};
	int r = options_parse(argc, argv, options_verify, take_option, &v, err);

	if (r == 0)
		r = options_operands(argc, argv, v.all ? 0 : 1, argc, "NAME", err);
	if (r < 0)
		return r;
	interrupt_catch();
	v.rows = json_array();
	r = interrupt_explain(verify(&v, argc, argv, err), err);
	free(v.ids);
	if (ui_answer(json_pack("{s:i, s:o}", "damaged", (int)v.damaged, "checkpoints", v.rows),
		      r < 0 ? NULL : err) < 0 &&
	    r == 0)
		r = -ENOMEM;
	return r < 0 ? frem_context(err, r, "verify") : 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* frem list: what the listing and the manifests say, one row a checkpoint. */

#include "base/clock.h"
#include "base/log.h"
#include "cmd.h"
#include "find_checkpoint.h"
#include "inventory.h"
#include "manifests.h"
#include "options.h"
#include "ui.h"

/* A damaged checkpoint does not keep the others from being listed. */
static void warn_damage(const struct manifest_row *row)
{
	char text[CHECKPOINT_TEXT_SIZE];
	struct frem_error err = {0};

	if (manifest_row_check(row, &err) == 0 || err.code != FREM_DAMAGED)
		return;
	checkpoint_text(&row->entry->id, text);
	log_warning("checkpoint '%s' is damaged: %s", text, err.text);
}

static const char *command_of(const struct manifest *m)
{
	return m->n_tasks ? m->tasks[0].comm : "";
}

/* How much of the stored memory a restart fetches first; it has no touch set without a lazy page.
 */
static bool touch_share(const struct manifest_row *row, double *ret)
{
	if (row->entry->touch == INVENTORY_NONE || !row->manifest->pages.size)
		return false;
	*ret = (double)row->entry->touch / (double)row->manifest->pages.size;
	if (*ret > 1)
		*ret = 1;
	return true;
}

static json_t *share_json(const struct manifest_row *row)
{
	double share;

	return touch_share(row, &share) ? json_real(share) : json_null();
}

static json_t *row_json(const struct manifest_row *row)
{
	const struct manifest *m = row->manifest;
	char created[21];
	json_t *touch = row->entry->touch == INVENTORY_NONE
				? json_null()
				: json_integer((json_int_t)row->entry->touch);

	clock_rfc3339(m->created, created);
	return json_pack("{s:o, s:I, s:s, s:I, s:I, s:I, s:I, s:o, s:o, s:I, s:o}", "name",
			 ui_json_string(m->id.name), "seq", (json_int_t)m->id.seq, "created",
			 created, "image_bytes", (json_int_t)m->image_bytes, "lazy_pages",
			 (json_int_t)m->lazy_pages, "eager_pages", (json_int_t)m->eager_pages,
			 "stored_bytes", (json_int_t)row->entry->stored, "touch_stored_bytes",
			 touch, "touch_share", share_json(row), "tasks", (json_int_t)m->n_tasks,
			 "command", ui_json_string(command_of(m)));
}

static int answer_rows(const struct manifests *m, struct frem_error *err)
{
	json_t *all = json_array();

	for (size_t i = 0; i < m->n; i++) {
		if (m->rows[i].manifest && json_array_append_new(all, row_json(&m->rows[i])) < 0) {
			json_decref(all);
			return frem_oom(err);
		}
	}
	return ui_answer(all, err);
}

static void table_row(struct ui_table *t, const struct manifest_row *row)
{
	const struct manifest *m = row->manifest;
	char text[CHECKPOINT_TEXT_SIZE], created[21], image[UNITS_SIZE], stored[UNITS_SIZE],
		touch[UNITS_SIZE] = "-", share[UNITS_SIZE] = "-";
	double part;

	checkpoint_text(&m->id, text);
	clock_rfc3339(m->created, created);
	units_bytes(m->image_bytes, image);
	units_bytes(row->entry->stored, stored);
	if (row->entry->touch != INVENTORY_NONE)
		units_bytes(row->entry->touch, touch);
	ui_table_cell(t, "%s", text);
	ui_table_cell(t, "%s", created);
	ui_table_cell(t, "%s", image);
	ui_table_cell(t, "%s", stored);
	if (touch_share(row, &part))
		snprintf(share, sizeof(share), "%.3g %%", 100 * part);
	ui_table_cell(t, "%s", touch);
	ui_table_cell(t, "%s", share);
	ui_table_cell(t, "%zu", m->n_tasks);
	ui_table_cell(t, "%s", command_of(m));
}

static int print_rows(const struct manifests *m, struct frem_error *err)
{
	static const char *const titles[] = {"CHECKPOINT", "CREATED", ">IMAGE", ">STORED",
					     ">TOUCH SET", ">SHARE",  ">TASKS", "COMMAND"};
	_cleanup_ui_table_ struct ui_table *t = NULL;
	int r = ui_table_new(titles, sizeof(titles) / sizeof(*titles), &t, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < m->n; i++)
		if (m->rows[i].manifest)
			table_row(t, &m->rows[i]);
	return ui_table_print(t, err);
}

static int list(struct store *s, const struct inventory *v, bool json, struct frem_error *err)
{
	_cleanup_manifests_ struct manifests *m = NULL;
	int r = manifests_read(s, v, &m, err);

	if (r < 0)
		return r;
	if (m->n < v->n)
		log_info("%zu interrupted upload%s not listed", v->n - m->n,
			 v->n - m->n == 1 ? " is" : "s are");
	for (size_t i = 0; i < m->n; i++)
		warn_damage(&m->rows[i]);
	return json ? answer_rows(m, err) : print_rows(m, err);
}

int cmd_list(struct cmd_context *c, int argc, char **argv, struct frem_error *err)
{
	_cleanup_inventory_ struct inventory *v = NULL;
	_cleanup_store_ struct store *s = NULL;
	struct checkpoint_name id;
	bool named;
	int r;

	r = options_parse_none(argc, argv, err);
	if (r == 0)
		r = options_operands(argc, argv, 0, 1, "NAME", err);
	if (r < 0)
		return r;
	named = optind < argc;
	if (named)
		r = name_parse(argv[optind], &id, err);
	if (r == 0)
		r = checkpoint_open_store(c, &s, err);
	if (r == 0)
		r = inventory_read(s, named ? &id : NULL, &v, err);
	return r != 0 ? r : list(s, v, c->json, err);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * frem list: what the listing and the manifests say, one row a checkpoint. The manifests are
 * fetched several at once, so that a far store costs few round trips.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "cmd.h"
#include "find_checkpoint.h"
#include "inventory.h"
#include "options.h"
#include "ui.h"

#define FETCHES_AT_ONCE 16

struct row {
	const struct inventory_entry *entry;
	struct manifest *manifest; /* NULL: not to be shown */
	struct buffer bytes;
	int result;
	struct frem_error err;
};

static int take_bytes(void *arg, const void *data, size_t n)
{
	struct row *row = arg;

	if (n > MANIFEST_MAX - row->bytes.len)
		return -EFBIG;
	return buffer_append(&row->bytes, data, n);
}

static void fetched(void *arg, int r, const struct frem_error *err)
{
	struct row *row = arg;

	row->result = r;
	if (r == -EFBIG)
		frem_fail(&row->err, FREM_DAMAGED, EFBIG, "manifest");
	else if (r < 0 && err)
		row->err = *err;
	if (r == 0)
		r = row->result = manifest_decode(row->bytes.data, row->bytes.len, &row->entry->id,
						  &row->manifest, &row->err);
	if (r < 0 && row->err.code == FREM_OK)
		frem_fail(&row->err, FREM_FAILED, -r, "manifest");
	buffer_done(&row->bytes);
}

static int fetch_manifests(struct store *s, struct row *rows, size_t n, struct frem_error *err)
{
	_cleanup_fetcher_ struct fetcher *f = NULL;
	char key[NAME_KEY_SIZE];
	size_t next = 0;
	int r = fetcher_new(s, &f, err);

	while (r == 0 && (next < n || fetcher_active(f))) {
		while (r == 0 && next < n && fetcher_active(f) < FETCHES_AT_ONCE) {
			struct row *row = &rows[next++];
			struct fetch_request req = {
				.key = key,
				.len = STORE_WHOLE,
				.data = take_bytes,
				.done = fetched,
				.arg = row,
			};

			name_key(&row->entry->id, OBJECT_MANIFEST, key);
			r = fetcher_start(f, &req, NULL, err);
		}
		progress_report(ui_progress(), "reading manifests", 0, 0);
		if (r == 0 && fetcher_active(f))
			r = fetcher_run(f, NULL, 0, -1, err);
	}
	return r;
}

/* The listing tells already when an object is not the one that was written. */
static void warn_size(const struct row *row, const char *object, uint64_t is, uint64_t wanted)
{
	char text[CHECKPOINT_TEXT_SIZE];

	if (is == wanted)
		return;
	checkpoint_text(&row->entry->id, text);
	if (is == INVENTORY_NONE)
		log_warning("checkpoint '%s' is damaged: its %s is missing", text, object);
	else
		log_warning("checkpoint '%s' is damaged: its %s has %llu bytes, not %llu", text,
			    object, (unsigned long long)is, (unsigned long long)wanted);
}

/* A damaged manifest costs its own row only; a store that fails, all. */
static int check_rows(struct row *rows, size_t n, struct frem_error *err)
{
	char text[CHECKPOINT_TEXT_SIZE];

	for (size_t i = 0; i < n; i++) {
		struct row *row = &rows[i];

		if (row->manifest) {
			warn_size(row, OBJECT_HEAD, row->entry->head, row->manifest->head.size);
			warn_size(row, OBJECT_PAGES, row->entry->pages, row->manifest->pages.size);
			continue;
		}
		checkpoint_text(&row->entry->id, text);
		if (row->err.code == FREM_DAMAGED) {
			log_warning("checkpoint '%s' is damaged: %s", text, row->err.text);
		} else if (row->err.code != FREM_NOT_FOUND) { /* that one was removed meanwhile */
			*err = row->err;
			return frem_context(err, row->result, "checkpoint '%s'", text);
		}
	}
	return 0;
}

static const char *command_of(const struct manifest *m)
{
	return m->n_tasks ? m->tasks[0].comm : "";
}

static json_t *row_json(const struct row *row)
{
	const struct manifest *m = row->manifest;
	char created[21];
	json_t *touch = row->entry->touch == INVENTORY_NONE
				? json_null()
				: json_integer((json_int_t)row->entry->touch);

	clock_rfc3339(m->created, created);
	return json_pack("{s:o, s:I, s:s, s:I, s:I, s:I, s:I, s:o, s:I, s:o}", "name",
			 ui_json_string(m->id.name), "seq", (json_int_t)m->id.seq, "created",
			 created, "image_bytes", (json_int_t)m->image_bytes, "lazy_pages",
			 (json_int_t)m->lazy_pages, "eager_pages", (json_int_t)m->eager_pages,
			 "stored_bytes", (json_int_t)row->entry->stored, "touch_stored_bytes",
			 touch, "tasks", (json_int_t)m->n_tasks, "command",
			 ui_json_string(command_of(m)));
}

static int answer_rows(const struct row *rows, size_t n, struct frem_error *err)
{
	json_t *all = json_array();

	for (size_t i = 0; i < n; i++) {
		if (rows[i].manifest && json_array_append_new(all, row_json(&rows[i])) < 0) {
			json_decref(all);
			return frem_oom(err);
		}
	}
	return ui_answer(all, err);
}

static void table_row(struct ui_table *t, const struct row *row)
{
	const struct manifest *m = row->manifest;
	char text[CHECKPOINT_TEXT_SIZE], created[21], image[UNITS_SIZE], stored[UNITS_SIZE],
		touch[UNITS_SIZE] = "-";

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
	ui_table_cell(t, "%s", touch);
	ui_table_cell(t, "%zu", m->n_tasks);
	ui_table_cell(t, "%s", command_of(m));
}

static int print_rows(const struct row *rows, size_t n, struct frem_error *err)
{
	static const char *const titles[] = {"CHECKPOINT", "CREATED", ">IMAGE", ">STORED",
					     ">TOUCH SET", ">TASKS",  "COMMAND"};
	_cleanup_ui_table_ struct ui_table *t = NULL;
	int r = ui_table_new(titles, sizeof(titles) / sizeof(*titles), &t, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++)
		if (rows[i].manifest)
			table_row(t, &rows[i]);
	return ui_table_print(t, err);
}

static int list(struct store *s, const struct inventory *v, bool json, struct frem_error *err)
{
	_cleanup_free_ struct row *rows = calloc(v->n + 1, sizeof(*rows));
	size_t n = 0;
	int r;

	if (!rows)
		return frem_oom(err);
	for (size_t i = 0; i < v->n; i++)
		if (v->entries[i].manifest != INVENTORY_NONE)
			rows[n++].entry = &v->entries[i];
	if (n < v->n)
		log_info("%zu interrupted upload%s not listed", v->n - n,
			 v->n - n == 1 ? " is" : "s are");
	r = fetch_manifests(s, rows, n, err);
	ui_progress_done();
	if (r == 0)
		r = check_rows(rows, n, err);
	if (r == 0)
		r = json ? answer_rows(rows, n, err) : print_rows(rows, n, err);
	for (size_t i = 0; i < n; i++) {
		buffer_done(&rows[i].bytes);
		manifest_free(rows[i].manifest);
	}
	return r;
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

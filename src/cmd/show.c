/* SPDX-License-Identifier: GPL-2.0-or-later */
/* frem show: all that a manifest and a touch set's descriptor say. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "cmd.h"
#include "find_checkpoint.h"
#include "inventory.h"
#include "options.h"
#include "touch_report.h"
#include "ui.h"

struct shown {
	struct manifest *manifest;
	uint8_t digest[DIGEST_SIZE];
	struct touch_set *touch;
	struct inventory *inventory; /* one entry at most */
	uint64_t stored;	     /* bytes in the store */
	uint64_t touch_stored;
	uint64_t *touched; /* touch pages of each task */
};

static void shown_done(struct shown *s)
{
	manifest_free(s->manifest);
	touch_set_free(s->touch);
	free(s->touched);
	inventory_free(s->inventory);
}

/* What the checkpoint is worth without its touch set can still be said. */
static int load_touch(struct store *store, const struct checkpoint_name *id, struct shown *ret,
		      struct frem_error *err)
{
	int r = checkpoint_touch(store, id, ret->manifest, ret->digest, &ret->touch, err);

	if (r == 0 || err->code != FREM_DAMAGED)
		return r;
	log_warning("%s, ignoring: a restart does without the touch set", err->text);
	frem_error_reset(err);
	return 0;
}

static int load(struct store *store, struct checkpoint_name *id, struct shown *ret,
		struct frem_error *err)
{
	int r = checkpoint_latest(store, id, err);

	if (r == 0)
		r = checkpoint_manifest(store, id, &ret->manifest, ret->digest, err);
	if (r == 0)
		r = load_touch(store, id, ret, err);
	if (r == 0)
		r = inventory_read(store, id, &ret->inventory, err);
	if (r != 0)
		return r;
	if (ret->inventory->n) {
		ret->stored = ret->inventory->entries[0].stored;
		ret->touch_stored = ret->inventory->entries[0].touch;
	}
	ret->touched = calloc(ret->manifest->n_tasks + 1, sizeof(*ret->touched));
	if (!ret->touched)
		return frem_oom(err);
	return ret->touch ? touch_set_by_task(ret->touch, ret->manifest, ret->touched, err) : 0;
}

/* ---- JSON ---- */

static json_t *object_json(const struct manifest_object *o)
{
	char hex[DIGEST_HEX_SIZE];

	digest_to_hex(o->digest, hex);
	return json_pack("{s:I, s:s}", "size", (json_int_t)o->size, "digest", hex);
}

static json_t *tasks_json(const struct shown *s)
{
	const struct manifest *m = s->manifest;
	json_t *tasks = json_array();

	for (size_t i = 0; i < m->n_tasks; i++) {
		const struct manifest_task *t = &m->tasks[i];
		json_t *touched = s->touch ? json_integer((json_int_t)s->touched[i]) : json_null();

		json_array_append_new(tasks,
				      json_pack("{s:i, s:i, s:o, s:I, s:I, s:o}", "pid", t->pid,
						"ppid", t->ppid, "comm", ui_json_string(t->comm),
						"threads", (json_int_t)t->threads, "lazy_pages",
						(json_int_t)t->lazy_pages, "touch_pages", touched));
	}
	return tasks;
}

static json_t *touch_json(const struct shown *s)
{
	json_t *touch;

	if (!s->touch)
		return json_null();
	touch = touch_set_json(s->touch, s->manifest->lazy_pages);
	json_object_set_new(touch, "stored_bytes", json_integer((json_int_t)s->touch_stored));
	return touch;
}

static const char *tcp_text(const struct manifest *m)
{
	return m->tcp == MANIFEST_TCP_ESTABLISHED ? "established" : "close";
}

static int answer_shown(const struct shown *s, struct frem_error *err)
{
	const struct manifest *m = s->manifest;
	char created[21], digest[DIGEST_HEX_SIZE];
	json_t *all;

	clock_rfc3339(m->created, created);
	digest_to_hex(s->digest, digest);
	all = json_pack("{s:o, s:I, s:s, s:o, s:o, s:o, s:o, s:s, s:I, s:I, s:I, s:I}", "name",
			ui_json_string(m->id.name), "seq", (json_int_t)m->id.seq, "created",
			created, "frem_version", ui_json_string(m->frem_version), "criu_version",
			ui_json_string(m->criu_version), "kernel", ui_json_string(m->kernel),
			"arch", ui_json_string(m->arch), "tcp", tcp_text(m), "image_bytes",
			(json_int_t)m->image_bytes, "lazy_pages", (json_int_t)m->lazy_pages,
			"eager_pages", (json_int_t)m->eager_pages, "stored_bytes",
			(json_int_t)s->stored);
	if (!all)
		return frem_oom(err);
	json_object_set_new(all, "manifest_digest", json_string(digest));
	json_object_set_new(all, "head", object_json(&m->head));
	json_object_set_new(all, "pages", object_json(&m->pages));
	json_object_set_new(all, "tasks", tasks_json(s));
	json_object_set_new(all, "touch", touch_json(s));
	return ui_answer(all, err);
}

/* ---- text ---- */

static void print_pages(const char *what, uint64_t pages)
{
	char size[UNITS_SIZE];

	units_bytes(pages * PAGE_BYTES, size);
	ui_print("%-13s %llu pages, %s\n", what, (unsigned long long)pages, size);
}

static int print_tasks(const struct shown *s, struct frem_error *err)
{
	static const char *const titles[] = {">PID",  ">PARENT",  ">THREADS",
					     ">LAZY", ">TOUCHED", "COMMAND"};
	const struct manifest *m = s->manifest;
	_cleanup_ui_table_ struct ui_table *t = NULL;
	int r = ui_table_new(titles, sizeof(titles) / sizeof(*titles), &t, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < m->n_tasks; i++) {
		char size[UNITS_SIZE], share[UNITS_SIZE] = "-";

		units_bytes(m->tasks[i].lazy_pages * PAGE_BYTES, size);
		if (s->touch)
			units_share(s->touched[i], m->tasks[i].lazy_pages, share);
		ui_table_cell(t, "%d", m->tasks[i].pid);
		ui_table_cell(t, "%d", m->tasks[i].ppid);
		ui_table_cell(t, "%u", m->tasks[i].threads);
		ui_table_cell(t, "%s", size);
		ui_table_cell(t, "%s", share);
		ui_table_cell(t, "%s", m->tasks[i].comm);
	}
	return ui_table_print(t, err);
}

static int print_shown(const struct shown *s, struct frem_error *err)
{
	const struct manifest *m = s->manifest;
	char text[CHECKPOINT_TEXT_SIZE], created[21], image[UNITS_SIZE], stored[UNITS_SIZE];
	int r = 0;

	checkpoint_text(&m->id, text);
	clock_rfc3339(m->created, created);
	units_bytes(m->image_bytes, image);
	units_bytes(s->stored, stored);
	ui_print("checkpoint    %s\n", text);
	ui_print("created       %s by frem %s, CRIU %s\n", created, m->frem_version,
		 m->criu_version);
	ui_print("kernel        %s %s\n", m->kernel, m->arch);
	ui_print("connections   %s\n", tcp_text(m));
	ui_print("image         %s, %s stored\n", image, stored);
	print_pages("lazy", m->lazy_pages);
	print_pages("eager", m->eager_pages);
	if (s->touch)
		r = touch_set_print(s->touch, m->lazy_pages, s->touch_stored, err);
	else
		ui_print("touch set     none\n");
	ui_print("\n");
	if (r == 0)
		r = print_tasks(s, err);
	if (r == 0 && s->touch)
		touch_set_print_map(s->touch, m);
	return r;
}

int cmd_show(struct cmd_context *c, int argc, char **argv, struct frem_error *err)
{
	_cleanup_(shown_done) struct shown shown = {0};
	_cleanup_store_ struct store *s = NULL;
	struct checkpoint_name id;
	int r;

	r = options_parse_none(argc, argv, err);
	if (r == 0)
		r = options_operands(argc, argv, 1, 1, "NAME", err);
	if (r == 0)
		r = name_parse(argv[optind], &id, err);
	if (r == 0)
		r = checkpoint_open_store(c, &s, err);
	if (r == 0)
		r = load(s, &id, &shown, err);
	if (r != 0)
		return r;
	return c->json ? answer_shown(&shown, err) : print_shown(&shown, err);
}

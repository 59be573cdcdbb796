/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "manifests.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "find_checkpoint.h"
#include "ui.h"

#define FETCHES_AT_ONCE 16

static int take_bytes(void *arg, const void *data, size_t n)
{
	struct manifest_row *row = arg;

	if (n > MANIFEST_MAX - row->bytes.len)
		return -EFBIG;
	return buffer_append(&row->bytes, data, n);
}

static void fetched(void *arg, int r, const struct frem_error *err)
{
	struct manifest_row *row = arg;

	if (r == -EFBIG)
		frem_fail(&row->err, FREM_DAMAGED, EFBIG, "manifest");
	else if (r < 0 && err)
		row->err = *err;
	if (r == 0)
		r = manifest_decode(row->bytes.data, row->bytes.len, &row->entry->id,
				    &row->manifest, &row->err);
	if (r < 0 && row->err.code == FREM_OK)
		frem_fail(&row->err, FREM_FAILED, -r, "manifest");
	buffer_done(&row->bytes);
}

static int fetch_all(struct store *s, struct manifests *m, struct frem_error *err)
{
	_cleanup_fetcher_ struct fetcher *f = NULL;
	char key[NAME_KEY_SIZE];
	size_t next = 0;
	int r = fetcher_new(s, &f, err);

	while (r == 0 && (next < m->n || fetcher_active(f))) {
		while (r == 0 && next < m->n && fetcher_active(f) < FETCHES_AT_ONCE) {
			struct manifest_row *row = &m->rows[next++];
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

static int store_failed(const struct manifests *m, struct frem_error *err)
{
	char text[CHECKPOINT_TEXT_SIZE];

	for (size_t i = 0; i < m->n; i++) {
		const struct manifest_row *row = &m->rows[i];

		if (row->manifest || row->err.code == FREM_DAMAGED ||
		    row->err.code == FREM_NOT_FOUND)
			continue;
		checkpoint_text(&row->entry->id, text);
		*err = row->err;
		return frem_context(err, err->errnum ? -err->errnum : -EIO, "checkpoint '%s'",
				    text);
	}
	return 0;
}

int manifests_read(struct store *s, const struct inventory *v, struct manifests **ret,
		   struct frem_error *err)
{
	_cleanup_manifests_ struct manifests *m = calloc(1, sizeof(*m));
	int r;

	if (m)
		m->rows = calloc(v->n + 1, sizeof(*m->rows));
	if (!m || !m->rows)
		return frem_oom(err);
	for (size_t i = 0; i < v->n; i++)
		if (v->entries[i].manifest != INVENTORY_NONE)
			m->rows[m->n++].entry = &v->entries[i];
	r = fetch_all(s, m, err);
	ui_progress_done();
	if (r == 0)
		r = store_failed(m, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(m);
	return 0;
}

void manifests_free(struct manifests *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->n; i++) {
		buffer_done(&m->rows[i].bytes);
		manifest_free(m->rows[i].manifest);
	}
	free(m->rows);
	free(m);
}

/* The listing tells already when an object is not the one that was written. */
static int check_size(const char *object, uint64_t is, uint64_t wanted, struct frem_error *err)
{
	if (is == wanted)
		return 0;
	if (is == INVENTORY_NONE)
		return frem_fail(err, FREM_DAMAGED, 0, "its %s is missing", object);
	return frem_fail(err, FREM_DAMAGED, 0, "its %s has %" PRIu64 " bytes, not %" PRIu64, object,
			 is, wanted);
}

int manifest_row_check(const struct manifest_row *row, struct frem_error *err)
{
	int r;

	if (!row->manifest) {
		*err = row->err;
		return row->err.code == FREM_NOT_FOUND ? -ENOENT : -EIO;
	}
	r = check_size(OBJECT_HEAD, row->entry->head, row->manifest->head.size, err);
	if (r == 0)
		r = check_size(OBJECT_PAGES, row->entry->pages, row->manifest->pages.size, err);
	return r;
}

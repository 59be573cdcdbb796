/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "prune_name.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "find_checkpoint.h"
#include "interrupt.h"
#include "manifests.h"
#include "removal.h"

/* The listing knows when an object came; a touch set may be renewed long after its manifest. */
static bool is_older(const struct manifest_row *row, int64_t seconds)
{
	int64_t then = row->manifest ? row->manifest->created : row->entry->modified;

	return seconds == 0 || time(NULL) - then > seconds;
}

static bool is_good(const struct manifest_row *row)
{
	char text[CHECKPOINT_TEXT_SIZE];
	struct frem_error err = {0};

	if (manifest_row_check(row, &err) == 0)
		return true;
	checkpoint_text(&row->entry->id, text);
	if (err.code == FREM_DAMAGED)
		log_warning("checkpoint '%s' is damaged: %s; it is not counted", text, err.text);
	return false;
}

static int remove_entry(struct store *s, const struct inventory_entry *e,
			const struct prune_policy *policy, struct frem_error *err)
{
	char text[CHECKPOINT_TEXT_SIZE];
	int r = interrupt_check(err);

	if (r == 0 && !policy->dry_run)
		r = removal_of(s, &e->id, err);
	checkpoint_text(&e->id, text);
	if (r < 0)
		return frem_context(err, r, "removing '%s'", text);
	if (policy->removed)
		policy->removed(policy->arg, e);
	return 0;
}

static int prune_checkpoints(struct store *s, const struct inventory *v,
			     const struct prune_policy *policy, struct frem_error *err)
{
	_cleanup_manifests_ struct manifests *m = NULL;
	uint32_t good = 0;
	size_t unwanted;
	int r = manifests_read(s, v, &m, err);

	if (r < 0)
		return r;
	for (unwanted = m->n; unwanted > 0 && good < policy->keep; unwanted--)
		good += is_good(&m->rows[unwanted - 1]);
	for (size_t i = 0; r == 0 && i < unwanted; i++)
		if (is_older(&m->rows[i], policy->older_than))
			r = remove_entry(s, m->rows[i].entry, policy, err);
	return r;
}

static bool is_leftover(const struct inventory_entry *e, const struct prune_policy *policy)
{
	return e->manifest == INVENTORY_NONE && time(NULL) - e->modified > policy->leftovers_than;
}

/* Looked at again right before: the number may have been freed and taken once more since. */
static int prune_leftover(struct store *s, const struct checkpoint_name *id,
			  const struct prune_policy *policy, struct frem_error *err)
{
	_cleanup_inventory_ struct inventory *v = NULL;
	int r = inventory_read(s, id, &v, err);

	if (r < 0 || v->n != 1 || !is_leftover(&v->entries[0], policy))
		return r;
	return remove_entry(s, &v->entries[0], policy, err);
}

int prune_name(struct store *s, const char *name, const struct prune_policy *policy,
	       struct frem_error *err)
{
	_cleanup_inventory_ struct inventory *v = NULL;
	struct checkpoint_name all = {0};
	int r;

	snprintf(all.name, sizeof(all.name), "%s", name);
	r = inventory_read(s, &all, &v, err);
	for (size_t i = 0; r == 0 && i < v->n; i++)
		if (is_leftover(&v->entries[i], policy))
			r = prune_leftover(s, &v->entries[i].id, policy, err);
	if (r == 0 && policy->keep != PRUNE_KEEP_ALL)
		r = prune_checkpoints(s, v, policy, err);
	return r;
}

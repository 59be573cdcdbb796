/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "run_store.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "find_checkpoint.h"
#include "interrupt.h"
#include "inventory.h"
#include "removal.h"

static int open_store(const struct cmd_context *c, struct store **ret, struct frem_error *err)
{
	int r = checkpoint_open_store(c, ret, err);

	if (r == 0)
		store_set_interrupt(*ret, interrupted);
	return r;
}

static int latest_first(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x < y) - (x > y);
}

static int take_listing(const struct store_list *l, struct run_candidates *ret,
			struct frem_error *err)
{
	size_t n = 0;

	ret->seqs = calloc(l->n + 1, sizeof(*ret->seqs));
	if (!ret->seqs)
		return frem_oom(err);
	for (size_t i = 0; i < l->n; i++) {
		struct checkpoint_name k;
		const char *object;

		if (name_split_key(l->objects[i].key, &k, &object) < 0)
			continue;
		if (k.seq > ret->highest)
			ret->highest = k.seq;
		if (strcmp(object, OBJECT_MANIFEST) == 0)
			ret->seqs[ret->n++] = k.seq;
		else if (strcmp(object, OBJECT_ENDED) == 0 && k.seq > ret->ended)
			ret->ended = k.seq;
	}
	for (size_t i = 0; i < ret->n; i++)
		if (ret->seqs[i] > ret->ended)
			ret->seqs[n++] = ret->seqs[i];
	ret->n = n;
	qsort(ret->seqs, ret->n, sizeof(*ret->seqs), latest_first);
	return 0;
}

int run_store_look(const struct cmd_context *c, const char *name, struct run_candidates *ret,
		   struct frem_error *err)
{
	_cleanup_store_list_ struct store_list *l = NULL;
	_cleanup_store_ struct store *s = NULL;
	char prefix[NAME_KEY_SIZE];
	int r = open_store(c, &s, err);

	if (r < 0)
		return r;
	snprintf(prefix, sizeof(prefix), "%s/", name);
	r = store_list(s, prefix, &l, err);
	return r < 0 ? r : take_listing(l, ret, err);
}

void run_candidates_done(struct run_candidates *c)
{
	free(c->seqs);
	*c = (struct run_candidates){0};
}

int run_store_ended(const struct cmd_context *c, const char *name, uint32_t seq,
		    struct frem_error *err)
{
	_cleanup_store_ struct store *s = NULL;
	struct checkpoint_name id = {.seq = seq};
	char key[NAME_KEY_SIZE], when[21], text[64];
	int r = checkpoint_open_store(c, &s, err);

	if (r < 0)
		return r;
	snprintf(id.name, sizeof(id.name), "%s", name);
	name_key(&id, OBJECT_ENDED, key);
	clock_rfc3339(time(NULL), when);
	snprintf(text, sizeof(text), "{\"ended\": \"%s\"}\n", when);
	return store_put_bytes(s, key, text, strlen(text), false, err);
}

int run_store_clean(const struct cmd_context *c, const char *name, struct frem_error *err)
{
	_cleanup_inventory_ struct inventory *v = NULL;
	_cleanup_store_ struct store *s = NULL;
	struct checkpoint_name all = {0};
	int r = checkpoint_open_store(c, &s, err);

	snprintf(all.name, sizeof(all.name), "%s", name);
	if (r == 0)
		r = inventory_read(s, &all, &v, err);
	/* from the first on: should it be cut short, the latest is still there */
	for (size_t i = 0; r == 0 && i < v->n; i++)
		r = removal_of(s, &v->entries[i].id, err);
	return r;
}

int run_store_tidy(struct store *s, const struct checkpoint_name *latest, unsigned keep,
		   uint32_t leftovers, struct frem_error *err)
{
	_cleanup_inventory_ struct inventory *v = NULL;
	struct checkpoint_name all = *latest;
	unsigned seen = 0;
	int r;

	all.seq = 0;
	r = inventory_read(s, &all, &v, err);
	for (size_t i = r < 0 ? 0 : v->n; r == 0 && i-- > 0;) {
		const struct inventory_entry *e = &v->entries[i];
		bool whole = e->manifest != INVENTORY_NONE;

		if (whole && e->id.seq <= latest->seq)
			seen++;
		if (whole ? keep && seen > keep : e->id.seq <= leftovers)
			r = removal_of(s, &e->id, err);
	}
	return r;
}

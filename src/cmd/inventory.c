/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "inventory.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int compare(const void *a, const void *b)
{
	const struct inventory_entry *x = a, *y = b;
	int r = strcmp(x->id.name, y->id.name);

	return r ? r : (x->id.seq > y->id.seq) - (x->id.seq < y->id.seq);
}

static bool same(const struct checkpoint_name *a, const struct checkpoint_name *b)
{
	return a->seq == b->seq && strcmp(a->name, b->name) == 0;
}

static void count(struct inventory_entry *e, const char *object, const struct store_object *o)
{
	uint64_t size = o->size;

	if (strcmp(object, OBJECT_MANIFEST) == 0)
		e->manifest = size;
	else if (strcmp(object, OBJECT_HEAD) == 0)
		e->head = size;
	else if (strcmp(object, OBJECT_PAGES) == 0)
		e->pages = size;
	else if (strcmp(object, OBJECT_TOUCH) == 0)
		e->touch = size;
	e->stored += size;
	e->n_objects++;
	if (o->modified > e->modified)
		e->modified = o->modified;
}

/* The listing is sorted by key, so that the objects of a checkpoint stand together. */
static void fill(struct inventory *v, const struct store_list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		struct inventory_entry *e = v->n ? &v->entries[v->n - 1] : NULL;
		struct checkpoint_name id;
		const char *object;

		if (name_split_key(l->objects[i].key, &id, &object) < 0)
			continue;
		if (!e || !same(&e->id, &id)) {
			e = &v->entries[v->n++];
			*e = (struct inventory_entry){
				.id = id,
				.manifest = INVENTORY_NONE,
				.head = INVENTORY_NONE,
				.pages = INVENTORY_NONE,
				.touch = INVENTORY_NONE,
			};
		}
		count(e, object, &l->objects[i]);
	}
	qsort(v->entries, v->n, sizeof(*v->entries), compare);
}

int inventory_read(struct store *s, const struct checkpoint_name *n, struct inventory **ret,
		   struct frem_error *err)
{
	_cleanup_store_list_ struct store_list *l = NULL;
	_cleanup_inventory_ struct inventory *v = NULL;
	char prefix[NAME_KEY_SIZE] = "";
	int r;

	if (n && n->seq)
		name_key(n, "", prefix);
	else if (n)
		snprintf(prefix, sizeof(prefix), "%s/", n->name);
	r = store_list(s, prefix, &l, err);
	if (r < 0)
		return r;
	v = calloc(1, sizeof(*v));
	if (v)
		v->entries = calloc(l->n + 1, sizeof(*v->entries));
	if (!v || !v->entries)
		return frem_oom(err);
	fill(v, l);
	*ret = TAKE_PTR(v);
	return 0;
}

void inventory_free(struct inventory *v)
{
	if (!v)
		return;
	free(v->entries);
	free(v);
}

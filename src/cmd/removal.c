/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "removal.h"

#include <errno.h>
#include <string.h>

static int remove_object(struct store *s, const char *key, struct frem_error *err)
{
	int r = store_remove(s, key, err);

	if (r != -ENOENT)
		return r;
	frem_error_reset(err); /* somebody else was faster */
	return 0;
}

int removal_of(struct store *s, const struct checkpoint_name *id, struct frem_error *err)
{
	_cleanup_store_list_ struct store_list *l = NULL;
	char prefix[NAME_KEY_SIZE], manifest[NAME_KEY_SIZE];
	int r;

	name_key(id, "", prefix);
	name_key(id, OBJECT_MANIFEST, manifest);
	r = store_list(s, prefix, &l, err);
	if (r == 0)
		r = remove_object(s, manifest, err);
	for (size_t i = 0; r == 0 && i < l->n; i++)
		if (strcmp(l->objects[i].key, manifest) != 0)
			r = remove_object(s, l->objects[i].key, err);
	return r;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "head_names.h"

#include <errno.h>
#include <search.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "format/head.h"
#include "text.h"

struct head_name {
	bool sparse;
	uint64_t size; /* of a sparse file */
	uint64_t end;  /* of its last run */
	char name[];
};

static int compare(const void *a, const void *b)
{
	const struct head_name *x = a, *y = b;

	return strcmp(x->name, y->name);
}

void head_names_done(struct head_names *t)
{
	tdestroy(t->tree, free);
	*t = (struct head_names){0};
}

/* The name becomes a file of its directory, so it must be able to be nothing else. */
static const char *name_fault(const char *name)
{
	size_t n = strlen(name);

	if (n == 0)
		return "has an empty name";
	if (n > HEAD_NAME_MAX)
		return "has a name of more than 255 bytes";
	if (strchr(name, '/'))
		return "holds a '/'";
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return "is no file's name";
	if (!text_is_plain(name, n))
		return "holds a control character or is not valid UTF-8";
	return NULL;
}

static int add(struct head_names *t, const char *name, bool sparse, uint64_t size,
	       const char **ret_fault)
{
	size_t n = strlen(name);
	struct head_name *x, **found;

	*ret_fault = name_fault(name);
	if (*ret_fault)
		return -EINVAL;
	if (t->n >= HEAD_FILES_MAX) {
		*ret_fault = "is one file too many";
		return -EINVAL;
	}
	x = malloc(sizeof(*x) + n + 1);
	if (!x)
		return -ENOMEM;
	*x = (struct head_name){.sparse = sparse, .size = size};
	memcpy(x->name, name, n + 1);
	found = tsearch(x, &t->tree, compare);
	if (!found || *found != x) {
		free(x);
		*ret_fault = "is named twice";
		return found ? -EINVAL : -ENOMEM;
	}
	t->n++;
	return 0;
}

int head_names_file(struct head_names *t, const char *name, uint64_t n, const char **ret_fault)
{
	if (n > HEAD_FILE_MAX) {
		*ret_fault = "is larger than 1 GiB";
		return -EINVAL;
	}
	return add(t, name, false, 0, ret_fault);
}

int head_names_sparse(struct head_names *t, const char *name, uint64_t size, const char **ret_fault)
{
	if (size > FRAME_PAGES_LIMIT * PAGE_BYTES) {
		*ret_fault = "is larger than 256 TiB";
		return -EINVAL;
	}
	return add(t, name, true, size, ret_fault);
}

static const char *run_fault(const struct head_name *x, uint64_t offset, uint64_t n)
{
	if (n == 0 || n > HEAD_RUN_MAX || n % PAGE_BYTES != 0)
		return "has a run that is not 1 to 4096 whole pages";
	if (offset % PAGE_BYTES != 0)
		return "has a run that does not start at a page";
	if (offset > x->size || n > x->size - offset)
		return "has a run beyond its end";
	if (offset < x->end)
		return "has a run that does not follow the one before";
	return NULL;
}

int head_names_run(struct head_names *t, const char *name, uint64_t offset, uint64_t n,
		   const char **ret_fault)
{
	struct head_name *key, **found;
	size_t len = strlen(name);

	key = malloc(sizeof(*key) + len + 1);
	if (!key)
		return -ENOMEM;
	memcpy(key->name, name, len + 1);
	found = tfind(key, &t->tree, compare);
	free(key);
	if (!found || !(*found)->sparse) {
		*ret_fault = "has a run but is no sparse file";
		return -EINVAL;
	}
	*ret_fault = run_fault(*found, offset, n);
	if (*ret_fault)
		return -EINVAL;
	(*found)->end = offset + n;
	return 0;
}

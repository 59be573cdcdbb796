/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "namespaces.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>

#include "image_file.h"
#include "images.pb-c.h"

struct ids {
	uint32_t pid, mount, user; /* 0: not said */
};

static struct ids taken(const ImageKobjIds *from)
{
	if (!from)
		return (struct ids){0};
	return (struct ids){from->pid_ns_id, from->mnt_ns_id, from->user_ns_id};
}

static bool first_entry(int dirfd, const char *name, uint32_t magic, struct image_file *f,
			const uint8_t **ret, size_t *ret_n)
{
	return image_file_read(dirfd, name, magic, f, NULL) == 0 &&
	       image_file_next(f, ret, ret_n, NULL) == 1;
}

static struct ids ids_of_criu(int dirfd)
{
	_cleanup_image_file_ struct image_file f = {0};
	const uint8_t *data;
	struct ids ids = {0};
	ImageInventory *e;
	size_t n;

	if (!first_entry(dirfd, "inventory.img", IMAGE_MAGIC_INVENTORY, &f, &data, &n))
		return ids;
	e = image_inventory__unpack(NULL, n, data);
	if (!e)
		return ids;
	ids = taken(e->root_ids);
	image_inventory__free_unpacked(e, NULL);
	return ids;
}

/* ids-PID.img is the ids message of the core image, which had it before, in a file of its own. */
static bool ids_from_file(int dirfd, int32_t pid, struct ids *ret)
{
	_cleanup_image_file_ struct image_file f = {0};
	const uint8_t *data;
	ImageKobjIds *e;
	char name[64];
	size_t n;

	snprintf(name, sizeof(name), "ids-%" PRId32 ".img", pid);
	if (!first_entry(dirfd, name, IMAGE_MAGIC_IDS, &f, &data, &n))
		return false;
	e = image_kobj_ids__unpack(NULL, n, data);
	if (!e)
		return false;
	*ret = taken(e);
	image_kobj_ids__free_unpacked(e, NULL);
	return true;
}

static struct ids ids_of_task(int dirfd, int32_t pid)
{
	_cleanup_image_file_ struct image_file f = {0};
	const uint8_t *data;
	struct ids ids = {0};
	ImageCore *e;
	char name[64];
	size_t n;

	if (ids_from_file(dirfd, pid, &ids))
		return ids;
	snprintf(name, sizeof(name), "core-%" PRId32 ".img", pid);
	if (!first_entry(dirfd, name, IMAGE_MAGIC_CORE, &f, &data, &n))
		return ids;
	e = image_core__unpack(NULL, n, data);
	if (!e)
		return ids;
	ids = taken(e->ids);
	image_core__free_unpacked(e, NULL);
	return ids;
}

static bool differ(uint32_t a, uint32_t b)
{
	return a && b && a != b;
}

unsigned image_namespaces_brought(int dirfd, int32_t root)
{
	struct ids outer = ids_of_criu(dirfd), inner = ids_of_task(dirfd, root);

	return (differ(outer.pid, inner.pid) ? IMAGE_NS_PID : 0) |
	       (differ(outer.mount, inner.mount) ? IMAGE_NS_MOUNT : 0) |
	       (differ(outer.user, inner.user) ? IMAGE_NS_USER : 0);
}

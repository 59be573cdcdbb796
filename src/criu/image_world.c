/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "criu/image_world.h"

#include <inttypes.h>
#include <stdio.h>

#include "image_file.h"
#include "images.pb-c.h"
#include "namespaces.h"

/* core_entry.march of CRIU's core.proto: the machines that frem itself is built for */
#if defined(__x86_64__)
#define MACHINE_HERE 1u
#elif defined(__aarch64__)
#define MACHINE_HERE 3u
#else
#define MACHINE_HERE 0u
#endif

static const char *machine_name(uint32_t type)
{
	static const char *const names[] = {"unknown", "x86_64", "arm",		"aarch64", "ppc64",
					    "s390",    "mips",	 "loongarch64", "riscv64"};

	return type < sizeof(names) / sizeof(*names) ? names[type] : names[0];
}

int image_world_machine(int dirfd, const struct image_map *map, struct frem_error *err)
{
	_cleanup_image_file_ struct image_file f = {0};
	const uint8_t *data = NULL;
	ImageCore *core = NULL;
	uint32_t type;
	char name[64];
	size_t n = 0;
	int r;

	snprintf(name, sizeof(name), "core-%" PRId32 ".img", map->tasks[0].pid);
	r = image_file_read(dirfd, name, IMAGE_MAGIC_CORE, &f, err);
	if (r == 0)
		r = image_file_next(&f, &data, &n, err);
	if (r < 0)
		return r;
	core = r ? image_core__unpack(NULL, n, data) : NULL;
	if (!core)
		return image_file_damaged(&f, err, "no description of the task");
	type = core->mtype;
	image_core__free_unpacked(core, NULL);
	if (type != MACHINE_HERE)
		return frem_fail(err, FREM_UNABLE, 0, "the image is of a machine of type '%s'",
				 machine_name(type));
	return 0;
}

static int visit_stream(void *arg, const char *name, const char *rest, struct frem_error *err)
{
	(void)name;
	(void)rest;
	(void)err;
	*(enum criu_tcp *)arg = CRIU_TCP_ESTABLISHED;
	return 0;
}

int image_world_tcp(int dirfd, enum criu_tcp *ret, struct frem_error *err)
{
	enum criu_tcp tcp = CRIU_TCP_CLOSE;
	int r = image_dir_each(dirfd, "tcp-stream-", visit_stream, &tcp, err);

	if (r == 0)
		*ret = tcp;
	return r;
}

int image_world_restorable(int dirfd, const struct image_map *map, struct frem_error *err)
{
	unsigned brought = image_namespaces_brought(dirfd, map->tasks[0].pid);
	int r;

	if (!(brought & (IMAGE_NS_MOUNT | IMAGE_NS_USER)))
		return 0;
	r = frem_fail(err, FREM_REFUSED, 0,
		      "'%s' was in a container, with %s of its own, which frem cannot make again",
		      map->tasks[0].comm, brought & IMAGE_NS_MOUNT ? "file systems" : "users");
	return frem_hint(err, r,
			 "'frem export' writes its image, for the program that runs the containers "
			 "to restore");
}

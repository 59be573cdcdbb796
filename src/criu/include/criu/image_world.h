/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which world an image of unknown origin was taken from, and whether this machine can be that. */
#ifndef FREM_CRIU_IMAGE_WORLD_H
#define FREM_CRIU_IMAGE_WORLD_H

#include "base/error.h"
#include "criu/criu.h"
#include "criu/image_map.h"

/* Fails with FREM_UNABLE where the image is of another kind of machine than this one: its registers
 * mean nothing here, and its pages may have another size. */
int image_world_machine(int dirfd, const struct image_map *map, struct frem_error *err);
/* CRIU_TCP_ESTABLISHED where connections were saved, which a restore has to be told. */
int image_world_tcp(int dirfd, enum criu_tcp *ret, struct frem_error *err);
/*
 * Fails with FREM_REFUSED where the tree was dumped together with its mount or user namespace, as a
 * container's is: only what runs the containers can make that world again.
 */
int image_world_restorable(int dirfd, const struct image_map *map, struct frem_error *err);

#endif

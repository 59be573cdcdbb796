/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The namespaces that a tree was dumped together with. */
#ifndef FREM_CRIU_NAMESPACES_H
#define FREM_CRIU_NAMESPACES_H

#include <stdint.h>

enum {
	IMAGE_NS_PID = 1,
	IMAGE_NS_MOUNT = 2,
	IMAGE_NS_USER = 4,
};

/* Of the kinds above, those in which the root task was not in the namespace of the CRIU that dumped
 * it, so that a restore makes them anew; 0 also where the image cannot be read. */
unsigned image_namespaces_brought(int dirfd, int32_t root);

#endif

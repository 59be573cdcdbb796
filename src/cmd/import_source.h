/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is to be imported, as one whole CRIU image directory: the directory itself, or one in a run
 * directory of our own, where it has to be unpacked or joined with its parents first.
 */
#ifndef FREM_CMD_IMPORT_SOURCE_H
#define FREM_CMD_IMPORT_SOURCE_H

#include "base/cleanup.h"
#include "base/error.h"
#include "base/progress.h"

struct import_source;

/* path: an image directory, what a checkpoint archive was unpacked to, or such an archive. */
int import_source_open(const char *path, struct progress *progress, struct import_source **ret,
		       struct frem_error *err);
/* The image directory, owned by s. */
int import_source_fd(const struct import_source *s);
void import_source_free(struct import_source *s);

FREM_CLEANUP(struct import_source *, cleanup_import_source, import_source_free)
#define _cleanup_import_source_ _cleanup_(cleanup_import_source)

#endif

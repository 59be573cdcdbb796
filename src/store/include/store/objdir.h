/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An object directory: objects as files ROOT/KEY, as the dir store and the HTTP server keep them.
 *
 * An upload is written to ROOT/.tmp-XXXX, synced, and only then given its name, so an object is
 * visible whole or not at all, also after a crash. The uploader holds a lock (flock) on its
 * temporary file: one that can be locked belongs to nobody alive and is swept. Nothing is ever
 * opened through a symbolic link or outside of the root, and names starting with '.' are no
 * objects.
 *
 * An objdir may be used by any number of threads at once; an upload by one at a time. Several
 * processes may share one root.
 */
#ifndef FREM_STORE_OBJDIR_H
#define FREM_STORE_OBJDIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "store/store.h"

#define OBJDIR_KEY_MAX 512 /* bytes of a key */
#define OBJDIR_DEPTH_MAX 8 /* its components */

struct objdir;
struct objdir_upload;

/*
 * A key is 1 to 8 components of 1 to 255 bytes joined by '/', at most 512 bytes of valid UTF-8,
 * without control characters; no component starts with '.'. Error: FREM_USAGE, -EINVAL.
 */
int objdir_check_key(const char *key, struct frem_error *err);

/*
 * Every function below gives, besides plain errors (FREM_STORE): -EINVAL a key that is none or that
 * leads through a symbolic link (FREM_USAGE), -ENOENT no such object (FREM_NOT_FOUND).
 */

/* The root must exist. */
int objdir_open(const char *root, struct objdir **ret, struct frem_error *err);
void objdir_free(struct objdir *d);

/* Opens an object for reading; the descriptor is the caller's. */
int objdir_get(const struct objdir *d, const char *key, int *ret_fd, struct stat *ret_st,
	       struct frem_error *err);
/* Removes an object, and directories that this leaves empty. */
int objdir_remove(const struct objdir *d, const char *key, struct frem_error *err);

/*
 * Starts an upload; size may be STORE_WHOLE where it is not known, else the space is reserved.
 * if_absent: -EEXIST where the key is taken, looked at here and, atomically, at the commit.
 */
int objdir_upload_new(const struct objdir *d, const char *key, bool if_absent, uint64_t size,
		      struct objdir_upload **ret, struct frem_error *err);
int objdir_upload_write(struct objdir_upload *u, const void *data, size_t n,
			struct frem_error *err);
/* Makes the object visible and durable. ret_st may be NULL. */
int objdir_upload_commit(struct objdir_upload *u, struct stat *ret_st, struct frem_error *err);
/* Drops what was not committed. */
void objdir_upload_free(struct objdir_upload *u);
/* Removes the temporary files of uploaders that are gone. */
void objdir_sweep(const struct objdir *d);

/*
 * The first `most` objects, in byte order of their keys, whose key starts with prefix and sorts
 * behind `after` ("" for all). *ret_more: there are further ones.
 */
int objdir_list(const struct objdir *d, const char *prefix, const char *after, size_t most,
		struct store_list **ret, bool *ret_more, struct frem_error *err);

FREM_CLEANUP(struct objdir *, cleanup_objdir, objdir_free)
FREM_CLEANUP(struct objdir_upload *, cleanup_objdir_upload, objdir_upload_free)
#define _cleanup_objdir_ _cleanup_(cleanup_objdir)
#define _cleanup_objdir_upload_ _cleanup_(cleanup_objdir_upload)

#endif

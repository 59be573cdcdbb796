/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What an image says about the world outside of its memory: open regular files, pids, streams. */
#ifndef FREM_CRIU_IMAGE_FILES_H
#define FREM_CRIU_IMAGE_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "criu/image_map.h"

/* Called for every file that was cut: path, its recorded size, bytes moved to the tail file. */
typedef void (*image_rollback_notice)(void *arg, const char *path, const char *tail,
				      uint64_t bytes);

struct image_rollback; /* what was cut, so that it can be undone */

/*
 * Rolls back every regular file that the job had open for writing and that has grown since: the
 * tail beyond the recorded size goes to PATH.frem-tail-SUFFIX (created new, with a number added
 * where that exists), is fsynced, and only then the file is truncated. Files that are missing or
 * shorter are left to CRIU's own refusal.
 */
int image_rollback(int dirfd, const char *suffix, image_rollback_notice notice, void *arg,
		   struct image_rollback **ret, struct frem_error *err);
/* Puts the tails back (the restore failed) and removes the tail files. */
void image_rollback_undo(struct image_rollback *r);
void image_rollback_free(struct image_rollback *r);

/*
 * Fails with FREM_REFUSED, naming the first file of the job, where one has not the size, or not the
 * time of the last change, that it had at the checkpoint. Of images that record no times (an
 * earlier frem's, and others) only the sizes are compared, and only those that CRIU records.
 */
int image_files_compare(int dirfd, struct frem_error *err);
/*
 * Has CRIU take files as they are, whatever their size. Those that the job has mapped privately it
 * still compares: memory that was not saved is read from them again.
 */
int image_files_uncheck(int dirfd, struct frem_error *err);
/* Whether a file of the job is not there; its path, cut to size, is put into path then. */
bool image_files_missing(int dirfd, char *path, size_t size);

/*
 * What the job had open as standard stream `number` (0 to 2), the regular file PATH, is not opened
 * at the restore: it gets the caller's stream of that number instead, as it would in place of a
 * pipe, and image_rollback() leaves the file alone. To be called before that.
 */
int image_stream_move(int dirfd, int number, const char *path, struct frem_error *err);

/* Fails with FREM_REFUSED "pid N is taken by 'COMM'" where a pid or thread id of the image is in
 * use. */
int image_pids_free(int dirfd, const struct image_map *map, struct frem_error *err);

/*
 * Moves the next pid that this pid namespace gives out beyond those of the image, where they are
 * near: in a young pid namespace, a helper would take just the pid that the job needs. Call it
 * before starting processes ahead of a restore; what goes wrong is left to image_pids_free().
 */
void image_pids_avoid(int dirfd);

FREM_CLEANUP(struct image_rollback *, cleanup_image_rollback, image_rollback_free)
#define _cleanup_image_rollback_ _cleanup_(cleanup_image_rollback)

#endif

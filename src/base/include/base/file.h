/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whole-file and whole-directory helpers that Linux leaves to its users. */
#ifndef FREM_BASE_FILE_H
#define FREM_BASE_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buffer.h"
#include "base/error.h"

/* Each returns 0 once all n bytes went through, -errno otherwise (-ENODATA: the file is shorter).
 */
int file_pread_all(int fd, void *data, size_t n, uint64_t offset);
int file_pwrite_all(int fd, const void *data, size_t n, uint64_t offset);
int file_write_all(int fd, const void *data, size_t n);

/* Appends the file NAME below dirfd to out, refusing more than `most` bytes with -EFBIG. */
int file_read_at(int dirfd, const char *name, size_t most, struct buffer *out);

/* An empty file in memory, without a name; `what` is for who looks into /proc. Returns it, or
 * -errno.
 */
int file_in_memory(const char *what);

/* Removes everything below the directory dirfd, never leaving its file system or following links.
 */
int file_empty_dir(int dirfd);
/* file_empty_dir() and the directory itself; a missing one is no error. */
int file_remove_tree(const char *path);

/* Points descriptors 0 to 2 at /dev/null: a process that outlives its command holds on to neither
 * the user's terminal nor his pipes. */
void file_let_go_of_streams(void);

/* Calls fn for each descriptor of this process, which may close it, until fn says other than 0.
 * Returns what it said last, or -errno where the descriptors cannot be listed. */
int file_each_open(int (*fn)(void *arg, int fd), void *arg);
/* Closes what the command was given by its own caller, besides 0 to 2: all that is not O_CLOEXEC,
 * as every descriptor of frem's is. For a process that outlives the command, which does not exec.
 */
void file_let_go_of_inherited(void);

/* Raises the soft limit of open files to the hard one. */
void file_raise_nofile(void);

#endif

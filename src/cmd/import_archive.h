/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The archives that podman (`container checkpoint --export`) and the kubelet write: a tar, maybe
 * compressed by gzip or zstd, with the image directory as checkpoint/ and what describes the
 * container beside it. Also a tar of an image directory alone.
 */
#ifndef FREM_CMD_IMPORT_ARCHIVE_H
#define FREM_CMD_IMPORT_ARCHIVE_H

#include "base/error.h"
#include "base/progress.h"

/*
 * Unpacks the files of the image, and of the container's description what is small, into the empty
 * directory to_fd. The archive may come from anybody: nothing is written but regular files in to_fd
 * itself, and never more than there is room for. What is left out is said in the log.
 */
int import_archive(int fd, int to_fd, struct progress *progress, struct frem_error *err);

#endif

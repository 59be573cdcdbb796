/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line of a job, kept in its checkpoints: one that was changed since is told of, as the
 * job goes on with the one that it was started with. */
#ifndef FREM_CMD_RUN_COMMAND_H
#define FREM_CMD_RUN_COMMAND_H

#include "base/error.h"

/* Into the image. */
int run_command_keep(char *const *command, int images_fd, struct frem_error *err);
/* Warns where the image has another one. */
int run_command_compare(char *const *command, int images_fd, struct frem_error *err);

#endif

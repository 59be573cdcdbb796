/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Standard output and error that go to a file. A batch script opens it anew each time it is run,
 * and with `>` what the job has written is gone by the time that frem is started. So a checkpoint
 * keeps what such a file holds, and the next run gives it back; and where the next run has another
 * file, pipe or terminal, the job goes on writing there.
 */
#ifndef FREM_CMD_RUN_OUTPUTS_H
#define FREM_CMD_RUN_OUTPUTS_H

#include <stdbool.h>

#include "base/error.h"
#include "run_streams.h"

/* With the tasks frozen: puts the outputs into the image. Those above 16 MiB are left out; *ret
 * says whether there is one. */
int run_outputs_keep(const struct run_output outputs[RUN_OUTPUTS], int images_fd,
		     bool *ret_too_long, struct frem_error *err);
/* Before the files are rolled back. */
int run_outputs_give_back(const struct run_output outputs[RUN_OUTPUTS], int images_fd,
			  struct frem_error *err);

#endif

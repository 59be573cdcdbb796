/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ctrl-C and its kin. After interrupt_catch(), SIGINT, SIGTERM, SIGHUP and SIGQUIT only set a flag,
 * and blocking system calls return EINTR: what is under way is given up in order, with everything
 * it made taken back. A second signal while that goes on ends frem at once; what then still has to
 * be cleaned up is the janitor's and CRIU's.
 */
#ifndef FREM_CMD_INTERRUPT_H
#define FREM_CMD_INTERRUPT_H

#include <stdbool.h>

#include "base/error.h"

void interrupt_catch(void);
bool interrupted(void);
/* The signal's number, 0 where there was none. */
int interrupt_signal(void);
/* Forgets a signal: it has been acted upon. */
void interrupt_clear(void);
/* 0, or fails with FREM_FAILED, -EINTR "stopped by signal N (Interrupt)". */
int interrupt_check(struct frem_error *err);
/* Where r is -EINTR because of such a signal, says so plainly instead of what it broke off. */
int interrupt_explain(int r, struct frem_error *err);

#endif

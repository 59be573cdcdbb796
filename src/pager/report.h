/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How the keeper and the pager process reach the caller, who may be gone. */
#ifndef FREM_PAGER_REPORT_H
#define FREM_PAGER_REPORT_H

#include "pager/pager.h"

/* Log lines of this process go to the caller from here on; fd stays the reporter's. */
void report_start(int fd);
/* err: for PAGER_EVENT_FAILED, else NULL; notice: or NULL. */
void report_event(enum pager_event_type type, const char *notice, const struct frem_error *err);

#endif

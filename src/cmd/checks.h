/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What `frem check` finds out about the machine itself; the verb adds CRIU, tracker and store. */
#ifndef FREM_CMD_CHECKS_H
#define FREM_CMD_CHECKS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

enum check_state {
	CHECK_OK,
	CHECK_DEGRADED, /* works, with less */
	CHECK_MISSING,
};

struct check {
	char name[48];
	enum check_state state;
	bool required; /* for a fast restart */
	char text[1024];
	char hint[512]; /* what to do about it, or "" */
};

/* Each fills *ret. They change nothing on the machine. */
void check_privileges(struct check *ret);
void check_kernel(struct check *ret);
void check_userfaultfd(struct check *ret);
void check_run_directory(struct check *ret);
void check_limits(struct check *ret);

/* Fails with FREM_UNABLE, text and hint, where the check finds that something is missing. */
int check_need(void (*look)(struct check *), struct frem_error *err);

/* Sets state, text and hint (NULL: none). */
void check_say(struct check *c, enum check_state state, const char *hint, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

#endif

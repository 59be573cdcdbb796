/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef FREM_TESTS_PAGER_SERVER_H
#define FREM_TESTS_PAGER_SERVER_H

#include <sys/types.h>

struct control;

/* Starts a process that serves GET requests with ranges from a directory, as control says. */
pid_t pager_server_start(const char *root, struct control *control, char url[64]);

#endif

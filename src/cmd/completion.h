/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The completion scripts, made of the tables of commands and options; printed to stdout. */
#ifndef FREM_CMD_COMPLETION_H
#define FREM_CMD_COMPLETION_H

void completion_bash(void);
void completion_zsh(void);

#endif

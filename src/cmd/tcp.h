/* SPDX-License-Identifier: GPL-2.0-or-later */
/* --tcp, of checkpoint and restart. */
#ifndef FREM_CMD_TCP_H
#define FREM_CMD_TCP_H

#include <string.h>

#include "base/error.h"
#include "criu/criu.h"

static inline int tcp_parse(const char *text, enum criu_tcp *ret, struct frem_error *err)
{
	if (!strcmp(text, "close"))
		*ret = CRIU_TCP_CLOSE;
	else if (!strcmp(text, "established"))
		*ret = CRIU_TCP_ESTABLISHED;
	else
		return frem_fail(err, FREM_USAGE, 0, "--tcp '%s': neither close nor established",
				 text);
	return 0;
}

#endif

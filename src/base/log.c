/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

static log_sink log_out;
static enum log_level log_most;

void log_set_sink(log_sink sink, enum log_level most)
{
	log_out = sink;
	log_most = most;
}

void log_limit(enum log_level most)
{
	if (most < log_most)
		log_most = most;
}

void log_line(enum log_level level, const char *fmt, ...)
{
	char line[1536];
	va_list ap;

	if (!log_out || level > log_most)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	log_out(level, line);
}

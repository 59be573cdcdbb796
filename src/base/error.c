/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* here are the functions themselves */
#undef frem_fail
#undef frem_oom

void frem_error_reset(struct frem_error *err)
{
	if (!err)
		return;
	err->code = FREM_OK;
	err->errnum = 0;
	err->text[0] = err->hint[0] = err->detail[0] = '\0';
}

int frem_fail(struct frem_error *err, enum frem_code code, int errnum, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (!err)
		return errnum ? -errnum : -EIO;
	frem_error_reset(err);
	err->code = code;
	err->errnum = errnum;
	va_start(ap, fmt);
	n = vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	if (errnum && n >= 0 && (size_t)n < sizeof(err->text)) {
		char why[128];

		snprintf(err->text + n, sizeof(err->text) - (size_t)n, ": %s",
			 strerror_r(errnum, why, sizeof(why)));
	}
	return errnum ? -errnum : -EIO;
}

int frem_context(struct frem_error *err, int r, const char *fmt, ...)
{
	char old[sizeof(err->text)];
	va_list ap;
	int n;

	if (!err)
		return r;
	memcpy(old, err->text, sizeof(old));
	va_start(ap, fmt);
	n = vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	if (n >= 0 && (size_t)n < sizeof(err->text)) {
		size_t room = sizeof(err->text) - (size_t)n;

		/* what does not fit any more is cut */
		snprintf(err->text + n, room, ": %.*s", (int)room, old);
	}
	return r;
}

int frem_hint(struct frem_error *err, int r, const char *fmt, ...)
{
	va_list ap;

	if (!err || err->hint[0])
		return r;
	va_start(ap, fmt);
	vsnprintf(err->hint, sizeof(err->hint), fmt, ap);
	va_end(ap);
	return r;
}

void frem_detail(struct frem_error *err, const char *line)
{
	size_t used, n = strlen(line);

	if (!err)
		return;
	used = strlen(err->detail);
	while (n && line[n - 1] == '\n')
		n--;
	if (used + n + 2 > sizeof(err->detail))
		return;
	memcpy(err->detail + used, line, n);
	memcpy(err->detail + used + n, "\n", 2);
}

int frem_oom(struct frem_error *err)
{
	return frem_fail(err, FREM_FAILED, ENOMEM, "allocating memory");
}

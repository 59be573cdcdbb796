/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Errors with their context.
 *
 * A function that can fail returns 0 or a negative errno and takes a caller-owned `struct
 * frem_error` as its last argument. Where the failure happens, frem_fail() fills it; every level
 * above may prepend what it was doing with frem_context(). Only cmd/ prints it. The text reads what
 * was being done: what failed: why lower case, without full stop, and without the leading "frem: ".
 * `err` may be NULL where the caller wants the code alone. Nothing here allocates, so an error can
 * always be reported.
 */
#ifndef FREM_BASE_ERROR_H
#define FREM_BASE_ERROR_H

#include <errno.h>

/* The exit codes of the command line. */
enum frem_code {
	FREM_OK = 0,
	FREM_FAILED = 1,
	FREM_USAGE = 2,
	FREM_UNABLE = 3,    /* this machine cannot do it */
	FREM_NOT_FOUND = 4, /* no such checkpoint */
	FREM_DAMAGED = 5,   /* damaged or untrusted checkpoint */
	FREM_STORE = 6,	    /* the store is unreachable, or refused */
	FREM_REFUSED = 7,   /* the process, or its CRIU dump or restore, refused */
};

struct frem_error {
	enum frem_code code;
	int errnum;	   /* positive errno of the cause, 0 if there is none */
	char text[1024];   /* the one line */
	char hint[512];	   /* a known cure, or "" */
	char detail[3072]; /* further lines to show below, such as CRIU's own; "" or '\n'-terminated
			    */
};

/*
 * Starts a new error. errnum (positive errno, or 0) is appended as ": strerror" when it is not 0.
 * Returns -errnum, or -EIO where errnum is 0, so that callers can `return frem_fail(...)`.
 */
int frem_fail(struct frem_error *err, enum frem_code code, int errnum, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Prepends "context: " to the text; returns r unchanged. */
int frem_context(struct frem_error *err, int r, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Sets the hint; the first one set nearest to the cause stays. Returns r unchanged. */
int frem_hint(struct frem_error *err, int r, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Appends one line to the detail; what does not fit is dropped. */
void frem_detail(struct frem_error *err, const char *line);

/* frem_fail() for ENOMEM. */
int frem_oom(struct frem_error *err);

/*
 * Compilers and analysers do not see into another file: from these they know that a failure is
 * negative, and so that a caller's `r < 0` keeps it from the outputs.
 */
static inline int frem_negative(int r)
{
	return r < 0 ? r : -EIO;
}
#define frem_fail(...) frem_negative(frem_fail(__VA_ARGS__))
#define frem_oom(err) frem_negative(frem_oom(err))

void frem_error_reset(struct frem_error *err);

#endif

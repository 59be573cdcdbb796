/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names of jobs and checkpoints, and the keys of their objects in a store. */
#ifndef FREM_FORMAT_NAME_H
#define FREM_FORMAT_NAME_H

#include <stdint.h>

#include "base/error.h"

#define NAME_MAX_BYTES 100
#define NAME_KEY_SIZE (NAME_MAX_BYTES + 32) /* any key below, with its NUL */
#define NAME_SEQ_MAX UINT32_C(999999999)

#define OBJECT_HEAD "head"
#define OBJECT_PAGES "pages"
#define OBJECT_TOUCH "touch"
#define OBJECT_MANIFEST "manifest"
#define OBJECT_ENDED "ended" /* a job that frem run followed has ended well: docs/format.md */

/* NAME, or NAME@N; seq is 0 where @N was not given (checkpoints are numbered from 1). */
struct checkpoint_name {
	char name[NAME_MAX_BYTES + 1];
	uint32_t seq;
};

/*
 * A job name has 1 to 100 bytes of valid UTF-8, no '/', '@' or control character, is not "." or
 * "..", and starts neither with '-' nor with '.'. Error: FREM_USAGE, and says what is wrong.
 */
int name_check(const char *name, struct frem_error *err);
/* Parses NAME or NAME@N. Error: FREM_USAGE. *ret is untouched on failure. */
int name_parse(const char *text, struct checkpoint_name *ret, struct frem_error *err);
/* "NAME/N/OBJECT"; seq must not be 0. */
void name_key(const struct checkpoint_name *n, const char *object, char out[NAME_KEY_SIZE]);
/*
 * Splits a key of the form "NAME/N/OBJECT" as found in a listing; returns -EINVAL for any other
 * key. *ret_object points into key.
 */
int name_split_key(const char *key, struct checkpoint_name *ret, const char **ret_object);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* --files, of the verbs that restart. */
#ifndef FREM_CMD_FILES_H
#define FREM_CMD_FILES_H

#include <string.h>

#include "base/error.h"

/* What a restart does about files that are not as they were at the checkpoint. */
enum restart_files {
	FILES_ROLLBACK, /* cuts what has grown, and keeps the tail beside it */
	FILES_KEEP,	/* leaves them alone */
	FILES_STRICT,	/* refuses */
};

/* Error: FREM_USAGE. */
static inline int files_parse(const char *text, enum restart_files *ret, struct frem_error *err)
{
	static const char *const names[] = {"rollback", "keep", "strict"};

	for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++) {
		if (strcmp(text, names[i]) == 0) {
			*ret = (enum restart_files)i;
			return 0;
		}
	}
	return frem_fail(err, FREM_USAGE, 0, "--files '%s': not one of rollback, keep, strict",
			 text);
}

#endif

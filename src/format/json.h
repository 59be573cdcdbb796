/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Members of JSON objects from outside: bounded, of the right type, or a fault to report. */
#ifndef FREM_FORMAT_JSON_H
#define FREM_FORMAT_JSON_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

/*
 * Each gets a member that must be there. The first fault found stays in *fault (set up as zero)
 * and makes all later calls do nothing, so that a whole object is read before it is looked at.
 */
struct json_fault {
	const char *member; /* NULL: none */
	const char *what;   /* "is missing" */
};

FREM_CLEANUP(json_t *, cleanup_json, json_decref)
#define _cleanup_json_ _cleanup_(cleanup_json)

void json_set_fault(struct json_fault *f, const char *member, const char *what);
uint64_t json_get_number(const json_t *object, const char *member, uint64_t least, uint64_t most,
			 struct json_fault *f);
/* Not negative, and finite. */
double json_get_real(const json_t *object, const char *member, struct json_fault *f);
/* The same, but 0 where it is not there. */
double json_get_real_or_zero(const json_t *object, const char *member, struct json_fault *f);
/* Valid UTF-8 without control characters, at most size - 1 bytes; out is left alone on a fault. */
void json_get_text(const json_t *object, const char *member, char *out, size_t size,
		   struct json_fault *f);
/* An object or array; NULL on a fault. */
json_t *json_get_nested(const json_t *object, const char *member, json_type type,
			struct json_fault *f);

#endif

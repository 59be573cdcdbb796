/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "json.h"

#include <math.h>
#include <string.h>

#include "text.h"

void json_set_fault(struct json_fault *f, const char *member, const char *what)
{
	if (f->member)
		return;
	f->member = member;
	f->what = what;
}

static json_t *get(const json_t *object, const char *member, struct json_fault *f)
{
	json_t *v = f->member ? NULL : json_object_get(object, member);

	if (!v)
		json_set_fault(f, member, "is missing");
	return v;
}

uint64_t json_get_number(const json_t *object, const char *member, uint64_t least, uint64_t most,
			 struct json_fault *f)
{
	json_t *v = get(object, member, f);
	json_int_t n;

	if (!v)
		return 0;
	n = json_integer_value(v);
	if (!json_is_integer(v))
		json_set_fault(f, member, "is not a whole number");
	else if (n < 0 || (uint64_t)n < least || (uint64_t)n > most)
		json_set_fault(f, member, "is out of range");
	return f->member ? 0 : (uint64_t)n;
}

double json_get_real(const json_t *object, const char *member, struct json_fault *f)
{
	json_t *v = get(object, member, f);
	double x;

	if (!v)
		return 0;
	x = json_number_value(v);
	if (!json_is_number(v))
		json_set_fault(f, member, "is not a number");
	else if (!isfinite(x) || x < 0)
		json_set_fault(f, member, "is out of range");
	return f->member ? 0 : x;
}

double json_get_real_or_zero(const json_t *object, const char *member, struct json_fault *f)
{
	return json_object_get(object, member) ? json_get_real(object, member, f) : 0;
}

void json_get_text(const json_t *object, const char *member, char *out, size_t size,
		   struct json_fault *f)
{
	json_t *v = get(object, member, f);
	size_t n;

	if (!v)
		return;
	if (!json_is_string(v)) {
		json_set_fault(f, member, "is not a string");
		return;
	}
	n = json_string_length(v);
	if (n >= size)
		json_set_fault(f, member, "is too long");
	else if (!text_is_plain(json_string_value(v), n))
		json_set_fault(f, member, "holds a control character");
	else
		memcpy(out, json_string_value(v), n + 1);
}

json_t *json_get_nested(const json_t *object, const char *member, json_type type,
			struct json_fault *f)
{
	json_t *v = get(object, member, f);

	if (v && json_typeof(v) != type) {
		json_set_fault(f, member,
			       type == JSON_ARRAY ? "is not an array" : "is not an object");
		return NULL;
	}
	return v;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "format/name.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "text.h"

#define SEQ_DIGITS 9	/* of NAME_SEQ_MAX */
#define OBJECT_BYTES 20 /* of an object's name: what NAME_KEY_SIZE leaves room for */

_Static_assert(NAME_MAX_BYTES + SEQ_DIGITS + OBJECT_BYTES + sizeof("//") <= NAME_KEY_SIZE,
	       "a key fits");

/* Why the n bytes at s are no job name; NULL if they are one. */
static const char *name_fault(const char *s, size_t n)
{
	uint32_t point;
	size_t len;

	if (n == 0)
		return "is empty";
	if (n > NAME_MAX_BYTES)
		return "is longer than 100 bytes";
	if (s[0] == '-')
		return "starts with '-'";
	if (s[0] == '.')
		return "starts with '.'";
	for (size_t i = 0; i < n; i += len) {
		len = text_utf8(s + i, n - i, &point);
		if (len == 0)
			return "is not valid UTF-8";
		if (text_is_control(point))
			return "holds a control character";
		if (point == '/')
			return "holds a '/'";
		if (point == '@')
			return "holds a '@'";
	}
	return NULL;
}

static int name_refuse(const char *s, size_t n, const char *fault, struct frem_error *err)
{
	char quoted[TEXT_QUOTED_SIZE];

	frem_fail(err, FREM_USAGE, 0, "name %s %s", text_quote(s, n, quoted), fault);
	return -EINVAL;
}

int name_check(const char *name, struct frem_error *err)
{
	size_t n = strlen(name);
	const char *fault = name_fault(name, n);

	return fault ? name_refuse(name, n, fault, err) : 0;
}

/* Exactly the decimal form of 1 to NAME_SEQ_MAX; 0 for anything else. */
static uint32_t parse_seq(const char *s, size_t n)
{
	uint32_t seq = 0;

	if (n == 0 || n > SEQ_DIGITS || s[0] == '0')
		return 0;
	for (size_t i = 0; i < n; i++) {
		if (s[i] < '0' || s[i] > '9')
			return 0;
		seq = seq * 10 + (uint32_t)(s[i] - '0');
	}
	return seq;
}

int name_parse(const char *text, struct checkpoint_name *ret, struct frem_error *err)
{
	char quoted[TEXT_QUOTED_SIZE];
	const char *at = strrchr(text, '@');
	size_t n = at ? (size_t)(at - text) : strlen(text);
	const char *fault = name_fault(text, n);
	uint32_t seq = 0;

	if (fault)
		return name_refuse(text, n, fault, err);
	if (at) {
		seq = parse_seq(at + 1, strlen(at + 1));
		if (!seq) {
			frem_fail(err, FREM_USAGE, 0,
				  "checkpoint %s: what follows '@' is not a number from 1 to %u",
				  text_quote(text, strlen(text), quoted), NAME_SEQ_MAX);
			return -EINVAL;
		}
	}
	*ret = (struct checkpoint_name){.seq = seq};
	memcpy(ret->name, text, n);
	return 0;
}

void name_key(const struct checkpoint_name *n, const char *object, char out[NAME_KEY_SIZE])
{
	snprintf(out, NAME_KEY_SIZE, "%s/%u/%s", n->name, n->seq, object);
}

/* Later versions may add objects: whatever looks like one belongs to its checkpoint. */
static bool is_object(const char *s)
{
	size_t n = strlen(s);

	return n > 0 && n <= OBJECT_BYTES &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == n;
}

int name_split_key(const char *key, struct checkpoint_name *ret, const char **ret_object)
{
	const char *seq_at, *object;
	uint32_t seq;
	size_t n;

	seq_at = strchr(key, '/');
	if (!seq_at)
		return -EINVAL;
	n = (size_t)(seq_at++ - key);
	object = strchr(seq_at, '/');
	if (!object || name_fault(key, n))
		return -EINVAL;
	seq = parse_seq(seq_at, (size_t)(object - seq_at));
	if (!seq || !is_object(++object))
		return -EINVAL;
	*ret = (struct checkpoint_name){.seq = seq};
	memcpy(ret->name, key, n);
	*ret_object = object;
	return 0;
}

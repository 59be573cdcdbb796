/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Damages an object in every way that one bit or a cut can, and expects each to be refused. */
#ifndef FREM_TESTS_FORMAT_DAMAGE_H
#define FREM_TESTS_FORMAT_DAMAGE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "base/error.h"

/* Decodes n bytes; 0 or a failure with err filled. */
typedef int (*damage_decode)(const void *data, size_t n, struct frem_error *err);

/*
 * The copies are exactly as long as the data, so that AddressSanitizer sees a read behind it. An
 * object is named at the start of the message, and the offset in it.
 */
static inline void expect_damaged(damage_decode decode, const void *data, size_t n,
				  const char *object)
{
	struct frem_error err = {0};
	void *copy = malloc(n ? n : 1);
	int r;

	assert_non_null(copy);
	memcpy(copy, data, n);
	r = decode(copy, n, &err);
	free(copy);
	assert_true(r < 0);
	assert_int_equal(err.code, FREM_DAMAGED);
	assert_int_equal(strncmp(err.text, object, strlen(object)), 0);
	assert_non_null(strstr(err.text, " at offset "));
}

static inline void every_damage_is_found(damage_decode decode, const struct buffer *b,
					 const char *object)
{
	struct frem_error err = {0};
	uint8_t *copy = malloc(b->len + 1);

	assert_non_null(copy);
	assert_int_equal(decode(b->data, b->len, &err), 0);
	for (size_t bit = 0; bit < b->len * 8; bit++) {
		memcpy(copy, b->data, b->len);
		copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
		expect_damaged(decode, copy, b->len, object);
	}
	for (size_t n = 0; n < b->len; n++)
		expect_damaged(decode, b->data, n, object);
	memcpy(copy, b->data, b->len);
	for (unsigned extra = 0; extra < 256; extra++) {
		copy[b->len] = (uint8_t)extra;
		expect_damaged(decode, copy, b->len + 1, object);
	}
	free(copy);
}

#endif

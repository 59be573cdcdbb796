/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/digest.h"

#include <errno.h>
#include <string.h>

void digest_of(const void *data, size_t n, uint8_t *out, size_t size)
{
	blake3_hasher h;

	blake3_hasher_init(&h);
	blake3_hasher_update(&h, data, n);
	blake3_hasher_finalize(&h, out, size);
}

bool digest_equal(const uint8_t *a, const uint8_t *b, size_t size)
{
	return memcmp(a, b, size) == 0;
}

void digest_start(struct digest_stream *s)
{
	blake3_hasher_init(&s->hasher);
}

void digest_update(struct digest_stream *s, const void *data, size_t n)
{
	blake3_hasher_update(&s->hasher, data, n);
}

void digest_finish(struct digest_stream *s, uint8_t out[DIGEST_SIZE])
{
	blake3_hasher_finalize(&s->hasher, out, DIGEST_SIZE);
}

static const char hex_digits[] = "0123456789abcdef";

void digest_to_hex(const uint8_t digest[DIGEST_SIZE], char out[DIGEST_HEX_SIZE])
{
	for (size_t i = 0; i < DIGEST_SIZE; i++) {
		*out++ = hex_digits[digest[i] >> 4];
		*out++ = hex_digits[digest[i] & 15];
	}
	*out = '\0';
}

static uint8_t hex_value(char c)
{
	return (uint8_t)(strchr(hex_digits, c) - hex_digits);
}

int digest_from_hex(const char *hex, uint8_t out[DIGEST_SIZE])
{
	if (strlen(hex) != DIGEST_HEX_SIZE - 1 || strspn(hex, hex_digits) != DIGEST_HEX_SIZE - 1)
		return -EINVAL;
	for (size_t i = 0; i < DIGEST_SIZE; i++)
		out[i] = (uint8_t)(hex_value(hex[2 * i]) << 4 | hex_value(hex[2 * i + 1]));
	return 0;
}

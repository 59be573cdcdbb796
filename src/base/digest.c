/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/digest.h"

#include <errno.h>
#include <string.h>

void digest_of(const void *data, size_t n, uint8_t *out, size_t size)
{
	crypto_generichash(out, size, data, n, NULL, 0);
}

bool digest_equal(const uint8_t *a, const uint8_t *b, size_t size)
{
	return memcmp(a, b, size) == 0;
}

/* The aligned place is found anew at each use: it would move with a copy, so a stream is not
 * copied. */
static crypto_generichash_state *state_of(struct digest_stream *s)
{
	uintptr_t at = ((uintptr_t)s->bytes + 63) & ~(uintptr_t)63;

	return (crypto_generichash_state *)at;
}

void digest_start(struct digest_stream *s)
{
	crypto_generichash_init(state_of(s), NULL, 0, DIGEST_SIZE);
}

void digest_update(struct digest_stream *s, const void *data, size_t n)
{
	crypto_generichash_update(state_of(s), data, n);
}

void digest_finish(struct digest_stream *s, uint8_t out[DIGEST_SIZE])
{
	crypto_generichash_final(state_of(s), out, DIGEST_SIZE);
}

void digest_to_hex(const uint8_t digest[DIGEST_SIZE], char out[DIGEST_HEX_SIZE])
{
	sodium_bin2hex(out, DIGEST_HEX_SIZE, digest, DIGEST_SIZE);
}

int digest_from_hex(const char *hex, uint8_t out[DIGEST_SIZE])
{
	size_t n = 0;

	if (strlen(hex) != DIGEST_HEX_SIZE - 1 ||
	    strspn(hex, "0123456789abcdef") != DIGEST_HEX_SIZE - 1)
		return -EINVAL;
	if (sodium_hex2bin(out, DIGEST_SIZE, hex, DIGEST_HEX_SIZE - 1, NULL, &n, NULL) ||
	    n != DIGEST_SIZE)
		return -EINVAL;
	return 0;
}

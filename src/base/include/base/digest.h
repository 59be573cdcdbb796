/* SPDX-License-Identifier: GPL-2.0-or-later */
/* BLAKE3 digests, by its official C library. Pure; one stream is used by one thread at a time. */
#ifndef FREM_BASE_DIGEST_H
#define FREM_BASE_DIGEST_H

#include <blake3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DIGEST_SIZE 32	     /* of whole objects */
#define DIGEST_FRAME_SIZE 16 /* of one frame */
#define DIGEST_HEX_SIZE (2 * DIGEST_SIZE + 1)

struct digest_stream {
	blake3_hasher hasher;
};

/* Digest of data in one go; size is the length of out, 16 to 32 bytes: a shorter one is the start
 * of a longer one. */
void digest_of(const void *data, size_t n, uint8_t *out, size_t size);

bool digest_equal(const uint8_t *a, const uint8_t *b, size_t size);

/* Streaming, always DIGEST_SIZE bytes. */
void digest_start(struct digest_stream *s);
void digest_update(struct digest_stream *s, const void *data, size_t n);
void digest_finish(struct digest_stream *s, uint8_t out[DIGEST_SIZE]);

void digest_to_hex(const uint8_t digest[DIGEST_SIZE], char out[DIGEST_HEX_SIZE]);
/* Returns 0, or -EINVAL if hex is not exactly 64 lower-case hexadecimal digits. */
int digest_from_hex(const char *hex, uint8_t out[DIGEST_SIZE]);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A growable byte buffer. A zeroed one is valid and empty. Not thread-safe. */
#ifndef FREM_BASE_BUFFER_H
#define FREM_BASE_BUFFER_H

#include <stddef.h>
#include <stdint.h>

struct buffer {
	uint8_t *data;
	size_t len;
	size_t cap;
};

/* Makes room for `more` bytes behind len. Returns 0 or -ENOMEM (also on overflow). */
int buffer_reserve(struct buffer *b, size_t more);
/* Appends n bytes; data may be NULL for n zero bytes. Returns 0 or -ENOMEM, b unchanged then. */
int buffer_append(struct buffer *b, const void *data, size_t n);
/* Releases the bytes and makes b empty again. */
void buffer_done(struct buffer *b);

#define _cleanup_buffer_ __attribute__((cleanup(buffer_done)))

#endif

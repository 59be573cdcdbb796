/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/buffer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int buffer_reserve(struct buffer *b, size_t more)
{
	size_t need, cap;
	uint8_t *data;

	if (__builtin_add_overflow(b->len, more, &need))
		return -ENOMEM;
	if (need <= b->cap)
		return 0;
	cap = b->cap < 256 ? 256 : b->cap + b->cap / 2;
	if (cap < need)
		cap = need;
	data = realloc(b->data, cap);
	if (!data)
		return -ENOMEM;
	b->data = data;
	b->cap = cap;
	return 0;
}

int buffer_append(struct buffer *b, const void *data, size_t n)
{
	int r = buffer_reserve(b, n);

	if (r < 0)
		return r;
	if (n == 0)
		return 0;
	if (data)
		memcpy(b->data + b->len, data, n);
	else
		memset(b->data + b->len, 0, n);
	b->len += n;
	return 0;
}

void buffer_done(struct buffer *b)
{
	free(b->data);
	*b = (struct buffer){0};
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "text.h"

#include <stdio.h>
#include <string.h>

size_t text_utf8(const char *text, size_t n, uint32_t *ret_point)
{
	/* the least code point that needs this many bytes: shorter forms are the only valid ones */
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	const uint8_t *p = (const uint8_t *)text;
	uint32_t point;
	size_t len;

	if (n == 0)
		return 0;
	len = p[0] < 0x80 ? 1 : p[0] < 0xc0 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (len == 0 || len > n || p[0] > 0xf4)
		return 0;
	point = len == 1 ? p[0] : p[0] & (0x7fu >> len);
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		point = point << 6 | (p[i] & 0x3f);
	}
	if (point < least[len] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
		return 0;
	*ret_point = point;
	return len;
}

bool text_is_control(uint32_t point)
{
	return point < 0x20 || (point >= 0x7f && point <= 0x9f);
}

bool text_is_plain(const char *s, size_t n)
{
	uint32_t point;
	size_t len;

	for (size_t i = 0; i < n; i += len) {
		len = text_utf8(s + i, n - i, &point);
		if (len == 0 || text_is_control(point))
			return false;
	}
	return true;
}

void text_make_plain(char *s)
{
	size_t n = strlen(s), len;
	uint32_t point;

	for (size_t i = 0; i < n; i += len) {
		len = text_utf8(s + i, n - i, &point);
		if (len == 0)
			len = 1;
		else if (!text_is_control(point))
			continue;
		memset(s + i, '?', len);
	}
}

const char *text_quote(const char *s, size_t n, char out[TEXT_QUOTED_SIZE])
{
	const size_t room = TEXT_QUOTED_SIZE - sizeof("...'");
	size_t used = 0, len;
	uint32_t point;

	out[used++] = '\'';
	for (size_t i = 0; i < n; i += len) {
		len = text_utf8(s + i, n - i, &point);
		if (used + 4 > room) {
			used += (size_t)snprintf(out + used, 4, "...");
			break;
		}
		if (len && !text_is_control(point)) {
			memcpy(out + used, s + i, len);
			used += len;
			continue;
		}
		len = 1;
		used += (size_t)snprintf(out + used, 5, "\\x%02x", (unsigned)(uint8_t)s[i]);
	}
	memcpy(out + used, "'", 2);
	return out;
}

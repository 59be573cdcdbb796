/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "touch_meta.h"

#include <errno.h>
#include <inttypes.h>

#include "base/bytes.h"
#include "json.h"

#define DIGITS 9 /* of a time in ms: nanoseconds in a window of ten minutes */

int touch_meta_encode(const struct touch_info *info, struct buffer *out, struct frem_error *err)
{
	_cleanup_json_ json_t *meta = NULL;
	_cleanup_free_ char *text = NULL;
	uint8_t size[4];
	size_t n;

	meta = json_pack("{s:s, s:s, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:f}", "backend",
			 info->backend, "ended", info->ended, "window_ms",
			 (json_int_t)info->window_ms, "scans", (json_int_t)info->scans, "restarts",
			 (json_int_t)info->restarts, "prepare_ms", info->prepare_ms, "frozen_ms",
			 info->frozen_ms, "scan_ms", info->scan_ms, "insert_ms", info->insert_ms,
			 "descriptor_ms", info->descriptor_ms, "overhead_ms", info->overhead_ms);
	if (!meta)
		return frem_fail(err, FREM_FAILED, 0, "description is not valid text and numbers");
	text = json_dumps(meta, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(DIGITS));
	if (!text)
		return frem_oom(err);
	n = strlen(text);
	put_le32(size, (uint32_t)n);
	if (buffer_append(out, size, sizeof(size)) < 0 || buffer_append(out, text, n) < 0)
		return frem_oom(err);
	return 0;
}

int touch_meta_decode(struct wire *w, struct touch_info *ret)
{
	_cleanup_json_ json_t *meta = NULL;
	struct touch_info info = {0};
	struct json_fault fault = {0};
	size_t start = w->pos;
	const uint8_t *text;
	json_error_t why;
	uint32_t n = 0;
	int r;

	r = wire_u32(w, "the description's size", &n);
	if (r < 0)
		return r;
	if (n > TOUCH_META_MAX)
		return wire_damaged(w, start, "description of %" PRIu32 " bytes is too large", n);
	text = wire_take(w, n, "the description");
	if (!text)
		return -EIO;
	meta = json_loadb((const char *)text, n, JSON_REJECT_DUPLICATES, &why);
	if (!json_is_object(meta))
		return wire_damaged(w, start + 4, "description is not a JSON object");
	json_get_text(meta, "backend", info.backend, sizeof(info.backend), &fault);
	json_get_text(meta, "ended", info.ended, sizeof(info.ended), &fault);
	info.window_ms = (uint32_t)json_get_number(meta, "window_ms", 0, UINT32_MAX, &fault);
	info.scans = (uint32_t)json_get_number(meta, "scans", 0, UINT32_MAX, &fault);
	info.overhead_ms = json_get_real(meta, "overhead_ms", &fault);
	info.frozen_ms = json_get_real(meta, "frozen_ms", &fault);
	/* not every writer knows these */
	if (json_object_get(meta, "restarts"))
		info.restarts = (uint32_t)json_get_number(meta, "restarts", 0, UINT32_MAX, &fault);
	info.prepare_ms = json_get_real_or_zero(meta, "prepare_ms", &fault);
	info.scan_ms = json_get_real_or_zero(meta, "scan_ms", &fault);
	info.insert_ms = json_get_real_or_zero(meta, "insert_ms", &fault);
	info.descriptor_ms = json_get_real_or_zero(meta, "descriptor_ms", &fault);
	if (fault.member)
		return wire_damaged(w, start + 4, "description: '%s' %s", fault.member, fault.what);
	*ret = info;
	return 0;
}

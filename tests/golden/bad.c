/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "bad.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "base/bytes.h"
#include "sample.h"
#include "wire.h"

/* Places in the body of the sample head: its first records, and the fields of any record. */
#define PSTREE 0
#define CORE (PSTREE + 20 + 10 + 40)
#define EMPTY (CORE + 20 + 10 + 1000)
#define PAGES_1 (EMPTY + 20 + 9)
#define RUN_1 (PAGES_1 + 20 + 11)
#define PAGES_2 (RUN_1 + 20 + 11 + 4096)
#define RUN_2 (PAGES_2 + 20 + 11)
#define LAST_FILE (RUN_2 + 20 + 11 + 2 * 4096)
#define INDEX (LAST_FILE + 20 + 11 + 600)
#define END (INDEX + 20 + 24 + 3 * 24)
#define VALUE 4
#define LENGTH 12
#define NAME 20

static void append(struct buffer *b, const void *data, size_t n)
{
	if (buffer_append(b, data, n) < 0)
		abort();
}

static void replace(struct buffer *b, struct buffer by)
{
	buffer_done(b);
	*b = by;
}

/* ---- any object ---- */

static void make_empty(struct buffer *b, const struct good_files *good)
{
	(void)good;
	b->len = 0;
}

static void make_cut(struct buffer *b, const struct good_files *good)
{
	(void)good;
	b->len = b->len / 2;
}

static void make_longer(struct buffer *b, const struct good_files *good)
{
	(void)good;
	append(b, "x", 1);
}

static void make_wrong_magic(struct buffer *b, const struct good_files *good)
{
	(void)good;
	memcpy(b->data, "FREMHEAR", 8);
	sample_resign(b);
}

static void make_header_flip(struct buffer *b, const struct good_files *good)
{
	(void)good;
	b->data[17] ^= 4;
}

static void make_flip(struct buffer *b, const struct good_files *good)
{
	(void)good;
	b->data[200] ^= 0x10;
}

static void make_newer(struct buffer *b, const struct good_files *good)
{
	(void)good;
	put_le32(b->data + 8, get_le32(b->data + 8) + 1);
	sample_resign(b);
}

static void make_flags(struct buffer *b, const struct good_files *good)
{
	(void)good;
	put_le32(b->data + 12, 0x80000000);
	sample_resign(b);
}

/* ---- head ---- */

/* The rest edit the head's body and sign it again: damage that only a hostile writer makes. */
static void put_body(struct buffer *b, struct buffer *body)
{
	struct buffer object = {0};

	sample_wrap(&object_head, body->data, body->len, &object);
	buffer_done(body);
	replace(b, object);
}

static void edit_u64(struct buffer *b, size_t at, uint64_t v)
{
	struct buffer body = {0};

	sample_unwrap(b, &body);
	put_le64(body.data + at, v);
	put_body(b, &body);
}

static void edit(struct buffer *b, size_t at, const void *bytes, size_t n)
{
	struct buffer body = {0};

	sample_unwrap(b, &body);
	memcpy(body.data + at, bytes, n);
	put_body(b, &body);
}

static void make_record_type(struct buffer *b, const struct good_files *good)
{
	(void)good;
	edit(b, CORE, "\x09", 1);
}

static void make_unused_field(struct buffer *b, const struct good_files *good)
{
	(void)good;
	edit_u64(b, CORE + VALUE, 7);
}

static void make_name_slash(struct buffer *b, const struct good_files *good)
{
	(void)good;
	edit(b, PSTREE + NAME, "../../root", 10);
}

static void make_name_dots(struct buffer *b, const struct good_files *good)
{
	(void)good;
	edit(b, EMPTY, "\x02\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0..", 22);
}

static void make_name_control(struct buffer *b, const struct good_files *good)
{
	(void)good;
	edit(b, PSTREE + NAME, "\033[2J", 4);
}

static void make_name_nul(struct buffer *b, const struct good_files *good)
{
	(void)good;
	edit(b, PSTREE + NAME + 3, "", 1);
}

static void make_name_twice(struct buffer *b, const struct good_files *good)
{
	(void)good;
	edit(b, PAGES_2 + NAME, "pages-1.img", 11);
}

static void make_file_large(struct buffer *b, const struct good_files *good)
{
	(void)good;
	edit_u64(b, PSTREE + LENGTH, HEAD_FILE_MAX + 1);
}

static void make_file_long(struct buffer *b, const struct good_files *good)
{
	(void)good;
	edit_u64(b, CORE + LENGTH, HEAD_FILE_MAX);
}

/* The header confirms the lie: it is found when the bytes do not come. */
static void make_file_lying(struct buffer *b, const struct good_files *good)
{
	(void)good;
	edit_u64(b, CORE + LENGTH, HEAD_FILE_MAX);
	put_le64(b->data + OBJECT_HEADER_RAW, OBJECT_RAW_MAX);
	sample_resign(b);
}

static void make_run_beyond(struct buffer *b, const struct good_files *good)
{
	(void)good;
	edit_u64(b, RUN_2 + VALUE, 72 * PAGE_BYTES);
}

static void make_run_order(struct buffer *b, const struct good_files *good)
{
	(void)good;
	edit_u64(b, RUN_2 + VALUE, 4 * PAGE_BYTES);
}

static void make_run_unaligned(struct buffer *b, const struct good_files *good)
{
	(void)good;
	edit_u64(b, RUN_1 + VALUE, 5 * PAGE_BYTES + 1);
}

static void make_run_stray(struct buffer *b, const struct good_files *good)
{
	(void)good;
	edit(b, RUN_1 + NAME, "pages-9.img", 11);
}

static void make_index_payload(struct buffer *b, const struct good_files *good)
{
	(void)good;
	edit(b, INDEX + 20 + 24 + 2 * 24, "\x9f\x86\x01", 4); /* 99999, of 2 pages */
}

static void make_index_missing(struct buffer *b, const struct good_files *good)
{
	struct buffer body = {0};

	(void)good;
	sample_unwrap(b, &body);
	memmove(body.data + INDEX, body.data + END, 20);
	body.len -= END - INDEX;
	put_le64(body.data + INDEX + VALUE, 8);
	put_body(b, &body);
}

static void make_record_count(struct buffer *b, const struct good_files *good)
{
	(void)good;
	edit_u64(b, END + VALUE, 8);
}

static void make_behind_end(struct buffer *b, const struct good_files *good)
{
	struct buffer body = {0};

	(void)good;
	sample_unwrap(b, &body);
	append(&body, "more", 4);
	put_body(b, &body);
}

/* A body that would make its reader allocate a window of 64 MiB. */
static void make_window(struct buffer *b, const struct good_files *good)
{
	struct buffer body = {0}, out = {0};
	ZSTD_CCtx *z = ZSTD_createCCtx();
	ZSTD_inBuffer in;
	ZSTD_outBuffer to;

	(void)good;
	sample_unwrap(b, &body);
	append(&out, b->data, OBJECT_HEADER_SIZE);
	if (buffer_reserve(&out, ZSTD_compressBound(body.len)) < 0)
		abort();
	in = (ZSTD_inBuffer){body.data, body.len, 0};
	to = (ZSTD_outBuffer){out.data + out.len, out.cap - out.len, 0};
	ZSTD_CCtx_setParameter(z, ZSTD_c_windowLog, 26);
	/* a first call that does not end keeps the content size out of the frame's header */
	ZSTD_compressStream2(z, &to, &in, ZSTD_e_continue);
	if (ZSTD_compressStream2(z, &to, &in, ZSTD_e_end) != 0)
		abort();
	ZSTD_freeCCtx(z);
	out.len += to.pos;
	sample_resign(&out);
	buffer_done(&body);
	replace(b, out);
}

/* ---- frame index and pages ---- */

static void make_index_pages(struct buffer *b, const struct good_files *good)
{
	(void)good;
	put_le64(b->data + 16, FRAME_PAGES_LIMIT + 1);
}

static void make_index_lying(struct buffer *b, const struct good_files *good)
{
	(void)good;
	put_le64(b->data + 16, FRAME_PAGES_LIMIT);
}

static void make_index_mask(struct buffer *b, const struct good_files *good)
{
	(void)good;
	b->data[24 + 2 * 24 + 4] |= 0x04; /* page 2 of 2 */
}

static void make_index_digest(struct buffer *b, const struct good_files *good)
{
	(void)good;
	memset(b->data + 24, 0, 4);
	memset(b->data + 28, 0xff, 4);
}

/* ---- touch ---- */

static void touch_body(struct buffer *b, struct buffer *body)
{
	struct buffer object = {0};

	sample_wrap(&object_touch, body->data, body->len, &object);
	buffer_done(body);
	replace(b, object);
}

/* Edits the descriptor at `at`, counted from the number of runs. */
static void touch_edit(struct buffer *b, size_t at, const void *bytes, size_t n)
{
	struct buffer body = {0};

	sample_unwrap(b, &body);
	memcpy(body.data + 4 + get_le32(body.data) + at, bytes, n);
	touch_body(b, &body);
}

static void make_touch_large(struct buffer *b, const struct good_files *good)
{
	(void)good;
	put_le64(b->data + OBJECT_HEADER_STORED, TOUCH_DESCRIPTOR_MAX + 1);
	digest_of(b->data, 96, b->data + 96, DIGEST_SIZE);
}

static void make_touch_bomb(struct buffer *b, const struct good_files *good)
{
	(void)good;
	put_le64(b->data + OBJECT_HEADER_RAW, TOUCH_DESCRIPTOR_MAX);
	digest_of(b->data, 96, b->data + 96, DIGEST_SIZE);
}

/* The runs' bytes start with 80 3 0 0 (page 40, 3 pages, 0 ms, no misses), then 71 1 0 0 (-36 pages
 * from 43). */
static void make_touch_twice(struct buffer *b, const struct good_files *good)
{
	(void)good;
	touch_edit(b, 16 + 4, "\x01", 1); /* page 42 */
}

static void make_touch_beyond(struct buffer *b, const struct good_files *good)
{
	(void)good;
	touch_edit(b, 16 + 1, "\x1e", 1); /* pages 40 to 69 */
}

static void make_touch_no_pages(struct buffer *b, const struct good_files *good)
{
	(void)good;
	touch_edit(b, 16 + 19, "\0", 1); /* the last run */
}

static void make_touch_count(struct buffer *b, const struct good_files *good)
{
	(void)good;
	touch_edit(b, 0, "\x04", 1);
}

static void make_touch_lying(struct buffer *b, const struct good_files *good)
{
	(void)good;
	touch_edit(b, 0, "\0\0\0\x40", 4);
}

static void make_touch_pages(struct buffer *b, const struct good_files *good)
{
	(void)good;
	touch_edit(b, 16 + 19, "\x01", 1); /* the last run */
}

static void make_touch_number(struct buffer *b, const struct good_files *good)
{
	(void)good;
	touch_edit(b, 16, "\xd0\x00", 2); /* 80 in two bytes */
}

static void make_touch_misses(struct buffer *b, const struct good_files *good)
{
	(void)good;
	touch_edit(b, 16 + 22, "\x82", 1); /* the last byte of the runs */
}

static void make_touch_old(struct buffer *b, const struct good_files *good)
{
	(void)good;
	put_le32(b->data + 8, 2);
	sample_resign(b);
}

static void make_touch_meta(struct buffer *b, const struct good_files *good)
{
	struct buffer body = {0};

	(void)good;
	sample_unwrap(b, &body);
	body.data[4] = '[';
	touch_body(b, &body);
}

static void make_touch_meta_type(struct buffer *b, const struct good_files *good)
{
	struct buffer body = {0};
	uint8_t *at;

	(void)good;
	sample_unwrap(b, &body);
	at = memmem(body.data, body.len, "\"scans\":17", 10);
	at[8] = '-'; /* "scans":-7 */
	touch_body(b, &body);
}

/* ---- manifest ---- */

/* Replaces `old` by `new` and signs again. */
static void say(struct buffer *b, const char *old, const char *new)
{
	struct buffer text = {0}, out = {0};
	char *at = memmem(b->data, b->len, old, strlen(old));

	if (!at)
		abort();
	append(&text, b->data, (size_t)(at - (char *)b->data));
	append(&text, new, strlen(new));
	at += strlen(old);
	append(&text, at, (size_t)((char *)b->data + b->len - at));
	if (sample_resign_manifest(text.data, text.len, &out) < 0)
		abort();
	buffer_done(&text);
	replace(b, out);
}

#define SAY(function, old, new)                                               \
	static void function(struct buffer *b, const struct good_files *good) \
	{                                                                     \
		(void)good;                                                   \
		say(b, old, new);                                             \
	}

SAY(make_manifest_newer, "\"version\":2", "\"version\":7")
SAY(make_manifest_older, "\"version\":2", "\"version\":1")
SAY(make_manifest_type, "\"seq\":12", "\"seq\":\"12\"")
SAY(make_manifest_range, "\"seq\":12", "\"seq\":0")
SAY(make_manifest_negative, "\"lazy_pages\":66", "\"lazy_pages\":-1")
SAY(make_manifest_other, "\"seq\":12", "\"seq\":13")
SAY(make_manifest_page_size, "\"page_size\":4096", "\"page_size\":65536")
SAY(make_manifest_sum, "\"lazy_pages\":56", "\"lazy_pages\":57")
SAY(make_manifest_bytes, "\"image_bytes\":282624", "\"image_bytes\":282625")
SAY(make_manifest_control, "redis-server", "\\u001b[2J")
SAY(make_manifest_long, "redis-server", "redis-server-that-is-long")
SAY(make_manifest_missing, "\"arch\":", "\"march\":")
SAY(make_manifest_tcp, "established", "maybe")
SAY(make_manifest_no_tasks, "\"tasks\":[", "\"tasks\":[],\"others\":[")

static void make_manifest_flip(struct buffer *b, const struct good_files *good)
{
	char *at = memmem(b->data, b->len, "1700000000", 10);

	(void)good;
	at[0] = '3';
}

static void make_manifest_spaces(struct buffer *b, const struct good_files *good)
{
	(void)good;
	b->data[b->len - 1] = ' ';
}

static void make_manifest_duplicate(struct buffer *b, const struct good_files *good)
{
	struct buffer out = {0};

	(void)good;
	append(&out, "{\"arch\":\"arm64\",", 16);
	append(&out, b->data + 1, b->len - 1);
	replace(b, out);
}

static void make_manifest_array(struct buffer *b, const struct good_files *good)
{
	(void)good;
	b->len = 0;
	append(b, "[]\n", 3);
}

const struct bad_file bad_files[] = {
	{"head-empty", make_empty, "head: cut off within the header at offset 0"},
	{"head-cut", make_cut, "head: cut off within the body at offset 598"},
	{"head-longer", make_longer, "head: trailing garbage at offset 1197"},
	{"head-magic", make_wrong_magic, "head: not a head object: wrong magic at offset 0"},
	{"head-header-flip", make_header_flip,
	 "head: digest of the header does not match at offset 96"},
	{"head-flip", make_flip, "head: digest of the body does not match at offset 128"},
	{"head-newer", make_newer, "head: written by a newer frem (format version 3) at offset 8"},
	{"head-flags", make_flags, "head: unknown flags 0x80000000 at offset 12"},
	{"head-record-type", make_record_type,
	 "head: unknown record type 9 at offset 70 of the body"},
	{"head-unused-field", make_unused_field,
	 "head: field not used by record type 1 is set at offset 70 of the body"},
	{"head-name-slash", make_name_slash,
	 "head: image file '../../root' holds a '/' at offset 0 of the body"},
	{"head-name-dots", make_name_dots,
	 "head: image file '..' is no file's name at offset 1100 of the body"},
	{"head-name-control", make_name_control,
	 "head: image file '\\x1b[2Jee.img' holds a control character or is not valid UTF-8 at offset 0 of the body"},
	{"head-name-nul", make_name_nul, "head: NUL in a file's name at offset 20 of the body"},
	{"head-name-twice", make_name_twice,
	 "head: image file 'pages-1.img' is named twice at offset 5287 of the body"},
	{"head-file-large", make_file_large,
	 "head: image file 'pstree.img' is larger than 1 GiB at offset 0 of the body"},
	{"head-file-long", make_file_long,
	 "head: 1073741824 bytes announced, 14208 left at offset 100 of the body"},
	{"head-file-lying", make_file_lying, "head: body ends early at offset 14308 of the body"},
	{"head-run-beyond", make_run_beyond,
	 "head: image file 'pages-1.img' has a run beyond its end at offset 5318 of the body"},
	{"head-run-order", make_run_order,
	 "head: image file 'pages-1.img' has a run that does not follow the one before at offset 5318 of the body"},
	{"head-run-unaligned", make_run_unaligned,
	 "head: image file 'pages-1.img' has a run that does not start at a page at offset 1160 of the body"},
	{"head-run-stray", make_run_stray,
	 "head: image file 'pages-9.img' has a run but is no sparse file at offset 1160 of the body"},
	{"head-index-payload", make_index_payload,
	 "head: frame index: payload of 99999 bytes is too large at offset 14264 of the body"},
	{"head-index-missing", make_index_missing,
	 "head: no frame index at offset 14172 of the body"},
	{"head-record-count", make_record_count,
	 "head: 8 records announced, 9 found at offset 14292 of the body"},
	{"head-behind-end", make_behind_end,
	 "head: body is longer than announced at offset 14309 of the body"},
	{"head-window", make_window,
	 "head: not decompressible (Frame requires too much memory for decoding) at offset 0 of the body"},
	{"index-cut", make_cut, "frame index: cut off within its 3 entries at offset 48"},
	{"index-longer", make_longer, "frame index: trailing garbage at offset 96"},
	{"index-pages", make_index_pages,
	 "frame index: 68719476737 pages are too many at offset 16"},
	{"index-lying", make_index_lying,
	 "frame index: cut off within its 2147483648 entries at offset 96"},
	{"index-mask", make_index_mask,
	 "frame index: zero page beyond the 2 of the frame at offset 76"},
	{"index-digest", make_index_digest,
	 "frame index: digest of no payload is not zero at offset 32"},
	{"pages-flip", make_flip,
	 "pages: frame 0 at offset 0: digest of the payload does not match"},
	{"touch-empty", make_empty, "touch: cut off within the header at offset 0"},
	{"touch-cut", make_cut, "touch: cut off within the body at offset 185"},
	{"touch-flip", make_flip, "touch: digest of the body does not match at offset 128"},
	{"touch-newer", make_newer,
	 "touch: written by a newer frem (format version 4) at offset 8"},
	{"touch-old", make_touch_old,
	 "touch: format version 2 is of an older frem and no longer read at offset 8"},
	{"touch-misses", make_touch_misses,
	 "touch: cut off within a run's misses at offset 242 of the descriptor"},
	{"touch-large", make_touch_large,
	 "touch: descriptor of 1073741825 bytes is too large at offset 16"},
	{"touch-bomb", make_touch_bomb,
	 "touch: descriptor of 1073741824 bytes is too large for 66 lazy pages at offset 24"},
	{"touch-twice", make_touch_twice,
	 "touch: run 1 names a page twice at offset 242 of the descriptor"},
	{"touch-beyond", make_touch_beyond,
	 "touch: run 0 is beyond the 66 lazy pages at offset 242 of the descriptor"},
	{"touch-no-pages", make_touch_no_pages,
	 "touch: run 4 has no pages at offset 242 of the descriptor"},
	{"touch-count", make_touch_count,
	 "touch: trailing garbage at offset 236 of the descriptor"},
	{"touch-lying", make_touch_lying,
	 "touch: 1073741824 runs in 23 bytes at offset 203 of the descriptor"},
	{"touch-pages", make_touch_pages,
	 "touch: frames of 9 pages for runs of 8 at offset 242 of the descriptor"},
	{"touch-number", make_touch_number,
	 "touch: a run's first page is not a number at offset 219 of the descriptor"},
	{"touch-meta", make_touch_meta,
	 "touch: description is not a JSON object at offset 4 of the descriptor"},
	{"touch-meta-type", make_touch_meta_type,
	 "touch: description: 'scans' is out of range at offset 4 of the descriptor"},
	{"manifest-empty", make_empty, "manifest: not valid JSON at offset 0"},
	{"manifest-cut", make_cut, "manifest: not valid JSON at offset 363"},
	{"manifest-longer", make_longer, "manifest: not valid JSON at offset 728"},
	{"manifest-flip", make_manifest_flip, "manifest: 'digest' does not match at offset 61"},
	{"manifest-spaces", make_manifest_spaces, "manifest: not in canonical form at offset 726"},
	{"manifest-duplicate", make_manifest_duplicate, "manifest: not valid JSON at offset 22"},
	{"manifest-array", make_manifest_array, "manifest: not a JSON object at offset 0"},
	{"manifest-newer", make_manifest_newer,
	 "manifest: written by a newer frem (format version 7) at offset 714"},
	{"manifest-older", make_manifest_older,
	 "manifest: of an older frem, and no longer read (format version 1) at offset 714"},
	{"manifest-type", make_manifest_type,
	 "manifest: 'seq' is not a whole number at offset 478"},
	{"manifest-range", make_manifest_range, "manifest: 'seq' is out of range at offset 478"},
	{"manifest-negative", make_manifest_negative,
	 "manifest: 'lazy_pages' is out of range at offset 319"},
	{"manifest-other", make_manifest_other,
	 "manifest: of another checkpoint, 'redis-7.0 größe' number 13 at offset 335"},
	{"manifest-page-size", make_manifest_page_size,
	 "manifest: 'page_size' is not 4096 at offset 362"},
	{"manifest-sum", make_manifest_sum,
	 "manifest: 'lazy_pages' is not the sum of the tasks' at offset 319"},
	{"manifest-bytes", make_manifest_bytes,
	 "manifest: 'image_bytes' is not that of its pages at offset 273"},
	{"manifest-control", make_manifest_control,
	 "manifest: 'comm' holds a control character at offset 497"},
	{"manifest-long", make_manifest_long, "manifest: 'comm' is too long at offset 497"},
	{"manifest-missing", make_manifest_missing, "manifest: 'arch' is missing at offset 0"},
	{"manifest-tcp", make_manifest_tcp,
	 "manifest: 'tcp' is neither \"close\" nor \"established\" at offset 694"},
	{"manifest-no-tasks", make_manifest_no_tasks,
	 "manifest: 'tasks' has too few or too many at offset 695"},
	{NULL, NULL, NULL},
};

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "format/manifest.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "format/frame.h"
#include "json.h"
#include "text.h"
#include "wire.h"

/* The canonical form: the digest is of it, and a manifest is stored in it. */
#define CANONICAL (JSON_COMPACT | JSON_SORT_KEYS)

#define BYTES_MAX (FRAME_PAGES_LIMIT * PAGE_BYTES)

static const char *const tcp_names[] = {
	[MANIFEST_TCP_CLOSE] = "close",
	[MANIFEST_TCP_ESTABLISHED] = "established",
};

/* What is being decoded; for messages. */
struct doc {
	const char *data;
	size_t n;
	struct frem_error *err;
};

void manifest_free(struct manifest *m)
{
	if (!m)
		return;
	free(m->tasks);
	free(m);
}

void manifest_digest(const void *data, size_t n, uint8_t out[DIGEST_SIZE])
{
	digest_of(data, n, out, DIGEST_SIZE);
}

/* ---- writing ---- */

static json_t *task_to_json(const struct manifest_task *t)
{
	char comm[sizeof(t->comm)];

	memcpy(comm, t->comm, sizeof(comm));
	comm[sizeof(comm) - 1] = '\0';
	text_make_plain(comm);
	return json_pack("{s:I, s:I, s:s, s:I, s:I}", "pid", (json_int_t)t->pid, "ppid",
			 (json_int_t)t->ppid, "comm", comm, "threads", (json_int_t)t->threads,
			 "lazy_pages", (json_int_t)t->lazy_pages);
}

static json_t *tasks_to_json(const struct manifest *m)
{
	_cleanup_json_ json_t *tasks = json_array();

	for (size_t i = 0; tasks && i < m->n_tasks; i++)
		if (json_array_append_new(tasks, task_to_json(&m->tasks[i])) < 0)
			return NULL;
	return TAKE_PTR(tasks);
}

static json_t *object_to_json(const struct manifest_object *o)
{
	char hex[DIGEST_HEX_SIZE];

	digest_to_hex(o->digest, hex);
	return json_pack("{s:I, s:s}", "size", (json_int_t)o->size, "digest", hex);
}

json_t *manifest_to_json(const struct manifest *m)
{
	return json_pack("{s:i, s:s, s:I, s:I, s:s, s:s, s:s, s:s, s:i, s:s, s:I, s:I, s:I, "
			 "s:o, s:o, s:o}",
			 "version", MANIFEST_VERSION, "name", m->id.name, "seq",
			 (json_int_t)m->id.seq, "created", (json_int_t)m->created, "frem_version",
			 m->frem_version, "criu_version", m->criu_version, "kernel", m->kernel,
			 "arch", m->arch, "page_size", (int)PAGE_BYTES, "tcp", tcp_names[m->tcp],
			 "image_bytes", (json_int_t)m->image_bytes, "lazy_pages",
			 (json_int_t)m->lazy_pages, "eager_pages", (json_int_t)m->eager_pages,
			 "head", object_to_json(&m->head), "pages", object_to_json(&m->pages),
			 "tasks", tasks_to_json(m));
}

static int digest_json(const json_t *root, char hex[DIGEST_HEX_SIZE], struct frem_error *err)
{
	_cleanup_free_ char *text = json_dumps(root, CANONICAL);
	uint8_t digest[DIGEST_SIZE];

	if (!text)
		return frem_oom(err);
	digest_of(text, strlen(text), digest, sizeof(digest));
	digest_to_hex(digest, hex);
	return 0;
}

/* Reads back what was just written: a manifest that no one could read is no commit record. */
static int check_written(const struct manifest *m, const char *text, size_t n,
			 struct frem_error *err)
{
	_cleanup_manifest_ struct manifest *again = NULL;
	int r = manifest_decode(text, n, &m->id, &again, err);

	if (r < 0 && err && err->code == FREM_DAMAGED)
		err->code = FREM_FAILED; /* nothing stored is damaged */
	return r;
}

int manifest_encode(const struct manifest *m, struct buffer *out, struct frem_error *err)
{
	_cleanup_buffer_ struct buffer bytes = {0};
	_cleanup_json_ json_t *root = manifest_to_json(m);
	_cleanup_free_ char *text = NULL;
	char hex[DIGEST_HEX_SIZE];
	int r;

	if (!root)
		return frem_fail(err, FREM_FAILED, 0, "manifest: not valid text");
	r = digest_json(root, hex, err);
	if (r < 0)
		return r;
	if (json_object_set_new(root, "digest", json_string(hex)) < 0)
		return frem_oom(err);
	text = json_dumps(root, CANONICAL);
	if (!text || buffer_append(&bytes, text, strlen(text)) < 0 ||
	    buffer_append(&bytes, "\n", 1) < 0)
		return frem_oom(err);
	r = check_written(m, (const char *)bytes.data, bytes.len, err);
	if (r < 0)
		return r;
	return buffer_append(out, bytes.data, bytes.len) < 0 ? frem_oom(err) : 0;
}

/* ---- reading ---- */

static int damaged(const struct doc *d, uint64_t offset, const char *what)
{
	return frem_fail(d->err, FREM_DAMAGED, 0, "manifest: %s at offset %" PRIu64, what, offset);
}

/* Where a member stands: the first place that looks like it. */
static uint64_t offset_of(const struct doc *d, const char *member)
{
	char key[64];
	const char *at;
	int n = snprintf(key, sizeof(key), "\"%s\":", member);

	at = memmem(d->data, d->n, key, (size_t)n);
	return at ? (uint64_t)(at - d->data) : 0;
}

static int damaged_member(const struct doc *d, const char *member, const char *what)
{
	return frem_fail(d->err, FREM_DAMAGED, 0, "manifest: '%s' %s at offset %" PRIu64, member,
			 what, offset_of(d, member));
}

/* The bytes must be the canonical form of what they say: so no bit of them is without meaning. */
static int check_canonical(const struct doc *d, const json_t *root)
{
	_cleanup_free_ char *text = json_dumps(root, CANONICAL);
	size_t n, same = 0;

	if (!text)
		return frem_oom(d->err);
	n = strlen(text);
	text[n++] = '\n'; /* in place of the NUL */
	while (same < n && same < d->n && text[same] == d->data[same])
		same++;
	if (same < n || same < d->n)
		return damaged(d, same, "not in canonical form");
	return 0;
}

/* Takes the digest out of root. */
static int check_digest(const struct doc *d, json_t *root)
{
	char hex[DIGEST_HEX_SIZE];
	json_t *digest = json_object_get(root, "digest");
	int r;

	if (!json_is_string(digest))
		return damaged_member(d, "digest", "is missing");
	digest = json_incref(digest);
	json_object_del(root, "digest");
	r = digest_json(root, hex, d->err);
	if (r == 0 && strcmp(hex, json_string_value(digest)) != 0)
		r = damaged_member(d, "digest", "does not match");
	json_decref(digest);
	return r;
}

static int check_version(const struct doc *d, const json_t *root)
{
	struct json_fault fault = {0};
	uint64_t version = json_get_number(root, "version", 1, INT64_MAX, &fault);

	if (fault.member)
		return damaged_member(d, fault.member, fault.what);
	if (version == MANIFEST_VERSION)
		return 0;
	return frem_fail(d->err, FREM_DAMAGED, 0,
			 "manifest: %s (format version %" PRIu64 ") at offset %" PRIu64,
			 version > MANIFEST_VERSION ? "written by a newer frem"
						    : "of an older frem, and no longer read",
			 version, offset_of(d, "version"));
}

/* Whether the digest is another one than that of today. */
static bool is_older(const json_t *root)
{
	const json_t *version = json_object_get(root, "version");

	return json_is_integer(version) && json_integer_value(version) < MANIFEST_VERSION;
}

static void get_object(const json_t *root, const char *member, struct manifest_object *ret,
		       struct json_fault *f)
{
	char hex[DIGEST_HEX_SIZE] = "";
	json_t *o = json_get_nested(root, member, JSON_OBJECT, f);

	if (!o)
		return;
	ret->size = json_get_number(o, "size", 0, BYTES_MAX, f);
	json_get_text(o, "digest", hex, sizeof(hex), f);
	if (digest_from_hex(hex, ret->digest) < 0)
		json_set_fault(f, "digest", "is not a digest");
	if (f->member)
		f->member = member; /* there are several sizes and digests */
}

static void get_task(const json_t *o, struct manifest_task *ret, struct json_fault *f)
{
	if (!json_is_object(o)) {
		json_set_fault(f, "tasks", "holds something else than objects");
		return;
	}
	ret->pid = (int32_t)json_get_number(o, "pid", 1, INT32_MAX, f);
	ret->ppid = (int32_t)json_get_number(o, "ppid", 0, INT32_MAX, f);
	json_get_text(o, "comm", ret->comm, sizeof(ret->comm), f);
	ret->threads = (uint32_t)json_get_number(o, "threads", 0, UINT32_MAX, f);
	ret->lazy_pages = json_get_number(o, "lazy_pages", 0, FRAME_PAGES_LIMIT, f);
}

/* Returns 0 or -ENOMEM. */
static int get_tasks(const json_t *root, struct manifest *m, struct json_fault *f)
{
	json_t *tasks = json_get_nested(root, "tasks", JSON_ARRAY, f);
	size_t n = json_array_size(tasks);

	if (!tasks)
		return 0;
	if (n < 1 || n > MANIFEST_TASKS) {
		json_set_fault(f, "tasks", "has too few or too many");
		return 0;
	}
	m->tasks = calloc(n, sizeof(*m->tasks));
	if (!m->tasks)
		return -ENOMEM;
	m->n_tasks = n;
	for (size_t i = 0; i < n; i++)
		get_task(json_array_get(tasks, i), &m->tasks[i], f);
	return 0;
}

static void get_tcp(const json_t *root, struct manifest *m, struct json_fault *f)
{
	char name[16] = "";

	json_get_text(root, "tcp", name, sizeof(name), f);
	for (size_t i = 0; i < sizeof(tcp_names) / sizeof(*tcp_names); i++) {
		if (strcmp(name, tcp_names[i]) == 0) {
			m->tcp = (enum manifest_tcp)i;
			return;
		}
	}
	json_set_fault(f, "tcp", "is neither \"close\" nor \"established\"");
}

static void get_numbers(const json_t *root, struct manifest *m, struct json_fault *f)
{
	if (json_get_number(root, "page_size", 0, UINT32_MAX, f) != PAGE_BYTES)
		json_set_fault(f, "page_size", "is not 4096");
	m->created = (int64_t)json_get_number(root, "created", 0, INT64_MAX, f);
	m->image_bytes = json_get_number(root, "image_bytes", 0, 2 * BYTES_MAX, f);
	m->lazy_pages = json_get_number(root, "lazy_pages", 0, FRAME_PAGES_LIMIT, f);
	m->eager_pages = json_get_number(root, "eager_pages", 0, FRAME_PAGES_LIMIT, f);
}

/* What the members say must fit together. */
static void check_sums(const struct manifest *m, struct json_fault *f)
{
	uint64_t lazy = 0;

	for (size_t i = 0; i < m->n_tasks; i++)
		lazy += m->tasks[i].lazy_pages; /* 2^16 tasks of 2^36 pages: no overflow */
	if (lazy != m->lazy_pages)
		json_set_fault(f, "lazy_pages", "is not the sum of the tasks'");
	if (m->image_bytes != (m->lazy_pages + m->eager_pages) * PAGE_BYTES)
		json_set_fault(f, "image_bytes", "is not that of its pages");
	if (m->pages.size > m->lazy_pages * PAGE_BYTES)
		json_set_fault(f, "pages", "is larger than its pages");
	if (m->head.size < OBJECT_HEADER_SIZE)
		json_set_fault(f, "head", "is smaller than a head");
}

static int get_manifest(const struct doc *d, const json_t *root, struct manifest *m)
{
	struct json_fault fault = {0}, *f = &fault;

	json_get_text(root, "name", m->id.name, sizeof(m->id.name), f);
	if (name_check(m->id.name, NULL) < 0)
		json_set_fault(f, "name", "is no job name");
	m->id.seq = (uint32_t)json_get_number(root, "seq", 1, NAME_SEQ_MAX, f);
	json_get_text(root, "frem_version", m->frem_version, sizeof(m->frem_version), f);
	json_get_text(root, "criu_version", m->criu_version, sizeof(m->criu_version), f);
	json_get_text(root, "kernel", m->kernel, sizeof(m->kernel), f);
	json_get_text(root, "arch", m->arch, sizeof(m->arch), f);
	get_numbers(root, m, f);
	get_tcp(root, m, f);
	get_object(root, "head", &m->head, f);
	get_object(root, "pages", &m->pages, f);
	if (get_tasks(root, m, f) < 0)
		return frem_oom(d->err);
	if (!fault.member)
		check_sums(m, f);
	return fault.member ? damaged_member(d, fault.member, fault.what) : 0;
}

/* The parsed text, with its digest checked and taken out. */
static int parse(const struct doc *d, json_t **ret)
{
	_cleanup_json_ json_t *root = NULL;
	json_error_t why;
	int r;

	if (d->n > MANIFEST_MAX)
		return damaged(d, MANIFEST_MAX, "more bytes than a manifest has");
	root = json_loadb(d->data, d->n, JSON_REJECT_DUPLICATES, &why);
	if (!root)
		return damaged(d, why.position > 0 ? (uint64_t)why.position : 0, "not valid JSON");
	if (!json_is_object(root))
		return damaged(d, 0, "not a JSON object");
	r = check_canonical(d, root);
	if (r == 0 && !is_older(root))
		r = check_digest(d, root);
	if (r == 0)
		r = check_version(d, root);
	if (r == 0)
		*ret = TAKE_PTR(root);
	return r;
}

int manifest_decode(const void *data, size_t n, const struct checkpoint_name *want,
		    struct manifest **ret, struct frem_error *err)
{
	const struct doc d = {.data = data, .n = n, .err = err};
	_cleanup_manifest_ struct manifest *m = NULL;
	_cleanup_json_ json_t *root = NULL;
	char quoted[TEXT_QUOTED_SIZE];
	int r;

	r = parse(&d, &root);
	if (r < 0)
		return r;
	m = calloc(1, sizeof(*m));
	if (!m)
		return frem_oom(err);
	r = get_manifest(&d, root, m);
	if (r < 0)
		return r;
	if (strcmp(m->id.name, want->name) != 0 || m->id.seq != want->seq)
		return frem_fail(err, FREM_DAMAGED, 0,
				 "manifest: of another checkpoint, %s number %" PRIu32
				 " at offset %" PRIu64,
				 text_quote(m->id.name, strlen(m->id.name), quoted), m->id.seq,
				 offset_of(&d, "name"));
	*ret = TAKE_PTR(m);
	return 0;
}

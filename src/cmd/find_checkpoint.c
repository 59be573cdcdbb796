/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "find_checkpoint.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buffer.h"

/* Read at first of a touch object: most descriptors fit, and then one round trip is enough. */
#define TOUCH_FIRST_READ (UINT64_C(64) << 10)

int checkpoint_open_store(const struct cmd_context *c, struct store **ret, struct frem_error *err)
{
	int r;

	if (!c->store)
		return frem_hint(err, frem_fail(err, FREM_USAGE, 0, "no store given"),
				 "name it with --store URL or in FREM_STORE: a directory, or "
				 "http://HOST:PORT as printed by 'frem serve'");
	r = store_open(c->store, ret, err);
	if (r == 0 && c->store_timeout_set)
		store_set_timeout(*ret, c->store_timeout_ms);
	return r;
}

void checkpoint_text(const struct checkpoint_name *n, char out[CHECKPOINT_TEXT_SIZE])
{
	if (n->seq)
		snprintf(out, CHECKPOINT_TEXT_SIZE, "%s@%u", n->name, n->seq);
	else
		snprintf(out, CHECKPOINT_TEXT_SIZE, "%s", n->name);
}

static int list_name(struct store *s, const struct checkpoint_name *n, struct store_list **ret,
		     struct frem_error *err)
{
	char prefix[NAME_KEY_SIZE];

	snprintf(prefix, sizeof(prefix), "%s/", n->name);
	return store_list(s, prefix, ret, err);
}

int checkpoint_latest(struct store *s, struct checkpoint_name *n, struct frem_error *err)
{
	_cleanup_store_list_ struct store_list *l = NULL;
	struct checkpoint_name k;
	const char *object;
	uint32_t latest = 0;
	int r;

	if (n->seq)
		return 0;
	r = list_name(s, n, &l, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < l->n; i++) {
		if (name_split_key(l->objects[i].key, &k, &object) < 0)
			continue;
		if (strcmp(object, OBJECT_MANIFEST) == 0 && k.seq > latest)
			latest = k.seq;
	}
	if (!latest) {
		frem_fail(err, FREM_NOT_FOUND, 0, "no checkpoint of '%s' in store '%s'", n->name,
			  store_url(s));
		return frem_hint(err, -ENOENT, "'frem list' shows those that are there");
	}
	n->seq = latest;
	return 0;
}

int checkpoint_next(struct store *s, struct checkpoint_name *n, struct frem_error *err)
{
	_cleanup_store_list_ struct store_list *l = NULL;
	struct checkpoint_name k;
	const char *object;
	uint32_t highest = 0;
	int r = list_name(s, n, &l, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < l->n; i++)
		if (name_split_key(l->objects[i].key, &k, &object) == 0 && k.seq > highest)
			highest = k.seq;
	if (highest >= NAME_SEQ_MAX)
		return frem_fail(err, FREM_FAILED, 0,
				 "'%s' has used up its checkpoint numbers in store '%s'", n->name,
				 store_url(s));
	n->seq = highest + 1;
	return 0;
}

int checkpoint_manifest(struct store *s, const struct checkpoint_name *n, struct manifest **ret,
			uint8_t digest[DIGEST_SIZE], struct frem_error *err)
{
	_cleanup_buffer_ struct buffer b = {0};
	char key[NAME_KEY_SIZE], text[CHECKPOINT_TEXT_SIZE];
	int r;

	checkpoint_text(n, text);
	name_key(n, OBJECT_MANIFEST, key);
	r = store_get(s, key, 0, STORE_WHOLE, MANIFEST_MAX, &b, err);
	if (r == -ENOENT) {
		frem_fail(err, FREM_NOT_FOUND, 0, "no checkpoint '%s' in store '%s'", text,
			  store_url(s));
		return frem_hint(err, -ENOENT, "'frem list %s' shows those that are there",
				 n->name);
	}
	if (r >= 0)
		r = manifest_decode(b.data, b.len, n, ret, err);
	if (r < 0)
		return frem_context(err, r, "checkpoint '%s'", text);
	if (digest)
		manifest_digest(b.data, b.len, digest);
	return 0;
}

/* Header and descriptor, no more, into b. -ENOENT where there is no touch object. */
static int read_descriptor(struct store *s, const char *key, struct buffer *b,
			   struct frem_error *err)
{
	uint64_t size;
	int r = store_get(s, key, 0, TOUCH_FIRST_READ, TOUCH_FIRST_READ, b, err);

	if (r < 0)
		return r;
	r = touch_measure(b->data, b->len, &size, err);
	if (r < 0)
		return r;
	if (size > b->len) {
		r = store_get(s, key, b->len, size - b->len, size - b->len, b, err);
		if (r < 0)
			return r;
	}
	if (size > b->len)
		return frem_fail(err, FREM_DAMAGED, 0, "touch: ends at offset %zu of %llu", b->len,
				 (unsigned long long)size);
	b->len = (size_t)size;
	return 0;
}

int checkpoint_touch(struct store *s, const struct checkpoint_name *n, const struct manifest *m,
		     const uint8_t digest[DIGEST_SIZE], struct touch_set **ret,
		     struct frem_error *err)
{
	_cleanup_touch_set_ struct touch_set *t = NULL;
	_cleanup_buffer_ struct buffer b = {0};
	char key[NAME_KEY_SIZE], text[CHECKPOINT_TEXT_SIZE];
	int r;

	checkpoint_text(n, text);
	name_key(n, OBJECT_TOUCH, key);
	r = read_descriptor(s, key, &b, err);
	if (r == -ENOENT) {
		frem_error_reset(err);
		*ret = NULL;
		return 0;
	}
	if (r >= 0)
		r = touch_decode(b.data, b.len, m->lazy_pages, &t, err);
	if (r >= 0 && !digest_equal(t->manifest, digest, DIGEST_SIZE))
		r = frem_fail(err, FREM_DAMAGED, 0, "touch: belongs to another manifest");
	if (r < 0)
		return frem_context(err, r, "checkpoint '%s'", text);
	*ret = TAKE_PTR(t);
	return 0;
}

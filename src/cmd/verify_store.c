/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "verify_store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "find_checkpoint.h"
#include "format/frame.h"
#include "format/head.h"
#include "format/manifest.h"
#include "format/touch.h"
#include "interrupt.h"
#include "inventory.h"
#include "ui.h"

#define WAIT_MS 200	  /* how soon a signal is looked at */
#define DAMAGED_FRAMES 16 /* of one object that are told one by one */

/* One checkpoint while it is verified. */
struct verify {
	struct store *store;
	const struct checkpoint_name *id;
	const struct verify_sink *sink;
	struct verify_totals *totals;
	char what[64 + CHECKPOINT_TEXT_SIZE]; /* for the progress line */
	struct manifest *manifest;
	uint8_t digest[DIGEST_SIZE];
	struct frame_index *index; /* of pages; NULL where the head is damaged */
	struct touch_set *touch;
};

static void tell(const struct verify *v, const char *object, int64_t frame, int64_t offset,
		 const struct frem_error *err)
{
	v->sink->damaged(v->sink->arg, object, frame, offset, err);
}

/* Damage is told and got over; anything else ends it. */
static int take_damage(const struct verify *v, const char *object, int r, struct frem_error *err)
{
	if (r >= 0 || err->code != FREM_DAMAGED)
		return r;
	tell(v, object, -1, -1, err);
	frem_error_reset(err);
	return 0;
}

/* ---- an object that streams through ---- */

/* The digest of all that comes, and the frames in it as soon as each is whole. */
struct stream {
	struct verify *v;
	const char *object;
	const struct frame_index *index; /* NULL: only the digest is looked at */
	uint64_t base;			 /* where the frames start in the object */
	struct frame_codec *codec;
	uint8_t *stored, *raw;
	size_t have;  /* bytes of the frame under way */
	size_t frame; /* its number */
	unsigned bad;
	struct digest_stream digest;
	uint64_t bytes, total;
	bool over;
	int result;
	struct frem_error err;
};

static void check_frame(struct stream *t)
{
	struct frem_error err = {0};
	size_t i = t->frame++;

	t->v->totals->frames++;
	if (frame_decode_nth(t->codec, t->index, i, t->object, t->base, t->stored, t->have, t->raw,
			     &err) < 0 &&
	    ++t->bad <= DAMAGED_FRAMES)
		tell(t->v, t->object, (int64_t)i, (int64_t)(t->base + t->index->offsets[i]), &err);
	t->have = 0;
}

static void take_frames(struct stream *t, const uint8_t *data, size_t n)
{
	while (t->frame < t->index->frames) {
		size_t wanted = t->index->entries[t->frame].stored - t->have;
		size_t now = n < wanted ? n : wanted;

		if (now)
			memcpy(t->stored + t->have, data, now);
		t->have += now;
		data += now;
		n -= now;
		if (now < wanted)
			return;
		check_frame(t);
	}
}

static int take_data(void *arg, const void *data, size_t n)
{
	struct stream *t = arg;

	digest_update(&t->digest, data, n);
	t->bytes += n;
	t->v->totals->bytes += n;
	if (t->index)
		take_frames(t, data, n);
	progress_report(ui_progress(), t->v->what, t->bytes, t->total);
	return 0;
}

static void stream_over(void *arg, int r, const struct frem_error *err)
{
	struct stream *t = arg;

	t->over = true;
	t->result = r;
	if (r < 0 && err)
		t->err = *err;
}

static int run_stream(struct stream *t, uint64_t offset, struct frem_error *err)
{
	_cleanup_fetcher_ struct fetcher *f = NULL;
	char key[NAME_KEY_SIZE];
	struct fetch_request req = {
		.key = key,
		.offset = offset,
		.len = t->total,
		.data = take_data,
		.done = stream_over,
		.arg = t,
	};
	int r = fetcher_new(t->v->store, &f, err);

	name_key(t->v->id, t->object, key);
	if (r == 0)
		r = fetcher_start(f, &req, NULL, err);
	while (r == 0 && !t->over) {
		r = interrupt_check(err);
		if (r == 0)
			r = fetcher_run(f, NULL, 0, WAIT_MS, err);
	}
	if (r == 0 && t->result < 0) {
		*err = t->err;
		r = t->result;
	}
	return r;
}

/* Bytes [offset, offset + n) of an object, which end with the frames of the index. *ret: whether
 * it was all there, its digest is in t then. */
static int stream_object(struct stream *t, uint64_t offset, uint64_t n, struct frem_error *err)
{
	_cleanup_frame_codec_ struct frame_codec *codec = NULL;
	_cleanup_free_ uint8_t *room = malloc(2 * (size_t)FRAME_RAW_MAX);
	int r = room ? frame_codec_new(1, &codec, err) : frem_oom(err);

	if (r < 0)
		return r;
	t->codec = codec;
	t->stored = room;
	t->raw = room + FRAME_RAW_MAX;
	t->total = n;
	t->v->totals->objects++;
	digest_start(&t->digest);
	if (t->index)
		take_frames(t, NULL, 0); /* frames of zeros have no bytes */
	return n ? run_stream(t, offset, err) : 0;
}

static void tell_many(const struct stream *t)
{
	struct frem_error err = {0};

	if (t->bad <= DAMAGED_FRAMES)
		return;
	frem_fail(&err, FREM_DAMAGED, 0, "%s: %u more of %zu frames", t->object,
		  t->bad - DAMAGED_FRAMES, t->index->frames);
	tell(t->v, t->object, -1, -1, &err);
}

/* ---- the objects ---- */

static int keep_index(void *arg, struct frame_index *x, struct frem_error *err)
{
	struct verify *v = arg;

	(void)err;
	frame_index_free(v->index);
	v->index = x;
	return 0;
}

/* The listing knows first where an object is missing or not as long as it was. */
static int check_size(const char *object, uint64_t is, uint64_t wanted, struct frem_error *err)
{
	if (is == INVENTORY_NONE)
		return frem_fail(err, FREM_DAMAGED, 0, "%s: it is missing", object);
	if (is != wanted)
		return frem_fail(err, FREM_DAMAGED, 0, "%s: %" PRIu64 " bytes, not %" PRIu64,
				 object, is, wanted);
	return 0;
}

static int read_head(struct verify *v, uint64_t size, struct frem_error *err)
{
	const struct manifest_object *wanted = &v->manifest->head;
	const struct head_sink sink = {.index = keep_index, .arg = v};
	_cleanup_buffer_ struct buffer b = {0};
	uint8_t digest[DIGEST_SIZE];
	char key[NAME_KEY_SIZE];
	int r = check_size(OBJECT_HEAD, size, wanted->size, err);

	if (r < 0)
		return r;
	name_key(v->id, OBJECT_HEAD, key);
	r = store_get(v->store, key, 0, STORE_WHOLE, wanted->size, &b, err);
	if (r < 0)
		return r;
	v->totals->objects++;
	v->totals->bytes += b.len;
	digest_of(b.data, b.len, digest, DIGEST_SIZE);
	r = head_read(b.data, b.len, &sink, err);
	if (r == 0 && !digest_equal(digest, wanted->digest, DIGEST_SIZE))
		r = frem_fail(err, FREM_DAMAGED, 0, "head: its digest is not the manifest's");
	if (r == 0 && (!v->index || v->index->pages != v->manifest->lazy_pages ||
		       v->index->offsets[v->index->frames] != v->manifest->pages.size))
		r = frem_fail(err, FREM_DAMAGED, 0, "head: its index is not that of the pages");
	if (r < 0) {
		frame_index_free(v->index);
		v->index = NULL;
	}
	return r;
}

static int read_pages(struct verify *v, uint64_t size, struct frem_error *err)
{
	const struct manifest_object *wanted = &v->manifest->pages;
	struct stream t = {.v = v, .object = OBJECT_PAGES, .index = v->index};
	uint8_t digest[DIGEST_SIZE];
	int r = check_size(OBJECT_PAGES, size, wanted->size, err);

	if (r == 0)
		r = stream_object(&t, 0, wanted->size, err);
	if (r < 0)
		return r;
	tell_many(&t);
	digest_finish(&t.digest, digest);
	if (!t.bad && !digest_equal(digest, wanted->digest, DIGEST_SIZE))
		r = frem_fail(err, FREM_DAMAGED, 0, "pages: their digest is not the manifest's");
	return r;
}

static int read_touch(struct verify *v, uint64_t size, struct frem_error *err)
{
	struct stream t = {.v = v, .object = OBJECT_TOUCH};
	uint64_t frames;
	int r = checkpoint_touch(v->store, v->id, v->manifest, v->digest, &v->touch, err);

	if (r < 0 || !v->touch)
		return r;
	t.index = v->touch->index;
	t.base = v->touch->frames_offset;
	frames = t.index->offsets[t.index->frames];
	v->totals->bytes += t.base;
	/* a restart may have put another one in its place since it was listed */
	if (size < t.base + frames)
		r = check_size(OBJECT_TOUCH, size, t.base + frames, err);
	if (r == 0)
		r = stream_object(&t, t.base, frames, err);
	if (r == 0)
		tell_many(&t);
	return r;
}

static void set_what(struct verify *v, const char *object)
{
	snprintf(v->what, sizeof(v->what), "verifying %s@%u %s", v->id->name, v->id->seq, object);
	progress_report(ui_progress(), v->what, 0, 0);
}

static int read_objects(struct verify *v, struct frem_error *err)
{
	_cleanup_inventory_ struct inventory *listed = NULL;
	struct inventory_entry none = {
		.head = INVENTORY_NONE, .pages = INVENTORY_NONE, .touch = INVENTORY_NONE};
	const struct inventory_entry *e = &none;
	int r = inventory_read(v->store, v->id, &listed, err);

	if (r == 0 && listed->n)
		e = &listed->entries[0];
	if (r == 0) {
		set_what(v, OBJECT_HEAD);
		r = take_damage(v, OBJECT_HEAD, read_head(v, e->head, err), err);
	}
	if (r == 0) {
		set_what(v, OBJECT_PAGES);
		r = take_damage(v, OBJECT_PAGES, read_pages(v, e->pages, err), err);
	}
	if (r == 0 && e->touch != INVENTORY_NONE) {
		set_what(v, OBJECT_TOUCH);
		r = take_damage(v, OBJECT_TOUCH, read_touch(v, e->touch, err), err);
	}
	return r;
}

int verify_checkpoint(struct store *s, const struct checkpoint_name *id,
		      const struct verify_sink *sink, struct verify_totals *ret,
		      struct frem_error *err)
{
	struct verify v = {.store = s, .id = id, .sink = sink, .totals = ret};
	int r;

	set_what(&v, OBJECT_MANIFEST);
	ret->objects++;
	r = checkpoint_manifest(s, id, &v.manifest, v.digest, err);
	if (r == 0)
		r = read_objects(&v, err);
	else
		r = take_damage(&v, OBJECT_MANIFEST, r, err);
	ui_progress_done();
	manifest_free(v.manifest);
	frame_index_free(v.index);
	touch_set_free(v.touch);
	return r;
}

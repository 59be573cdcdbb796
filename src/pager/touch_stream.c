/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "touch_stream.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

/* Bytes that are not worth a request to skip them. */
#define SKIP_LEAST (UINT64_C(256) << 10)
/* Allowed at first: more than fills a link while nothing is known about it. */
#define FIRST_LIMIT (UINT64_C(4) << 20)
/* Allowed and not yet here, in budgets: bytes come in order, and may wait for others. */
#define AHEAD_BUDGETS 4

struct touch_stream {
	struct touch_stream_options o;
	char key[NAME_KEY_SIZE];
	struct fetch *fetch; /* NULL: none under way */
	struct buffer in;    /* received, not yet used */
	uint64_t got;	     /* the object is received up to here */
	uint64_t limit;	     /* that may be asked for */
	struct touch_set *set;
	size_t next;  /* frame */
	bool looked;  /* at what can be skipped */
	bool arrived; /* the whole object is here */
	bool ended;
	char notice[512];
};

static int on_data(void *arg, const void *data, size_t n)
{
	struct touch_stream *t = arg;

	*t->o.bytes += n;
	t->got += n;
	return buffer_append(&t->in, data, n);
}

static void end_early(struct touch_stream *t, const char *why)
{
	if (t->fetch)
		fetcher_cancel(t->o.fetcher, t->fetch);
	t->fetch = NULL;
	t->ended = true;
	buffer_done(&t->in);
	if (why)
		snprintf(t->notice, sizeof(t->notice),
			 "the touch set of '%s@%" PRIu32 "' is not used: %.300s", t->o.id->name,
			 t->o.id->seq, why);
}

static void on_done(void *arg, int r, const struct frem_error *err)
{
	struct touch_stream *t = arg;

	t->fetch = NULL;
	if (r == 0) {
		t->arrived = true;
	} else if (r == -ENOENT && t->got == 0) {
		log_info("'%s' has no touch set: %s", t->key, err->text);
		end_early(t, NULL);
	} else {
		end_early(t, err->text);
	}
}

static int begin(struct touch_stream *t, uint64_t offset, struct frem_error *err)
{
	struct fetch_request req = {.key = t->key,
				    .offset = offset,
				    .len = STORE_WHOLE,
				    .data = on_data,
				    .done = on_done,
				    .arg = t,
				    .limit = offset + FIRST_LIMIT};

	t->got = offset;
	t->limit = req.limit;
	return fetcher_start(t->o.fetcher, &req, &t->fetch, err);
}

int touch_stream_start(const struct touch_stream_options *o, struct touch_stream **ret,
		       struct frem_error *err)
{
	_cleanup_touch_stream_ struct touch_stream *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return frem_oom(err);
	t->o = *o;
	name_key(o->id, OBJECT_TOUCH, t->key);
	r = begin(t, 0, err);
	if (r == 0)
		*ret = TAKE_PTR(t);
	return r;
}

void touch_stream_free(struct touch_stream *t)
{
	if (!t)
		return;
	if (t->fetch)
		fetcher_cancel(t->o.fetcher, t->fetch);
	buffer_done(&t->in);
	touch_set_free(t->set);
	free(t);
}

static void use(struct touch_stream *t, size_t n)
{
	t->in.len -= n;
	if (n && t->in.len)
		memmove(t->in.data, t->in.data + n, t->in.len);
}

/* Returns 1 once the descriptor is there and checked, 0 before, or -errno. */
static int take_descriptor(struct touch_stream *t, const struct loaded *l, struct frem_error *err)
{
	struct touch_set *set = NULL;
	uint64_t size;
	int r;

	if (t->in.len < TOUCH_HEADER_SIZE)
		return t->arrived ? frem_fail(err, FREM_DAMAGED, 0, "touch: ends at offset %zu",
					      t->in.len)
				  : 0;
	r = touch_measure(t->in.data, t->in.len, &size, err);
	if (r < 0)
		return r;
	if (t->in.len < size)
		return t->arrived ? frem_fail(err, FREM_DAMAGED, 0, "touch: ends at offset %zu",
					      t->in.len)
				  : 0;
	r = touch_decode(t->in.data, (size_t)size, l->manifest->lazy_pages, &set, err);
	if (r < 0)
		return r;
	if (!digest_equal(set->manifest, l->digest, DIGEST_SIZE)) {
		touch_set_free(set);
		return frem_fail(err, FREM_DAMAGED, 0, "touch: belongs to another checkpoint");
	}
	t->set = set;
	use(t, (size_t)size);
	return 1;
}

/* Goes on with the first frame that is of use, where that saves something. */
static int skip(struct touch_stream *t, struct frem_error *err)
{
	const struct frame_index *x = t->set->index;
	size_t first = t->o.first ? t->o.first(t->o.arg, t->set) : 0;

	if (x->offsets[first] < t->in.len + SKIP_LEAST)
		return 0;
	if (t->fetch)
		fetcher_cancel(t->o.fetcher, t->fetch);
	t->fetch = NULL;
	t->arrived = false;
	buffer_done(&t->in);
	t->next = first;
	return first < x->frames ? begin(t, t->set->frames_offset + x->offsets[first], err) : 0;
}

static int take_frames(struct touch_stream *t)
{
	const struct frame_index *x = t->set->index;
	size_t used = 0;

	while (t->next < x->frames && t->in.len - used >= x->entries[t->next].stored) {
		size_t n = x->entries[t->next].stored;
		struct item *i = item_new(ITEM_TOUCH, t->next, t->in.data + used, n);

		if (!i)
			return -ENOMEM;
		TAILQ_INSERT_TAIL(t->o.arrived, i, link);
		used += n;
		t->next++;
	}
	use(t, used);
	return 0;
}

int touch_stream_step(struct touch_stream *t, const struct loaded *l, struct frem_error *err)
{
	struct frem_error why;
	int r = 1;

	if (t->ended || !l)
		return 0;
	if (!t->set)
		r = take_descriptor(t, l, &why);
	if (r < 0)
		end_early(t, why.text);
	if (r <= 0)
		return 0;
	if (!t->looked) {
		t->looked = true;
		r = skip(t, err);
		if (r < 0)
			return r;
	}
	if (take_frames(t) < 0)
		return frem_oom(err);
	if (t->next == t->set->index->frames)
		end_early(t, NULL);
	else if (t->arrived)
		end_early(t, "touch: ends too soon");
	return 0;
}

static uint64_t size_of(const struct touch_stream *t)
{
	const struct frame_index *x = t->set ? t->set->index : NULL;

	return x ? t->set->frames_offset + x->offsets[x->frames] : STORE_WHOLE;
}

bool touch_stream_more(struct touch_stream *t, const struct fetcher_stats *s)
{
	if (!t->fetch || t->limit >= size_of(t) || t->limit - t->got > AHEAD_BUDGETS * s->budget)
		return false;
	t->limit += s->request;
	fetcher_allow(t->o.fetcher, t->fetch, t->limit);
	return true;
}

const struct touch_set *touch_stream_set(const struct touch_stream *t)
{
	return t->set;
}

bool touch_stream_ended(const struct touch_stream *t)
{
	return t->ended;
}

size_t touch_stream_frames(const struct touch_stream *t)
{
	return t->ended ? t->next : t->set ? t->set->index->frames : 0;
}

bool touch_stream_notice(struct touch_stream *t, char *out, size_t size)
{
	if (!t->notice[0])
		return false;
	snprintf(out, size, "%s", t->notice);
	t->notice[0] = '\0';
	return true;
}

bool touch_stream_is_coming(const struct touch_stream *t, size_t frame, uint64_t *ret_ahead)
{
	const struct frame_index *x = t->set ? t->set->index : NULL;

	if (t->ended || !x || frame < t->next)
		return false;
	*ret_ahead = x->offsets[frame + 1] - x->offsets[t->next];
	*ret_ahead -= t->in.len < *ret_ahead ? t->in.len : *ret_ahead;
	return true;
}

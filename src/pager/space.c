/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "space.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "format/frame.h"

struct extent {
	uint64_t address;
	uint64_t pages;
	uint64_t first;
};

/* Extents sorted by one of their two keys. */
struct extents {
	struct extent *e;
	size_t n, cap;
	bool by_number;
};

struct space {
	struct extents at;    /* by address */
	struct extents named; /* the same ones, by page number */
	uint64_t base, pages; /* numbers of the bits in settled */
	uint64_t left;
	uint64_t *settled;
	space_settled_fn fn;
	void *arg;
};

static uint64_t key_of(const struct extents *x, const struct extent *e)
{
	return x->by_number ? e->first : e->address;
}

/* How far an extent reaches, in the unit of its key. */
static uint64_t key_end(const struct extents *x, const struct extent *e)
{
	return x->by_number ? e->first + e->pages : e->address + e->pages * PAGE_BYTES;
}

/* Index of the first extent that ends behind key. */
static size_t seek(const struct extents *x, uint64_t key)
{
	size_t low = 0, high = x->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (key_end(x, &x->e[mid]) <= key)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static const struct extent *lookup(const struct extents *x, uint64_t key)
{
	size_t i = seek(x, key);

	return i < x->n && key_of(x, &x->e[i]) <= key ? &x->e[i] : NULL;
}

static int reserve(struct extents *x, size_t more)
{
	size_t want = x->cap ? x->cap : 16;
	struct extent *e;

	if (more > SPACE_EXTENTS_MAX || x->n > SPACE_EXTENTS_MAX - more)
		return -ENOMEM;
	while (want < x->n + more)
		want *= 2;
	if (want == x->cap)
		return 0;
	e = realloc(x->e, want * sizeof(*e));
	if (!e)
		return -ENOMEM;
	x->e = e;
	x->cap = want;
	return 0;
}

/* Room must have been reserved. */
static void insert(struct extents *x, const struct extent *e)
{
	size_t i = seek(x, key_of(x, e));

	memmove(&x->e[i + 1], &x->e[i], (x->n - i) * sizeof(*x->e));
	x->e[i] = *e;
	x->n++;
}

/* Cuts [start, end) of keys out; room for one more extent must have been reserved. */
static void cut(struct extents *x, uint64_t start, uint64_t end)
{
	uint64_t unit = x->by_number ? 1 : PAGE_BYTES;
	size_t i = seek(x, start), gone = i;
	struct extent tail = {0};

	if (i < x->n && key_of(x, &x->e[i]) < start) {
		struct extent *e = &x->e[i];
		uint64_t keep = (start - key_of(x, e)) / unit;

		if (key_end(x, e) > end) {
			uint64_t skip = (end - key_of(x, e)) / unit;

			tail = (struct extent){e->address + skip * PAGE_BYTES, e->pages - skip,
					       e->first + skip};
		}
		e->pages = keep;
		gone = ++i;
		if (tail.pages) {
			insert(x, &tail);
			return;
		}
	}
	while (gone < x->n && key_end(x, &x->e[gone]) <= end)
		gone++;
	if (gone < x->n && key_of(x, &x->e[gone]) < end) {
		struct extent *e = &x->e[gone];
		uint64_t skip = (end - key_of(x, e)) / unit;

		*e = (struct extent){e->address + skip * PAGE_BYTES, e->pages - skip,
				     e->first + skip};
	}
	memmove(&x->e[i], &x->e[gone], (x->n - gone) * sizeof(*x->e));
	x->n -= gone - i;
}

static int new_empty(uint64_t base, uint64_t pages, size_t extents, struct space **ret,
		     struct frem_error *err)
{
	_cleanup_space_ struct space *s = NULL;

	if (pages > FRAME_PAGES_LIMIT)
		return frem_fail(err, FREM_DAMAGED, 0, "too many pages in one task");
	s = calloc(1, sizeof(*s));
	if (!s)
		return frem_oom(err);
	s->base = base;
	s->pages = pages;
	s->named.by_number = true;
	s->settled = calloc((size_t)(pages / 64 + 1), sizeof(*s->settled));
	if (!s->settled || reserve(&s->at, extents + 1) < 0 || reserve(&s->named, extents + 1) < 0)
		return frem_oom(err);
	*ret = TAKE_PTR(s);
	return 0;
}

int space_new(const struct image_task *t, struct space **ret, struct frem_error *err)
{
	struct space *s;
	int r = new_empty(t->first, t->lazy_pages, t->n_extents, &s, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < t->n_extents; i++) {
		const struct image_extent *x = &t->extents[i];
		struct extent e = {x->address, x->pages, x->first};

		insert(&s->at, &e);
		insert(&s->named, &e);
	}
	s->left = t->lazy_pages;
	*ret = s;
	return 0;
}

int space_clone(const struct space *s, struct space **ret, struct frem_error *err)
{
	struct space *c;
	int r = new_empty(s->base, s->pages, s->at.n, &c, err);

	if (r < 0)
		return r;
	memcpy(c->at.e, s->at.e, s->at.n * sizeof(*s->at.e));
	memcpy(c->named.e, s->named.e, s->named.n * sizeof(*s->named.e));
	c->at.n = s->at.n;
	c->named.n = s->named.n;
	memcpy(c->settled, s->settled, (size_t)(s->pages / 64 + 1) * sizeof(*s->settled));
	c->left = s->left;
	*ret = c;
	return 0;
}

void space_free(struct space *s)
{
	if (!s)
		return;
	free(s->at.e);
	free(s->named.e);
	free(s->settled);
	free(s);
}

void space_on_settled(struct space *s, space_settled_fn fn, void *arg)
{
	s->fn = fn;
	s->arg = arg;
}

void space_range(const struct space *s, uint64_t *ret_first, uint64_t *ret_pages)
{
	*ret_first = s->base;
	*ret_pages = s->pages;
}

uint64_t space_left(const struct space *s)
{
	return s->left;
}

bool space_find(const struct space *s, uint64_t address, uint64_t *ret_number)
{
	const struct extent *e = lookup(&s->at, address);

	if (!e)
		return false;
	*ret_number = e->first + (address - e->address) / PAGE_BYTES;
	return true;
}

bool space_locate(const struct space *s, uint64_t number, uint64_t *ret_address,
		  uint64_t *ret_pages)
{
	const struct extent *e = lookup(&s->named, number);

	if (!e)
		return false;
	*ret_address = e->address + (number - e->first) * PAGE_BYTES;
	*ret_pages = e->first + e->pages - number;
	return true;
}

static bool is_settled(const struct space *s, uint64_t number)
{
	uint64_t bit = number - s->base;

	return s->settled[bit / 64] >> bit % 64 & 1;
}

bool space_wants(const struct space *s, uint64_t number)
{
	return number >= s->base && number - s->base < s->pages && !is_settled(s, number);
}

bool space_wants_any(const struct space *s, uint64_t first, uint64_t pages)
{
	uint64_t end = first + pages;

	if (s->left == 0)
		return false;
	if (first < s->base)
		first = s->base;
	if (end > s->base + s->pages)
		end = s->base + s->pages;
	for (; first < end; first++)
		if (!is_settled(s, first))
			return true;
	return false;
}

void space_settle(struct space *s, uint64_t first, uint64_t pages)
{
	uint64_t end = first + pages, run = first;

	for (uint64_t i = first; i < end; i++) {
		uint64_t bit = i - s->base;

		if (!is_settled(s, i)) {
			s->settled[bit / 64] |= UINT64_C(1) << bit % 64;
			s->left--;
			continue;
		}
		if (s->fn && i > run)
			s->fn(s->arg, run, i - run);
		run = i + 1;
	}
	if (s->fn && end > run)
		s->fn(s->arg, run, end - run);
}

int space_drop(struct space *s, uint64_t start, uint64_t end, struct frem_error *err)
{
	for (;;) {
		size_t i = seek(&s->at, start);
		uint64_t from, to, first;
		struct extent e;

		if (i == s->at.n || s->at.e[i].address >= end)
			return 0;
		if (reserve(&s->at, 1) < 0 || reserve(&s->named, 1) < 0)
			return frem_oom(err);
		e = s->at.e[i];
		from = e.address > start ? e.address : start;
		to = key_end(&s->at, &e) < end ? key_end(&s->at, &e) : end;
		first = e.first + (from - e.address) / PAGE_BYTES;
		cut(&s->at, from, to);
		cut(&s->named, first, first + (to - from) / PAGE_BYTES);
		space_settle(s, first, (to - from) / PAGE_BYTES);
	}
}

/* Takes the extents in [from, from + len) out of the map. */
static int detach(struct space *s, uint64_t from, uint64_t len, struct extents *out)
{
	uint64_t end = from + len;

	for (;;) {
		size_t i = seek(&s->at, from);
		uint64_t start, stop, first;
		struct extent e;

		if (i == s->at.n || s->at.e[i].address >= end)
			return 0;
		if (reserve(&s->at, 1) < 0 || reserve(&s->named, 1) < 0 || reserve(out, 1) < 0)
			return -ENOMEM;
		e = s->at.e[i];
		start = e.address > from ? e.address : from;
		stop = key_end(&s->at, &e) < end ? key_end(&s->at, &e) : end;
		first = e.first + (start - e.address) / PAGE_BYTES;
		cut(&s->at, start, stop);
		cut(&s->named, first, first + (stop - start) / PAGE_BYTES);
		out->e[out->n++] = (struct extent){start, (stop - start) / PAGE_BYTES, first};
	}
}

int space_move(struct space *s, uint64_t from, uint64_t to, uint64_t len, struct frem_error *err)
{
	struct extents moved = {0};
	int r = detach(s, from, len, &moved);

	if (r == 0)
		r = space_drop(s, to, to + len, err);
	if (r == 0 && (reserve(&s->at, moved.n) < 0 || reserve(&s->named, moved.n) < 0))
		r = -ENOMEM;
	for (size_t i = 0; r == 0 && i < moved.n; i++) {
		moved.e[i].address = moved.e[i].address - from + to;
		insert(&s->at, &moved.e[i]);
		insert(&s->named, &moved.e[i]);
	}
	free(moved.e);
	return r < 0 ? frem_oom(err) : 0;
}

void space_end(struct space *s)
{
	s->at.n = s->named.n = 0;
	space_settle(s, s->base, s->pages);
}

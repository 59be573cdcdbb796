/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "space.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "extents.h"
#include "format/frame.h"

struct space {
	struct extents at;    /* by address */
	struct extents named; /* the same ones, by page number */
	uint64_t base, pages; /* numbers of the bits in settled */
	uint64_t left;
	uint64_t *settled;
	uint64_t *own; /* where that is no one else's */
	space_settled_fn fn;
	void *arg;
};

static int new_empty(uint64_t base, uint64_t pages, struct space **ret, struct frem_error *err)
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
	s->settled = s->own = calloc(space_words(s), sizeof(*s->settled));
	if (!s->settled)
		return frem_oom(err);
	*ret = TAKE_PTR(s);
	return 0;
}

/* Room for a split was not found: the map is of no use any more. */
static int insert(struct space *s, const struct extent *e, struct frem_error *err)
{
	if (extents_insert(&s->at, e) < 0 || extents_insert(&s->named, e) < 0)
		return frem_oom(err);
	return 0;
}

int space_new(const struct image_task *t, struct space **ret, struct frem_error *err)
{
	_cleanup_space_ struct space *s = NULL;
	int r = new_empty(t->first, t->lazy_pages, &s, err);

	for (size_t i = 0; i < t->n_extents && r == 0; i++) {
		const struct image_extent *x = &t->extents[i];

		r = insert(s, &(struct extent){x->address, x->pages, x->first}, err);
	}
	if (r < 0)
		return r;
	s->left = t->lazy_pages;
	*ret = TAKE_PTR(s);
	return 0;
}

int space_clone(const struct space *s, struct space **ret, struct frem_error *err)
{
	_cleanup_space_ struct space *c = NULL;
	int r = new_empty(s->base, s->pages, &c, err);

	if (r < 0)
		return r;
	if (extents_copy(&s->at, &c->at) < 0 || extents_copy(&s->named, &c->named) < 0)
		return frem_oom(err);
	memcpy(c->settled, s->settled, space_words(s) * sizeof(*s->settled));
	c->left = s->left;
	*ret = TAKE_PTR(c);
	return 0;
}

void space_free(struct space *s)
{
	if (!s)
		return;
	extents_done(&s->at);
	extents_done(&s->named);
	free(s->own);
	free(s);
}

size_t space_words(const struct space *s)
{
	return (size_t)(s->pages / 64 + 1);
}

static void use_bits(struct space *s, uint64_t *bits)
{
	s->settled = bits;
	free(s->own);
	s->own = NULL;
}

void space_share(struct space *s, uint64_t *bits)
{
	memcpy(bits, s->settled, space_words(s) * sizeof(*bits));
	use_bits(s, bits);
}

static void count_left(struct space *s)
{
	s->left = 0;
	for (uint64_t i = 0; i < s->pages; i++)
		s->left += !(s->settled[i / 64] >> i % 64 & 1);
}

void space_adopt(struct space *s, uint64_t *bits)
{
	use_bits(s, bits);
	count_left(s);
}

void space_want_all(struct space *s)
{
	struct image_extent x = {0};

	memset(s->settled, 0xff, space_words(s) * sizeof(*s->settled));
	for (uint64_t at = 0; space_extent(s, at, &x); at = x.address + x.pages * PAGE_BYTES)
		for (uint64_t i = x.first - s->base; i < x.first - s->base + x.pages; i++)
			s->settled[i / 64] &= ~(UINT64_C(1) << i % 64);
	count_left(s);
}

bool space_extent(const struct space *s, uint64_t address, struct image_extent *ret)
{
	const struct extent *e = extents_seek(&s->at, address);

	if (!e)
		return false;
	*ret = (struct image_extent){.address = e->address, .pages = e->pages, .first = e->first};
	return true;
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
	const struct extent *e = extents_find(&s->at, address);

	if (!e)
		return false;
	*ret_number = e->first + (address - e->address) / PAGE_BYTES;
	return true;
}

bool space_locate(const struct space *s, uint64_t number, uint64_t *ret_address,
		  uint64_t *ret_pages)
{
	const struct extent *e = extents_find(&s->named, number);

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

/* Takes the first extent in [start, end) of addresses out of the map, as far as it is in there.
 * Returns 1, 0 where there is none, or an error. */
static int take_out(struct space *s, uint64_t start, uint64_t end, struct extent *ret,
		    struct frem_error *err)
{
	const struct extent *e = extents_seek(&s->at, start);
	uint64_t stop;

	if (!e || e->address >= end)
		return 0;
	stop = e->address + e->pages * PAGE_BYTES;
	if (start < e->address)
		start = e->address;
	if (end > stop)
		end = stop;
	*ret = (struct extent){start, (end - start) / PAGE_BYTES,
			       e->first + (start - e->address) / PAGE_BYTES};
	if (extents_cut(&s->at, start, ret->pages) < 0 ||
	    extents_cut(&s->named, ret->first, ret->pages) < 0)
		return frem_oom(err);
	return 1;
}

int space_drop(struct space *s, uint64_t start, uint64_t end, struct frem_error *err)
{
	struct extent e;
	int r;

	while ((r = take_out(s, start, end, &e, err)) > 0)
		space_settle(s, e.first, e.pages);
	return r;
}

int space_move(struct space *s, uint64_t from, uint64_t to, uint64_t len, struct frem_error *err)
{
	struct extents moved = {0};
	const struct extent *next;
	struct extent e;
	int r;

	while ((r = take_out(s, from, from + len, &e, err)) > 0) {
		r = extents_insert(&moved, &e) < 0 ? frem_oom(err) : 0;
		if (r < 0)
			break;
	}
	if (r == 0)
		r = space_drop(s, to, to + len, err);
	for (uint64_t key = 0; r == 0 && (next = extents_seek(&moved, key));) {
		key = next->address + next->pages * PAGE_BYTES;
		e = *next;
		e.address = e.address - from + to;
		r = insert(s, &e, err);
	}
	extents_done(&moved);
	return r;
}

void space_end(struct space *s)
{
	extents_done(&s->at);
	extents_done(&s->named);
	space_settle(s, s->base, s->pages);
}

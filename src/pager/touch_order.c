/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "touch_order.h"

#include <stdlib.h>

/* Places are kept of one run in so many; those between are counted. */
#define STRIDE 32u
#define WORD_BITS 64u
/* Words of `in` whose bits are counted one by one. */
#define BLOCK_WORDS 8u
#define BLOCK_PAGES (BLOCK_WORDS * WORD_BITS)

struct touch_order {
	const struct touch_set *set;
	uint64_t *place;    /* of the first page of each STRIDEth run */
	uint64_t end;	    /* behind the last page of the set, by number */
	uint64_t *in;	    /* a bit for each page before it: it is in the set */
	uint32_t *before;   /* pages of the set before each block */
	uint32_t *place_of; /* for each page of the set, by number */
};

static unsigned bits_of(uint64_t word)
{
	return (unsigned)__builtin_popcountll(word);
}

/* How many pages of the set have a smaller number. */
static uint32_t rank_of(const struct touch_order *o, uint64_t number)
{
	uint64_t word = number / WORD_BITS, block = number / BLOCK_PAGES;
	uint32_t n = o->before[block];

	for (uint64_t i = block * BLOCK_WORDS; i < word; i++)
		n += bits_of(o->in[i]);
	return n + bits_of(o->in[word] & ((UINT64_C(1) << number % WORD_BITS) - 1));
}

static int make_room(struct touch_order *o, const struct touch_set *t)
{
	uint64_t blocks;

	for (size_t i = 0; i < t->n_runs; i++)
		if (t->runs[i].first + t->runs[i].pages > o->end)
			o->end = t->runs[i].first + t->runs[i].pages;
	blocks = o->end / BLOCK_PAGES + 1;
	o->place = calloc(t->n_runs / STRIDE + 1, sizeof(*o->place));
	o->in = calloc(blocks, BLOCK_WORDS * sizeof(*o->in));
	o->before = calloc(blocks, sizeof(*o->before));
	o->place_of = calloc(t->pages + 1, sizeof(*o->place_of));
	return o->place && o->in && o->before && o->place_of && t->pages <= UINT32_MAX ? 0 : -1;
}

static void mark(struct touch_order *o, const struct touch_set *t)
{
	uint32_t n = 0;

	for (size_t i = 0; i < t->n_runs; i++)
		for (uint64_t k = t->runs[i].first; k < t->runs[i].first + t->runs[i].pages; k++)
			o->in[k / WORD_BITS] |= UINT64_C(1) << k % WORD_BITS;
	for (uint64_t i = 0; i <= o->end / WORD_BITS; i++) {
		if (i % BLOCK_WORDS == 0)
			o->before[i / BLOCK_WORDS] = n;
		n += bits_of(o->in[i]);
	}
}

int touch_order_new(const struct touch_set *t, struct touch_order **ret, struct frem_error *err)
{
	_cleanup_touch_order_ struct touch_order *o = calloc(1, sizeof(*o));
	uint64_t place = 0;

	if (!o || make_room(o, t) < 0)
		return frem_oom(err);
	o->set = t;
	mark(o, t);
	for (size_t i = 0; i < t->n_runs; i++) {
		uint32_t rank = rank_of(o, t->runs[i].first);

		if (i % STRIDE == 0)
			o->place[i / STRIDE] = place;
		/* its pages are in a row by number, too */
		for (uint32_t k = 0; k < t->runs[i].pages; k++)
			o->place_of[rank + k] = (uint32_t)place++;
	}
	*ret = TAKE_PTR(o);
	return 0;
}

void touch_order_free(struct touch_order *o)
{
	if (!o)
		return;
	free(o->place);
	free(o->in);
	free(o->before);
	free(o->place_of);
	free(o);
}

uint64_t touch_order_number(const struct touch_order *o, uint64_t place)
{
	size_t low = 0, high = (o->set->n_runs + STRIDE - 1) / STRIDE;
	const struct touch_run *r;

	while (high - low > 1) {
		size_t mid = low + (high - low) / 2;

		if (o->place[mid] <= place)
			low = mid;
		else
			high = mid;
	}
	place -= o->place[low];
	for (r = &o->set->runs[low * STRIDE]; place >= r->pages; r++)
		place -= r->pages;
	return r->first + place;
}

bool touch_order_place(const struct touch_order *o, uint64_t number, uint64_t *ret_place)
{
	if (number >= o->end || !(o->in[number / WORD_BITS] >> number % WORD_BITS & 1))
		return false;
	*ret_place = o->place_of[rank_of(o, number)];
	return true;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "view.h"

#include <errno.h>
#include <string.h>

/* Any page number that a processor can make. */
#define LAST_PAGE (UINT64_C(1) << 52)
#define CHUNK_STRETCHES 128u

/*
 * The stretches, by address, in chunks of bounded size, so that a change moves a few KB at most
 * however many there are. No chunk is empty.
 */
struct chunk {
	size_t n;
	struct view_stretch s[CHUNK_STRETCHES];
};

struct view {
	struct chunk **chunks;
	size_t n_chunks;
	size_t cap_chunks;
	uint64_t n_stretches;
};

/* A place between stretches: the one at i of chunk c follows. c == n_chunks: the end. */
struct place {
	size_t c;
	size_t i;
};

static struct view_stretch *at(const struct view *v, struct place p)
{
	return p.c < v->n_chunks ? &v->chunks[p.c]->s[p.i] : NULL;
}

/* Before the first stretch that ends behind `page`. */
static struct place locate(const struct view *v, uint64_t page)
{
	size_t low = 0, high = v->n_chunks;
	struct place p = {};

	while (low < high) {
		size_t mid = (low + high) / 2;
		const struct chunk *k = v->chunks[mid];

		if (k->s[k->n - 1].end <= page)
			low = mid + 1;
		else
			high = mid;
	}
	p.c = low;
	if (p.c == v->n_chunks)
		return p;
	high = v->chunks[p.c]->n;
	for (low = 0; low < high;) {
		size_t mid = (low + high) / 2;

		if (v->chunks[p.c]->s[mid].end <= page)
			low = mid + 1;
		else
			high = mid;
	}
	p.i = low;
	return p;
}

static struct place next(const struct view *v, struct place p)
{
	if (++p.i == v->chunks[p.c]->n)
		p = (struct place){p.c + 1, 0};
	return p;
}

static int insert_chunk(struct view *v, size_t c)
{
	struct chunk *k;

	if (v->n_chunks == v->cap_chunks) {
		size_t cap = v->cap_chunks ? v->cap_chunks * 2 : 4;
		struct chunk **chunks = reallocarray(v->chunks, cap, sizeof(struct chunk *));

		if (!chunks)
			return -ENOMEM;
		v->chunks = chunks;
		v->cap_chunks = cap;
	}
	k = calloc(1, sizeof(*k));
	if (!k)
		return -ENOMEM;
	memmove(v->chunks + c + 1, v->chunks + c, (v->n_chunks - c) * sizeof(struct chunk *));
	v->chunks[c] = k;
	v->n_chunks++;
	return 0;
}

/* The upper half of a full chunk goes to a new one. */
static int split_chunk(struct view *v, size_t c)
{
	struct chunk *full, *half;
	int r = insert_chunk(v, c + 1);

	if (r)
		return r;
	full = v->chunks[c];
	half = v->chunks[c + 1];
	half->n = full->n / 2;
	full->n -= half->n;
	memcpy(half->s, full->s + full->n, half->n * sizeof(*half->s));
	return 0;
}

static int insert(struct view *v, const struct view_stretch *s)
{
	struct place p = locate(v, s->start);
	struct chunk *k;
	int r = 0;

	if (v->n_stretches >= VIEW_STRETCHES_MAX)
		return -ENOSPC;
	if (!v->n_chunks)
		r = insert_chunk(v, 0);
	else if (p.c == v->n_chunks) /* behind the last one */
		p = (struct place){p.c - 1, v->chunks[p.c - 1]->n};
	if (!r && v->chunks[p.c]->n == CHUNK_STRETCHES) {
		r = split_chunk(v, p.c);
		if (!r && p.i > v->chunks[p.c]->n)
			p = (struct place){p.c + 1, p.i - v->chunks[p.c]->n};
	}
	if (r)
		return r;
	k = v->chunks[p.c];
	memmove(k->s + p.i + 1, k->s + p.i, (k->n - p.i) * sizeof(*k->s));
	k->s[p.i] = *s;
	k->n++;
	v->n_stretches++;
	return 0;
}

/* The place that is returned is before what followed. */
static struct place erase(struct view *v, struct place p)
{
	struct chunk *k = v->chunks[p.c];

	v->n_stretches--;
	k->n--;
	memmove(k->s + p.i, k->s + p.i + 1, (k->n - p.i) * sizeof(*k->s));
	if (!k->n) {
		free(k);
		v->n_chunks--;
		memmove(v->chunks + p.c, v->chunks + p.c + 1,
			(v->n_chunks - p.c) * sizeof(struct chunk *));
		return (struct place){p.c, 0};
	}
	return p.i < k->n ? p : (struct place){p.c + 1, 0};
}

int view_new(size_t task, struct view **ret, struct frem_error *err)
{
	struct view_stretch all = {.end = LAST_PAGE, .task = task};
	struct view *v = calloc(1, sizeof(*v));

	if (!v || insert(v, &all)) {
		view_free(v);
		return frem_oom(err);
	}
	*ret = v;
	return 0;
}

int view_copy(const struct view *from, struct view **ret, struct frem_error *err)
{
	_cleanup_view_ struct view *v = calloc(1, sizeof(*v));

	if (!v)
		return frem_oom(err);
	for (size_t c = 0; c < from->n_chunks; c++) {
		if (insert_chunk(v, c))
			return frem_oom(err);
		*v->chunks[c] = *from->chunks[c];
	}
	v->n_stretches = from->n_stretches;
	*ret = TAKE_PTR(v);
	return 0;
}

void view_free(struct view *v)
{
	if (!v)
		return;
	for (size_t c = 0; c < v->n_chunks; c++)
		free(v->chunks[c]);
	free(v->chunks);
	free(v);
}

/* Leaves [0, page) of the stretch, and returns the rest. */
static struct view_stretch cut_off(struct view_stretch *s, uint64_t page)
{
	struct view_stretch rest = *s;

	rest.image += page - s->start;
	rest.start = page;
	s->end = page;
	return rest;
}

int view_remove(struct view *v, uint64_t start, uint64_t end)
{
	struct place p = locate(v, start);
	struct view_stretch *s, rest;
	uint64_t whole;
	int r;

	while ((s = at(v, p)) && s->start < end) {
		if (s->start >= start && s->end <= end) {
			p = erase(v, p);
		} else if (s->start >= start) {
			*s = cut_off(s, end);
		} else if (s->end <= end) {
			cut_off(s, start);
			p = next(v, p);
		} else {
			whole = s->end;
			rest = cut_off(s, end);
			cut_off(s, start);
			r = insert(v, &rest);
			if (r)
				s->end = whole; /* nothing has moved then */
			return r;
		}
	}
	return 0;
}

/* The parts of stretches within [start, end), as if they were at `to` since `when`. */
static int copy_range(const struct view *v, uint64_t start, uint64_t end, uint64_t to,
		      uint64_t when, struct view_stretch **ret, size_t *ret_n)
{
	struct place p = locate(v, start);
	struct view_stretch *list = NULL, *grown, *s;
	size_t n = 0, cap = 0;

	for (; (s = at(v, p)) && s->start < end; p = next(v, p)) {
		uint64_t first = s->start > start ? s->start : start;
		uint64_t last = s->end < end ? s->end : end;

		if (n == cap) {
			cap = cap ? cap * 2 : 16;
			grown = reallocarray(list, cap, sizeof(*list));
			if (!grown) {
				free(list);
				return -ENOMEM;
			}
			list = grown;
		}
		list[n++] = (struct view_stretch){.start = first - start + to,
						  .end = last - start + to,
						  .image = s->image + (first - s->start),
						  .since = when,
						  .task = s->task};
	}
	*ret = list;
	*ret_n = n;
	return 0;
}

int view_move(struct view *v, uint64_t start, uint64_t end, uint64_t to, uint64_t when)
{
	_cleanup_free_ struct view_stretch *moved = NULL;
	size_t n = 0;
	int r = copy_range(v, start, end, to, when, &moved, &n);

	if (!r)
		r = view_remove(v, start, end);
	if (!r)
		r = view_remove(v, to, to + (end - start));
	for (size_t i = 0; i < n && !r; i++)
		r = insert(v, &moved[i]);
	return r;
}

bool view_find(const struct view *v, uint64_t start, uint64_t end, struct view_stretch *ret)
{
	const struct view_stretch *s = at(v, locate(v, start));

	if (!s || s->start >= end)
		return false;
	*ret = *s;
	return true;
}

/* ---- sights ---- */

/* The bits of `in` that are in its word `word` and in [first, end). */
static uint64_t bits_of(const uint64_t *in, unsigned word, unsigned first, unsigned end)
{
	uint64_t bits = in[word];

	if (first > word * 64)
		bits &= ~UINT64_C(0) << (first - word * 64);
	if (end < (word + 1) * 64)
		bits &= (UINT64_C(1) << (end - word * 64)) - 1;
	return bits;
}

/* n bits of a unit from `first` on, put into another one from `to` on. */
static void copy_bits(uint64_t *out, unsigned to, const uint64_t *in, unsigned first, unsigned n)
{
	for (unsigned word = first / 64; word * 64 < first + n; word++)
		for (uint64_t bits = bits_of(in, word, first, first + n); bits; bits &= bits - 1) {
			unsigned i = word * 64 + (unsigned)__builtin_ctzll(bits) - first + to;

			out[i / 64] |= UINT64_C(1) << i % 64;
		}
}

/* Pages [first, end) of the sight belong to image pages from `image` on, in at most two units. */
static int see_part(const struct touched_sight *sight, unsigned first, unsigned end, uint64_t image,
		    size_t task, view_take take, void *arg, struct frem_error *err)
{
	while (first < end) {
		uint64_t touched[TOUCHED_WORDS] = {}, resident[TOUCHED_WORDS] = {};
		unsigned to = (unsigned)(image % TOUCHED_UNIT_PAGES);
		unsigned room = TOUCHED_UNIT_PAGES - to,
			 n = end - first < room ? end - first : room;
		struct touched_sight part = *sight;
		int r;

		part.task = task;
		part.unit = image / TOUCHED_UNIT_PAGES;
		if (n < TOUCHED_UNIT_PAGES) {
			copy_bits(touched, to, sight->touched, first, n);
			part.touched = touched;
		}
		if (n < TOUCHED_UNIT_PAGES && sight->resident) {
			copy_bits(resident, to, sight->resident, first, n);
			part.resident = resident;
		}
		r = take(arg, &part, err);
		if (r < 0)
			return r;
		first += n;
		image += n;
	}
	return 0;
}

int view_see(const struct view *v, const struct touched_sight *sight, uint64_t before,
	     view_take take, void *arg, struct frem_error *err)
{
	uint64_t start = sight->unit * TOUCHED_UNIT_PAGES, end = start + TOUCHED_UNIT_PAGES;
	struct place p = locate(v, start);
	const struct view_stretch *s;

	for (; (s = at(v, p)) && s->start < end; p = next(v, p)) {
		uint64_t first = s->start > start ? s->start : start;
		uint64_t last = s->end < end ? s->end : end;
		int r;

		if (s->since && s->since >= before)
			continue;
		r = see_part(sight, (unsigned)(first - start), (unsigned)(last - start),
			     s->image + (first - s->start), s->task, take, arg, err);
		if (r < 0)
			return r;
	}
	return 0;
}

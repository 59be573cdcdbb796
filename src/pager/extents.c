/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "extents.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "format/frame.h"

#define EXTENTS_MAX ((size_t)1 << 24) /* more than the kernel's mappings can make */
#define BLOCK 128u		      /* extents: 3 KB */

/* Never empty. */
struct extent_block {
	size_t n;
	struct extent e[BLOCK];
};

/* Where an extent is. Behind the last one: block == n_blocks. */
struct place {
	size_t block, i;
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

void extents_done(struct extents *x)
{
	for (size_t i = 0; i < x->n_blocks; i++)
		free(x->blocks[i]);
	free(x->blocks);
	*x = (struct extents){.by_number = x->by_number};
}

/* The place of the first extent that ends behind key. */
static struct place seek(const struct extents *x, uint64_t key)
{
	struct place p = {.block = 0};
	size_t high = x->n_blocks;
	const struct extent_block *b;

	while (p.block < high) {
		size_t mid = p.block + (high - p.block) / 2;

		b = x->blocks[mid];
		if (key_end(x, &b->e[b->n - 1]) <= key)
			p.block = mid + 1;
		else
			high = mid;
	}
	if (p.block == x->n_blocks)
		return p;
	b = x->blocks[p.block];
	for (high = b->n; p.i < high;) {
		size_t mid = p.i + (high - p.i) / 2;

		if (key_end(x, &b->e[mid]) <= key)
			p.i = mid + 1;
		else
			high = mid;
	}
	return p;
}

static struct extent *at(const struct extents *x, struct place p)
{
	return p.block < x->n_blocks ? &x->blocks[p.block]->e[p.i] : NULL;
}

const struct extent *extents_seek(const struct extents *x, uint64_t key)
{
	return at(x, seek(x, key));
}

const struct extent *extents_find(const struct extents *x, uint64_t key)
{
	const struct extent *e = extents_seek(x, key);

	return e && key_of(x, e) <= key ? e : NULL;
}

/* A new block that becomes number i. */
static struct extent_block *add_block(struct extents *x, size_t i)
{
	struct extent_block *b;

	if (x->n_blocks == x->cap_blocks) {
		size_t cap = x->cap_blocks ? 2 * x->cap_blocks : 16;
		struct extent_block **more =
			realloc(x->blocks, cap * sizeof(struct extent_block *));

		if (!more)
			return NULL;
		x->blocks = more;
		x->cap_blocks = cap;
	}
	b = malloc(sizeof(*b));
	if (!b)
		return NULL;
	b->n = 0;
	memmove(&x->blocks[i + 1], &x->blocks[i],
		(x->n_blocks - i) * sizeof(struct extent_block *));
	x->blocks[i] = b;
	x->n_blocks++;
	return b;
}

/* Makes room at a place whose block is full: the block becomes two. Where the place is behind all
 * others, as when a sorted list is put in, it begins a new one instead, so that blocks are filled.
 */
static int split(struct extents *x, struct place *p)
{
	struct extent_block *b = x->blocks[p->block], *next = add_block(x, p->block + 1);
	size_t keep = p->block + 2 == x->n_blocks && p->i == b->n ? b->n : b->n / 2;

	if (!next)
		return -ENOMEM;
	next->n = b->n - keep;
	memcpy(next->e, &b->e[keep], next->n * sizeof(*next->e));
	b->n = keep;
	if (p->i >= keep) {
		p->block++;
		p->i -= keep;
	}
	return 0;
}

static int insert_at(struct extents *x, struct place p, const struct extent *e)
{
	struct extent_block *b;

	if (x->n == EXTENTS_MAX)
		return -ENOMEM;
	if (x->n_blocks == 0 && !add_block(x, 0))
		return -ENOMEM;
	if (p.block == x->n_blocks) {
		p.block = x->n_blocks - 1;
		p.i = x->blocks[p.block]->n;
	}
	if (x->blocks[p.block]->n == BLOCK && split(x, &p) < 0)
		return -ENOMEM;
	b = x->blocks[p.block];
	memmove(&b->e[p.i + 1], &b->e[p.i], (b->n - p.i) * sizeof(*b->e));
	b->e[p.i] = *e;
	b->n++;
	x->n++;
	return 0;
}

static void remove_at(struct extents *x, struct place p)
{
	struct extent_block *b = x->blocks[p.block];

	x->n--;
	b->n--;
	memmove(&b->e[p.i], &b->e[p.i + 1], (b->n - p.i) * sizeof(*b->e));
	if (b->n)
		return;
	free(b);
	x->n_blocks--;
	memmove(&x->blocks[p.block], &x->blocks[p.block + 1],
		(x->n_blocks - p.block) * sizeof(struct extent_block *));
}

int extents_insert(struct extents *x, const struct extent *e)
{
	return insert_at(x, seek(x, key_of(x, e)), e);
}

int extents_cut(struct extents *x, uint64_t key, uint64_t pages)
{
	struct place p = seek(x, key);
	struct extent *e = at(x, p), tail = *e;
	uint64_t head = (key - key_of(x, e)) / (x->by_number ? 1 : PAGE_BYTES);
	uint64_t skip = head + pages;

	tail.address += skip * PAGE_BYTES;
	tail.first += skip;
	tail.pages -= skip;
	if (head == 0 && tail.pages == 0) {
		remove_at(x, p);
		return 0;
	}
	if (head == 0) {
		*e = tail;
		return 0;
	}
	e->pages = head;
	p.i++;
	return tail.pages ? insert_at(x, p, &tail) : 0;
}

int extents_copy(const struct extents *x, struct extents *ret)
{
	ret->by_number = x->by_number;
	for (size_t i = 0; i < x->n_blocks; i++) {
		struct extent_block *b = add_block(ret, i);

		if (!b)
			return -ENOMEM;
		memcpy(b, x->blocks[i], sizeof(*b));
		ret->n += b->n;
	}
	return 0;
}

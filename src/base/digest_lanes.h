/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * BLAKE2b (RFC 7693, without a key) of LANES byte strings at once, one in each lane of a vector: a
 * processor with vectors computes several digests in the time of one. Included by one file for each
 * number of lanes, which defines LANES and is compiled for processors with such vectors.
 */
#include "digest_many.h"

#include <string.h>

#define BLOCK 128u
#define INLINE static inline __attribute__((always_inline))

typedef uint64_t lanes __attribute__((vector_size(8 * LANES)));

/* RFC 7693, 2.6 and 2.7 */
static const uint64_t start[8] = {0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b,
				  0xa54ff53a5f1d36f1, 0x510e527fade682d1, 0x9b05688c2b3e6c1f,
				  0x1f83d9abfb41bd6b, 0x5be0cd19137e2179};
static const uint8_t order[10][16] = {
	{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
	{14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
	{11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4},
	{7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
	{9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13},
	{2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
	{12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11},
	{13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
	{6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5},
	{10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
};

/* What one lane works on. */
struct lane {
	const uint8_t *at;
	size_t left;	/* bytes not yet in the digest */
	uint64_t total; /* of the block that is next, or under way */
	uint8_t *out;	/* NULL: the lane has nothing to do */
	uint8_t last[BLOCK];
};

struct many {
	lanes h[8];
	lanes total, final; /* of the blocks under way: bytes up to their end; ~0 in the last one */
	lanes busy;	    /* ~0 where there is a block */
	const uint8_t *block[LANES];
	struct lane lane[LANES];
};

INLINE lanes rotate(lanes x, unsigned n)
{
	return x >> n | x << (64 - n);
}

INLINE void mix(lanes *a, lanes *b, lanes *c, lanes *d, lanes x, lanes y)
{
	*a += *b + x;
	*d = rotate(*d ^ *a, 32);
	*c += *d;
	*b = rotate(*b ^ *c, 24);
	*a += *b + y;
	*d = rotate(*d ^ *a, 16);
	*c += *d;
	*b = rotate(*b ^ *c, 63);
}

INLINE void round_of(lanes *v, const lanes *m, const uint8_t *s)
{
	mix(&v[0], &v[4], &v[8], &v[12], m[s[0]], m[s[1]]);
	mix(&v[1], &v[5], &v[9], &v[13], m[s[2]], m[s[3]]);
	mix(&v[2], &v[6], &v[10], &v[14], m[s[4]], m[s[5]]);
	mix(&v[3], &v[7], &v[11], &v[15], m[s[6]], m[s[7]]);
	mix(&v[0], &v[5], &v[10], &v[15], m[s[8]], m[s[9]]);
	mix(&v[1], &v[6], &v[11], &v[12], m[s[10]], m[s[11]]);
	mix(&v[2], &v[7], &v[8], &v[13], m[s[12]], m[s[13]]);
	mix(&v[3], &v[4], &v[9], &v[14], m[s[14]], m[s[15]]);
}

/* Swaps the off-diagonal halves of the pairs of rows that are `step` apart: after all steps, rows
 * have become columns. */
#define SWAP(r, step, low, high)                                          \
	for (unsigned i_ = 0; i_ < LANES; i_++) {                         \
		if (i_ & (step))                                          \
			continue;                                         \
		lanes a_ = (r)[i_], b_ = (r)[i_ + (step)];                \
		(r)[i_] = __builtin_shufflevector(a_, b_, low);           \
		(r)[i_ + (step)] = __builtin_shufflevector(a_, b_, high); \
	}
#define LIST(...) __VA_ARGS__

/* Row i is of lane i, and becomes word i of all lanes. */
INLINE void transpose(lanes *r)
{
#if LANES == 8
	SWAP(r, 1, LIST(0, 8, 2, 10, 4, 12, 6, 14), LIST(1, 9, 3, 11, 5, 13, 7, 15));
	SWAP(r, 2, LIST(0, 1, 8, 9, 4, 5, 12, 13), LIST(2, 3, 10, 11, 6, 7, 14, 15));
	SWAP(r, 4, LIST(0, 1, 2, 3, 8, 9, 10, 11), LIST(4, 5, 6, 7, 12, 13, 14, 15));
#else
	SWAP(r, 1, LIST(0, 4, 2, 6), LIST(1, 5, 3, 7));
	SWAP(r, 2, LIST(0, 1, 4, 5), LIST(2, 3, 6, 7));
#endif
}

/* The words of a block are little-endian, and so are the processors with these vectors. */
INLINE void load(const struct many *y, lanes m[16])
{
	for (unsigned w = 0; w < 16; w += LANES) {
		for (unsigned i = 0; i < LANES; i++)
			memcpy(&m[w + i], y->block[i] + 8 * w, sizeof(lanes));
		transpose(&m[w]);
	}
}

static void compress(struct many *y)
{
	lanes m[16], v[16];

	load(y, m);
	for (unsigned i = 0; i < 8; i++) {
		v[i] = y->h[i];
		v[i + 8] = (lanes){0} + start[i];
	}
	v[12] ^= y->total;
	v[14] ^= y->final;
	round_of(v, m, order[0]);
	round_of(v, m, order[1]);
	round_of(v, m, order[2]);
	round_of(v, m, order[3]);
	round_of(v, m, order[4]);
	round_of(v, m, order[5]);
	round_of(v, m, order[6]);
	round_of(v, m, order[7]);
	round_of(v, m, order[8]);
	round_of(v, m, order[9]);
	round_of(v, m, order[0]);
	round_of(v, m, order[1]);
	for (unsigned i = 0; i < 8; i++)
		y->h[i] ^= (v[i] ^ v[i + 8]) & y->busy;
}

static void begin(struct many *y, unsigned i, const struct digest_job *j, size_t size)
{
	y->lane[i].at = j->data;
	y->lane[i].left = j->n;
	y->lane[i].total = 0;
	y->lane[i].out = j->out;
	y->busy[i] = UINT64_MAX;
	y->final[i] = 0;
	for (unsigned k = 0; k < 8; k++)
		y->h[k][i] = start[k];
	y->h[0][i] ^= 0x01010000 ^ size;
}

/* The lane's next block; the last one is filled up with zeros. */
INLINE void advance(struct many *y, unsigned i)
{
	struct lane *l = &y->lane[i];
	size_t n = l->left < BLOCK ? l->left : BLOCK;

	if (l->left > BLOCK) {
		y->block[i] = l->at;
	} else {
		memset(l->last, 0, BLOCK);
		if (n)
			memcpy(l->last, l->at, n);
		y->block[i] = l->last;
		y->final[i] = UINT64_MAX;
	}
	l->at += n;
	l->left -= n;
	l->total += n;
	y->total[i] = l->total;
}

static void end(struct many *y, unsigned i, size_t size)
{
	uint64_t h[8];

	for (unsigned k = 0; k < 8; k++)
		h[k] = y->h[k][i];
	memcpy(y->lane[i].out, h, size);
	y->lane[i].out = NULL;
	y->lane[i].left = 0;
	y->busy[i] = 0;
	y->block[i] = y->lane[i].last;
}

static void digest_lanes(const struct digest_job *jobs, size_t n, size_t size)
{
	struct many y = {0};
	size_t next = 0, done = 0;

	for (unsigned i = 0; i < LANES; i++)
		y.block[i] = y.lane[i].last;
	while (done < n) {
		for (unsigned i = 0; i < LANES; i++) {
			if (!y.lane[i].out && next < n)
				begin(&y, i, &jobs[next++], size);
			if (y.lane[i].out)
				advance(&y, i);
		}
		compress(&y);
		for (unsigned i = 0; i < LANES; i++) {
			if (!y.lane[i].out || !y.final[i])
				continue;
			end(&y, i, size);
			done++;
		}
	}
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "agreement.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

struct times {
	uint32_t recorded;
	uint32_t touched;
};

static int by_recorded(const void *a, const void *b)
{
	const struct times *x = a, *y = b;

	if (x->recorded != y->recorded)
		return x->recorded < y->recorded ? -1 : 1;
	return (x->touched > y->touched) - (x->touched < y->touched);
}

/* Sorts by `touched`; returns how many pairs were in the wrong order (Knight 1966). */
static double merge(struct times *t, struct times *spare, size_t n)
{
	size_t half = n / 2, a = 0, b = half, to = 0;
	double swaps;

	if (n < 2)
		return 0;
	swaps = merge(t, spare, half) + merge(t + half, spare, n - half);
	while (a < half && b < n) {
		if (t[b].touched < t[a].touched) {
			swaps += (double)(half - a);
			spare[to++] = t[b++];
		} else {
			spare[to++] = t[a++];
		}
	}
	memcpy(spare + to, t + a, (half - a) * sizeof(*t));
	memcpy(t, spare, (to + half - a) * sizeof(*t));
	return swaps;
}

static double pairs(size_t n)
{
	return (double)n * ((double)n - 1) / 2;
}

/* Pairs that are tied in both where `in_recorded`, given the order of by_recorded(); and so on. */
static double ties(const struct times *t, size_t n, int in_recorded, int in_touched)
{
	double tied = 0;
	size_t start = 0;

	for (size_t i = 1; i <= n; i++) {
		if (i < n && (!in_recorded || t[i].recorded == t[start].recorded) &&
		    (!in_touched || t[i].touched == t[start].touched))
			continue;
		tied += pairs(i - start);
		start = i;
	}
	return tied;
}

static void order(struct times *t, struct times *spare, size_t n, struct agreement *a)
{
	double all = pairs(n), tied_recorded, tied_touched, tied_both, spread;

	qsort(t, n, sizeof(*t), by_recorded);
	tied_recorded = ties(t, n, 1, 0);
	tied_both = ties(t, n, 1, 1);
	a->discordant = merge(t, spare, n);
	tied_touched = ties(t, n, 0, 1);
	a->concordant = all - tied_recorded - tied_touched + tied_both - a->discordant;
	spread = sqrt((all - tied_recorded) * (all - tied_touched));
	a->tau_b = spread > 0 ? (a->concordant - a->discordant) / spread : 0;
}

static void count(uint32_t recorded, uint32_t touched, uint32_t early_ms, struct agreement *a)
{
	int in_recorded = recorded != UNTOUCHED;

	a->recorded += in_recorded;
	if (touched == UNTOUCHED)
		return;
	a->touched++;
	a->both += in_recorded;
	if (!touched) {
		a->before_resume++;
		a->before_resume_missed += !in_recorded;
	}
	if (touched <= early_ms) {
		a->early++;
		a->early_both += in_recorded;
	}
}

int agreement_of(const uint32_t *recorded, const uint32_t *touched, uint64_t n, uint32_t cut_ms,
		 uint32_t early_ms, struct agreement *ret, struct frem_error *err)
{
	_cleanup_free_ struct times *t = calloc(n + 1, 2 * sizeof(*t));
	struct agreement a = {.pages = n};
	size_t both = 0;

	if (!t)
		return frem_oom(err);
	for (uint64_t i = 0; i < n; i++) {
		uint32_t at = touched[i] <= cut_ms ? touched[i] : UNTOUCHED;

		count(recorded[i], at, early_ms, &a);
		if (recorded[i] != UNTOUCHED && at != UNTOUCHED)
			t[both++] = (struct times){recorded[i], at};
	}
	order(t, t + n + 1, both, &a);
	*ret = a;
	return 0;
}

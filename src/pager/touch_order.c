/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "touch_order.h"

#include <stdlib.h>

struct named {
	uint64_t first;
	size_t run;
};

struct touch_order {
	const struct touch_set *set;
	uint64_t *place;     /* of each run's first page */
	struct named *named; /* the runs, by page number */
};

static int by_first(const void *a, const void *b)
{
	const struct named *x = a, *y = b;

	return x->first < y->first ? -1 : x->first > y->first;
}

int touch_order_new(const struct touch_set *t, struct touch_order **ret, struct frem_error *err)
{
	_cleanup_touch_order_ struct touch_order *o = calloc(1, sizeof(*o));
	uint64_t place = 0;

	if (o) {
		o->place = calloc(t->n_runs + 1, sizeof(*o->place));
		o->named = calloc(t->n_runs + 1, sizeof(*o->named));
	}
	if (!o || !o->place || !o->named)
		return frem_oom(err);
	o->set = t;
	for (size_t i = 0; i < t->n_runs; i++) {
		o->place[i] = place;
		place += t->runs[i].pages;
		o->named[i] = (struct named){t->runs[i].first, i};
	}
	qsort(o->named, t->n_runs, sizeof(*o->named), by_first);
	*ret = TAKE_PTR(o);
	return 0;
}

void touch_order_free(struct touch_order *o)
{
	if (!o)
		return;
	free(o->place);
	free(o->named);
	free(o);
}

uint64_t touch_order_number(const struct touch_order *o, uint64_t place)
{
	size_t low = 0, high = o->set->n_runs;

	while (high - low > 1) {
		size_t mid = low + (high - low) / 2;

		if (o->place[mid] <= place)
			low = mid;
		else
			high = mid;
	}
	return o->set->runs[low].first + (place - o->place[low]);
}

bool touch_order_place(const struct touch_order *o, uint64_t number, uint64_t *ret_place)
{
	size_t low = 0, high = o->set->n_runs;
	const struct touch_run *r;

	while (high - low > 1) {
		size_t mid = low + (high - low) / 2;

		if (o->named[mid].first <= number)
			low = mid;
		else
			high = mid;
	}
	if (high == 0)
		return false;
	r = &o->set->runs[o->named[low].run];
	if (number < r->first || number - r->first >= r->pages)
		return false;
	*ret_place = o->place[o->named[low].run] + (number - r->first);
	return true;
}

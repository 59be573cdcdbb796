/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "plan_model.h"

#include <math.h>

#define BISECTIONS 200 /* more than a double has bits: it ends where nothing changes any more */

/* What one segment's work is of the time that it takes on average, failures and all. */
static double availability(double mtbf, double interval, double cost, double restart)
{
	return interval / mtbf * exp(-restart / mtbf) / expm1((interval + cost) / mtbf);
}

/*
 * The interval of the highest availability: where its derivative is 0, which is at the root x of
 * x = 1 - exp(-x - cost / mtbf) with x = interval / mtbf. It lies between 0 and 1, and what is
 * compared grows with x. How long a restart takes has no part in it.
 */
static double best_interval(double mtbf, double cost)
{
	double low = 0, high = 1, c = cost / mtbf;

	for (int i = 0; i < BISECTIONS; i++) {
		double x = low + (high - low) / 2;

		if (x + expm1(-(x + c)) < 0)
			low = x;
		else
			high = x;
	}
	return mtbf * high;
}

static double young_interval(double mtbf, double cost)
{
	return sqrt(2 * cost * mtbf);
}

static double daly_interval(double mtbf, double cost)
{
	double ratio = cost / (2 * mtbf);

	if (ratio >= 1)
		return mtbf;
	return young_interval(mtbf, cost) * (1 + sqrt(ratio) / 3 + ratio / 9) - cost;
}

static void compute_side(double mtbf, double interval, double cost, double restart,
			 struct plan_side *ret)
{
	ret->availability = availability(mtbf, interval, cost, restart);
	ret->best = best_interval(mtbf, cost);
	ret->best_availability = availability(mtbf, ret->best, cost, restart);
	ret->young = young_interval(mtbf, cost);
	ret->daly = daly_interval(mtbf, cost);
}

void plan_compute(const struct plan_numbers *n, struct plan *ret)
{
	double cost = n->pause + n->tracking;

	ret->mtbf = n->mtbf / n->processes;
	ret->checkpoints = 1 / expm1((n->interval + cost) / ret->mtbf);
	ret->gain = n->restart_full - n->restart_fast;
	ret->overhead = ret->checkpoints * n->tracking;
	ret->net = ret->gain - ret->overhead;
	compute_side(ret->mtbf, n->interval, n->pause, n->restart_full, &ret->without);
	compute_side(ret->mtbf, n->interval, cost, n->restart_fast, &ret->with);
}

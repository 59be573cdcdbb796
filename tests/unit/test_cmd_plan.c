/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What plan_compute() says, against a simulation that only follows the rules of the model. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "plan_model.h"

#define CYCLES 400000
#define WITHIN 0.01

static double uniform(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return ((double)(*state >> 11) + 0.5) / 9007199254740992.0;
}

static double next_failure(uint64_t *state, double mtbf)
{
	return -mtbf * log(uniform(state));
}

/* Means over many cycles, each from one restart that succeeded to the next. */
struct simulated {
	double checkpoints, availability, tracking;
};

/* One of the processes fails; the next failure counts from then on. */
static double any_failure(uint64_t *state, const struct plan_numbers *n)
{
	double first = INFINITY;

	for (int i = 0; i < (int)n->processes; i++)
		first = fmin(first, next_failure(state, n->mtbf));
	return first;
}

static struct simulated simulate(const struct plan_numbers *n, double tracking, double restart)
{
	double time = 0, work = 0, tracked = 0, left;
	uint64_t state = 88172645463325252u, checkpoints = 0;

	for (int i = 0; i < CYCLES; i++) {
		for (left = any_failure(&state, n); left < restart; left = any_failure(&state, n))
			time += left;
		time += restart;
		left -= restart;
		while (left >= n->interval + n->pause + tracking) {
			left -= n->interval + n->pause + tracking;
			time += n->interval + n->pause + tracking;
			work += n->interval;
			tracked += tracking;
			checkpoints++;
		}
		time += left;
	}
	return (struct simulated){(double)checkpoints / CYCLES, work / time, tracked / CYCLES};
}

static void assert_near(double is, double wanted)
{
	assert_true(fabs(is - wanted) <= WITHIN * fabs(wanted));
}

static void compare_with_simulation(struct plan_numbers n)
{
	struct simulated with, without;
	struct plan p;

	plan_compute(&n, &p);
	with = simulate(&n, n.tracking, n.restart_fast);
	without = simulate(&n, 0, n.restart_full);
	assert_near(p.checkpoints, with.checkpoints);
	assert_near(p.overhead, with.tracking);
	assert_near(p.net, n.restart_full - n.restart_fast - with.tracking);
	assert_near(p.with.availability, with.availability);
	assert_near(p.without.availability, without.availability);
	n.interval = p.with.best;
	assert_near(p.with.best_availability,
		    simulate(&n, n.tracking, n.restart_fast).availability);
}

static void test_failures_are_rare(void **state)
{
	(void)state;
	compare_with_simulation((struct plan_numbers){
		.mtbf = 3600,
		.processes = 1,
		.interval = 300,
		.pause = 2,
		.tracking = 0.5,
		.restart_full = 75,
		.restart_fast = 9,
	});
}

static void test_failures_are_frequent(void **state)
{
	(void)state;
	compare_with_simulation((struct plan_numbers){
		.mtbf = 4000,
		.processes = 8,
		.interval = 120,
		.pause = 40,
		.tracking = 10,
		.restart_full = 300,
		.restart_fast = 60,
	});
}

static double availability_at(const struct plan_numbers *n, double interval)
{
	struct plan_numbers other = *n;
	struct plan p;

	other.interval = interval;
	plan_compute(&other, &p);
	return p.with.availability;
}

static void test_best_interval_is_best(void **state)
{
	static const double costs[] = {0.001, 1, 60, 3600, 50000};
	(void)state;

	for (size_t i = 0; i < sizeof(costs) / sizeof(*costs); i++) {
		struct plan_numbers n = {
			.mtbf = 7200,
			.processes = 2,
			.interval = 1,
			.pause = costs[i],
			.restart_full = 100,
			.restart_fast = 10,
		};
		struct plan p;

		plan_compute(&n, &p);
		for (double factor = 0.5; factor < 2; factor += 0.01)
			assert_true(availability_at(&n, p.with.best * factor) <=
				    p.with.best_availability * (1 + 1e-12));
	}
}

/* Daly's paper, figures 3 to 5, has the intervals for a dump of 5 min and these MTBFs. */
static void test_dalys_own_examples(void **state)
{
	static const double hours[] = {24, 6, 0.25}, minutes[] = {117, 57, 9.1};
	(void)state;

	for (size_t i = 0; i < 3; i++) {
		struct plan_numbers n = {
			.mtbf = hours[i] * 3600, .processes = 1, .interval = 1, .pause = 300};
		struct plan p;

		plan_compute(&n, &p);
		assert_near(p.without.daly / 60, minutes[i]);
		assert_near(p.without.best / 60, minutes[i]);
	}
}

static void test_hopeless_is_no_work_at_all(void **state)
{
	struct plan_numbers n = {.mtbf = 0.001,
				 .processes = 1e6,
				 .interval = 1e8,
				 .pause = 1,
				 .restart_full = 1e8,
				 .restart_fast = 1e8};
	struct plan p;

	(void)state;
	plan_compute(&n, &p);
	assert_true(p.with.availability == 0 && p.checkpoints == 0 && p.net == 0);
	assert_true(p.with.best > 0 && isfinite(p.with.best));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_failures_are_rare),
		cmocka_unit_test(test_failures_are_frequent),
		cmocka_unit_test(test_best_interval_is_best),
		cmocka_unit_test(test_dalys_own_examples),
		cmocka_unit_test(test_hopeless_is_no_work_at_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

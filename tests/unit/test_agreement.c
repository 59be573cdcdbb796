/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The benchmark's comparison of two touch sets, against figures worked out by hand or naively. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>

#include "agreement.h"

#define N UNTOUCHED
#define NO_CUT (UNTOUCHED - 1)

static struct agreement of(const uint32_t *recorded, const uint32_t *touched, size_t n,
			   uint32_t cut, uint32_t early)
{
	struct agreement a;

	assert_int_equal(agreement_of(recorded, touched, n, cut, early, &a, NULL), 0);
	assert_int_equal(a.pages, n);
	return a;
}

static void test_counts(void **state)
{
	const uint32_t recorded[] = {1, 2, N, N, 5, N, 7, N};
	const uint32_t touched[] = {0, N, 0, 9, 40, N, 8, 41};
	struct agreement a = of(recorded, touched, 8, NO_CUT, 8);

	(void)state;
	assert_int_equal(a.recorded, 4);
	assert_int_equal(a.touched, 6);
	assert_int_equal(a.both, 3);
	assert_int_equal(a.before_resume, 2);
	assert_int_equal(a.before_resume_missed, 1);
	assert_int_equal(a.early, 3);
	assert_int_equal(a.early_both, 2);
	/* the cut is the last moment that counts */
	a = of(recorded, touched, 8, 40, 8);
	assert_int_equal(a.touched, 5);
	assert_int_equal(a.both, 3);
	a = of(recorded, touched, 8, 39, 50);
	assert_int_equal(a.touched, 4);
	assert_int_equal(a.both, 2);
	assert_int_equal(a.early, 4);
}

static void test_order(void **state)
{
	const uint32_t up[] = {1, 2, 3, 4, 5}, down[] = {5, 4, 3, 2, 1}, same[] = {7, 7, 7, 7, 7};
	const uint32_t pairs[] = {1, 1, 2, 2, 3};

	(void)state;
	assert_true(of(up, up, 5, NO_CUT, 0).tau_b == 1);
	assert_true(of(up, down, 5, NO_CUT, 0).tau_b == -1);
	assert_true(of(up, same, 5, NO_CUT, 0).tau_b == 0);
	assert_true(of(up, same, 0, NO_CUT, 0).tau_b == 0);
	/* 8 pairs are ordered by both, and 2 are tied in one: 8 / sqrt(8 * 10) */
	assert_true(fabs(of(pairs, up, 5, NO_CUT, 0).tau_b - 8 / sqrt(80)) < 1e-12);
	assert_true(of(pairs, up, 5, NO_CUT, 0).concordant == 8);
	assert_true(of(pairs, down, 5, NO_CUT, 0).discordant == 8);
}

static void naive(const uint32_t *a, const uint32_t *b, size_t n, double *concordant,
		  double *discordant)
{
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < i; k++) {
			if (a[i] == N || b[i] == N || a[k] == N || b[k] == N)
				continue;
			*concordant += (a[i] < a[k] && b[i] < b[k]) || (a[i] > a[k] && b[i] > b[k]);
			*discordant += (a[i] < a[k] && b[i] > b[k]) || (a[i] > a[k] && b[i] < b[k]);
		}
}

static void test_order_of_many(void **state)
{
	uint32_t a[501], b[501];

	(void)state;
	srand(2008);
	for (size_t n = 0; n < 501; n += 7) {
		double concordant = 0, discordant = 0;
		struct agreement got;

		for (size_t i = 0; i < n; i++) {
			a[i] = rand() % 5 ? (uint32_t)rand() % 40 : N;
			b[i] = rand() % 5 ? a[i] / 2 + (uint32_t)rand() % 30 : N;
			b[i] = a[i] == N ? 3 : b[i];
		}
		naive(a, b, n, &concordant, &discordant);
		got = of(a, b, n, NO_CUT, 0);
		assert_true(got.concordant == concordant);
		assert_true(got.discordant == discordant);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_order_of_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

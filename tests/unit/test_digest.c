/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Digests of several byte strings at once are those of one by one, on every processor. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "digest_many.h"

#define MOST 40u
#define SPAN 1100u

typedef void (*many_fn)(const struct digest_job *jobs, size_t n, size_t size);

static uint8_t data[2 * SPAN];

/* n strings of lengths that surround whole blocks, one of them empty, at odd addresses. */
static void compare(many_fn many, size_t n, size_t size)
{
	uint8_t out[MOST][DIGEST_SIZE] = {0}, want[DIGEST_SIZE];
	struct digest_job jobs[MOST] = {0};

	for (size_t i = 0; i < n; i++)
		jobs[i] = (struct digest_job){data + i * 7, (i * 127 + n / 4 * 128) % SPAN, out[i]};
	many(jobs, n, size);
	for (size_t i = 0; i < n; i++) {
		digest_of(jobs[i].data, jobs[i].n, want, size);
		assert_memory_equal(out[i], want, size);
	}
}

static void compare_all(many_fn many)
{
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * i + i / 251);
	for (size_t n = 0; n <= MOST; n++) {
		compare(many, n, DIGEST_FRAME_SIZE);
		compare(many, n, DIGEST_SIZE);
	}
}

static void many_at_once(void **state)
{
	(void)state;
	compare_all(digest_many);
}

#ifdef __x86_64__
static void four_lanes(void **state)
{
	(void)state;
	if (!__builtin_cpu_supports("avx2"))
		skip();
	compare_all(digest_many_avx2);
}

static void eight_lanes(void **state)
{
	(void)state;
	if (!__builtin_cpu_supports("avx512f"))
		skip();
	compare_all(digest_many_avx512);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(many_at_once),
#ifdef __x86_64__
		cmocka_unit_test(four_lanes),
		cmocka_unit_test(eight_lanes),
#endif
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}

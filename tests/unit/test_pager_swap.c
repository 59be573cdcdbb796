/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A job whose memory limit is smaller than its image: what is in is swapped out while more comes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pager_fixture.h"
#include "swap_fixture.h"

#define PAGES 8000u		      /* 31 MiB */
#define LIMIT ((size_t)12 << 20)      /* of memory */
#define LEAST_SWAPPED ((long)4 << 20) /* what has to be out at the end */

static const char *why_not;

/* Bytes of this process that are swapped out. */
static long swapped_out(void)
{
	FILE *f = fopen("/proc/self/status", "re");
	char line[256];
	long kb = 0;

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, "VmSwap:", 7))
			kb = strtol(line + 7, NULL, 10);
	if (f)
		fclose(f);
	return kb * 1024;
}

static int read_under_pressure(struct fixture *f)
{
	if (pressure_enter() < 0)
		return 9;
	for (int pass = 0; pass < 2; pass++)
		if (!all_right(f, 0, 0, PAGES))
			return 1;
	wait_step(f, 1);
	if (swapped_out() < LEAST_SWAPPED)
		return 2;
	return all_right(f, 0, 0, PAGES) ? 0 : 3;
}

static void test_limit_smaller_than_the_image(void **state)
{
	struct fixture *f = *state;

	if (why_not) {
		print_message("%s\n", why_not);
		skip();
	}
	make_checkpoint(f, 1, PAGES, 500);
	restore_all(f, PAGER_NOW, read_under_pressure);
	expect_event(f, PAGER_EVENT_TOUCHED, NULL);
	expect_event(f, PAGER_EVENT_DRAINED, NULL);
	f->control->step = 1;
	assert_int_equal(task_status(f, 0), 0);
	assert_int_equal(pager_stats(f->pager)->pages_in, PAGES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PAGER_TEST(test_limit_smaller_than_the_image),
	};
	int failed;

	why_not = pressure_start(LIMIT);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	pressure_end();
	return failed;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * two_halves STATUS MEGABYTES: fills memory with known random words, then goes on reading and
 * verifying a tenth of the pages of its first half, as a run of 8 of each 80, or those of its
 * second half once there is a file STATUS.second. A round of 8 MB takes a few milliseconds.
 */
#include <limits.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "victim.h"

#define GROUP 80u
#define RUN 8u
#define SEED UINT64_C(0x68616c66)

static void verify(const uint8_t *at, uint64_t page, uint64_t pages)
{
	for (uint64_t i = page; i < page + pages; i++)
		victim_verify(at + i * VICTIM_PAGE, SEED, i);
}

int main(int argc, char **argv)
{
	const struct timespec pause = {.tv_nsec = 50000};
	char second[PATH_MAX];
	uint64_t groups;
	uint8_t *at;

	if (argc != 3 || snprintf(second, sizeof(second), "%s.second", argv[1]) >= PATH_MAX) {
		fputs("usage: two_halves STATUS MEGABYTES\n", stderr);
		return 2;
	}
	victim_init(argv[1]);
	groups = victim_number(argv[2]) * 1000000 / VICTIM_PAGE / GROUP / 2;
	at = victim_map(2 * groups * GROUP);
	for (uint64_t page = 0; page < 2 * groups * GROUP; page++)
		victim_fill(at + page * VICTIM_PAGE, SEED, page);
	victim_ready();
	for (uint64_t step = 0;; step++) {
		uint64_t half = access(second, F_OK) == 0 ? groups : 0;

		verify(at, (half + step % groups) * GROUP, RUN);
		if (victim_asked(0)) {
			verify(at, 0, 2 * groups * GROUP);
			victim_ok(step);
		}
		nanosleep(&pause, NULL);
	}
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * touch_tenth STATUS MEGABYTES: fills memory with known random words, then goes on reading and
 * verifying one tenth of its pages for ever: of each group of 160 pages a run of 16, the groups in
 * a fixed scattered order, one group every half millisecond. A round of 500 MB takes half a second.
 */
#include <stdio.h>
#include <time.h>

#include "victim.h"

#define GROUP 160u
#define RUN 16u
#define SEED UINT64_C(0x6672656d)

struct memory {
	uint8_t *at;
	uint64_t groups;
	uint64_t stride; /* coprime to groups: visits each once a round */
};

static uint64_t gcd(uint64_t a, uint64_t b)
{
	while (b) {
		uint64_t t = a % b;

		a = b;
		b = t;
	}
	return a;
}

static void verify_run(const struct memory *m, uint64_t page, unsigned pages)
{
	for (unsigned i = 0; i < pages; i++)
		victim_verify(m->at + (page + i) * VICTIM_PAGE, SEED, page + i);
}

static void touch_group(const struct memory *m, uint64_t step)
{
	uint64_t group = step * m->stride % m->groups;

	verify_run(m, group * GROUP + group * 7 % (GROUP - RUN), RUN);
}

static void memory_init(struct memory *m, uint64_t megabytes)
{
	m->groups = megabytes * 1000000 / VICTIM_PAGE / GROUP;
	if (m->groups == 0)
		victim_die("too little memory");
	m->stride = m->groups * 2 / 5 + 1;
	while (gcd(m->stride, m->groups) != 1)
		m->stride++;
	m->at = victim_map(m->groups * GROUP);
	for (uint64_t page = 0; page < m->groups * GROUP; page++)
		victim_fill(m->at + page * VICTIM_PAGE, SEED, page);
}

int main(int argc, char **argv)
{
	const struct timespec pause = {.tv_nsec = 500000};
	struct memory m;

	if (argc != 3) {
		fputs("usage: touch_tenth STATUS MEGABYTES\n", stderr);
		return 2;
	}
	victim_init(argv[1]);
	memory_init(&m, victim_number(argv[2]));
	victim_ready();
	for (uint64_t step = 0;; step++) {
		touch_group(&m, step % m.groups);
		if (victim_asked(0)) {
			for (uint64_t group = 0; group < m.groups; group++)
				verify_run(&m, group * GROUP, GROUP);
			victim_ok(step);
		}
		nanosleep(&pause, NULL);
	}
}

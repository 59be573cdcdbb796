/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * logger STATUS: writes numbered lines "line N" to its standard output, a hundred a second, and
 * verifies one page of its memory before each.
 */
#include <stdio.h>
#include <unistd.h>

#include "victim.h"

#define PAGES 4096u
#define SEED UINT64_C(0x6c6f67)

static void write_line(uint64_t number)
{
	char line[32];
	int n = snprintf(line, sizeof(line), "line %llu\n", (unsigned long long)number);

	if (write(STDOUT_FILENO, line, (size_t)n) != n)
		victim_die("standard output");
}

int main(int argc, char **argv)
{
	uint8_t *at = victim_map(PAGES);

	if (argc != 2) {
		fputs("usage: logger STATUS\n", stderr);
		return 2;
	}
	victim_init(argv[1]);
	for (uint64_t i = 0; i < PAGES; i++)
		victim_fill(at + i * VICTIM_PAGE, SEED, i);
	victim_ready();
	for (uint64_t n = 0;; n++) {
		uint64_t page = n % PAGES;

		victim_verify(at + page * VICTIM_PAGE, SEED, page);
		write_line(n);
		if (victim_asked(10)) {
			for (uint64_t i = 0; i < PAGES; i++)
				victim_verify(at + i * VICTIM_PAGE, SEED, i);
			victim_ok(n);
		}
	}
}

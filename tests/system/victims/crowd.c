/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * crowd STATUS PROCESSES MAPPINGS PAGES: processes, each with so many mappings of so many pages, a
 * page apart, so that no two become one. They rest until they are asked to verify.
 */
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <signal.h>
#include <unistd.h>

#include "victim.h"

#define CHILDREN_MOST 1000u

struct member {
	uint64_t seed, mappings, pages;
	uint8_t *at;
};

static uint8_t *mapping(const struct member *m, uint64_t i)
{
	return m->at + i * (m->pages + 1) * VICTIM_PAGE;
}

static void make_memory(struct member *m)
{
	m->at = victim_map(m->mappings * (m->pages + 1));
	for (uint64_t i = 0; i < m->mappings; i++) {
		for (uint64_t k = 0; k < m->pages; k++)
			victim_fill(mapping(m, i) + k * VICTIM_PAGE, m->seed, i * m->pages + k);
		if (munmap(mapping(m, i) + m->pages * VICTIM_PAGE, VICTIM_PAGE) < 0)
			victim_die("munmap");
	}
}

static void verify_memory(const struct member *m)
{
	for (uint64_t i = 0; i < m->mappings; i++)
		for (uint64_t k = 0; k < m->pages; k++)
			victim_verify(mapping(m, i) + k * VICTIM_PAGE, m->seed, i * m->pages + k);
}

/* Verifies for each byte that comes. */
static _Noreturn void child_main(struct member *m, int questions, int answers)
{
	char byte;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	make_memory(m);
	if (write(answers, "", 1) != 1)
		_exit(1);
	while (read(questions, &byte, 1) == 1) {
		verify_memory(m);
		if (write(answers, "", 1) != 1)
			break;
	}
	_exit(0);
}

static void gather(int answers, uint64_t n)
{
	char byte;

	while (n-- > 0)
		if (read(answers, &byte, 1) != 1)
			victim_bad("a process has ended");
}

/* Returns the end of a pipe by which the child is asked. */
static int start_child(struct member *m, int answers)
{
	int questions[2];
	pid_t pid;

	if (pipe(questions) < 0)
		victim_die("pipe");
	pid = fork();
	if (pid < 0)
		victim_die("fork");
	if (pid == 0) {
		close(questions[1]);
		child_main(m, questions[0], answers);
	}
	close(questions[0]);
	return questions[1];
}

int main(int argc, char **argv)
{
	static int questions[CHILDREN_MOST];
	uint64_t children, round = 0;
	struct member m = {0};
	int answers[2];

	if (argc != 5) {
		fputs("usage: crowd STATUS PROCESSES MAPPINGS PAGES\n", stderr);
		return 2;
	}
	victim_init(argv[1]);
	children = victim_number(argv[2]) - 1;
	m.mappings = victim_number(argv[3]);
	m.pages = victim_number(argv[4]);
	if (children > CHILDREN_MOST || pipe(answers) < 0)
		victim_die("too many processes");
	for (uint64_t i = 0; i < children; i++) {
		m.seed = i + 1;
		questions[i] = start_child(&m, answers[1]);
	}
	m.seed = children + 1;
	make_memory(&m);
	gather(answers[0], children);
	victim_ready();
	for (;;) {
		if (!victim_asked(10))
			continue;
		for (uint64_t i = 0; i < children; i++)
			if (write(questions[i], "", 1) != 1)
				victim_die("pipe");
		verify_memory(&m);
		gather(answers[0], children);
		victim_ok(++round);
	}
}

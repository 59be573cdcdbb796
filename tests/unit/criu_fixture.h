/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tests that dump and restore criu_victim.c with the real CRIU share. */
#ifndef FREM_TESTS_CRIU_FIXTURE_H
#define FREM_TESTS_CRIU_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cmocka.h>

#include "base/error.h"
#include "criu/criu.h"

extern struct criu_program criu;

/* One program under test, and where its state and image are. */
struct fixture {
	char dir[64];
	char state[96];
	char other[96]; /* a further file of the role */
	int images, work;
	pid_t pid;
	struct frem_error err;
	double frozen;
};

void fail_with(const struct frem_error *err);
int fixture_setup(void **state);
void end_victim(struct fixture *f);
int fixture_teardown(void **state);
void start(struct fixture *f, const char *role, const char *arg, const int fds[3], bool session);
uint64_t count_of(const struct fixture *f);
void assert_goes_on(struct fixture *f);
int try_dump(struct fixture *f, struct criu_dump d);
void dump(struct fixture *f, struct criu_dump d);
int try_restore(struct fixture *f, struct criu_restore r);
void restore(struct fixture *f, struct criu_restore r);
bool has_file(int dirfd, const char *name);
char state_of(pid_t pid);
int fixture_find_criu(void **state);

#define VICTIM_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Real memory pressure: a swap device in compressed memory (zram) and a memory cgroup of version 1
 * with a limit. Both are found by their names, so that what a killed test left behind is cleared
 * away by the next one.
 */
#ifndef FREM_TESTS_SWAP_FIXTURE_H
#define FREM_TESTS_SWAP_FIXTURE_H

#include <stddef.h>

/* 0, or why this machine cannot do it. limit: bytes that a process in the group can have in memory.
 */
const char *pressure_start(size_t limit);
/* Called in a process with few pages yet: moves it into the group. 0, or -1. */
int pressure_enter(void);
/* The group has to be empty. */
void pressure_end(void);

#endif

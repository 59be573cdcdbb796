/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Does the walker, with its present layout of page tables, tell the truth? */
#ifndef FREM_TRACK_SELF_TEST_H
#define FREM_TRACK_SELF_TEST_H

#include "base/error.h"
#include "bpf_walker.h"

/*
 * Clears the accessed bits of this process, accesses some pages of a mapping made for it, and
 * compares what the walker finds, page by page. 1: those pages; 0: anything else; or a negative
 * errno where the test itself could not be run. The mapping lies across page tables.
 */
int self_test(struct bpf_walker *w, struct frem_error *err);

#endif

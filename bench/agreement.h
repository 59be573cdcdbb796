/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How well a recorded touch set foretells what a restarted program touches. Both are given as the
 * time of every page's first touch, side by side. Pure: no I/O.
 */
#ifndef FREM_BENCH_AGREEMENT_H
#define FREM_BENCH_AGREEMENT_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define UNTOUCHED UINT32_MAX

struct agreement {
	uint64_t pages;
	uint64_t recorded; /* S */
	uint64_t touched;  /* T, up to the cut */
	uint64_t both;
	uint64_t before_resume; /* of T: at 0 ms, by the restore or the program's first instructions
				 */
	uint64_t before_resume_missed; /* of those: not in S */
	uint64_t early;		       /* touched within the recorded window's own length of time */
	uint64_t early_both;	       /* of those: in S */
	/*
	 * Of the pages in both sets, every pair is concordant (both orders say the same),
	 * discordant, or tied in one of the two at least. tau_b is Kendall's with ties (Kendall
	 * 1945): (C - D) / sqrt((n0 - ties in S)(n0 - ties in T)); 0 where either puts all pages at
	 * one time.
	 */
	double concordant;
	double discordant;
	double tau_b;
};

/*
 * recorded, touched: the times of n pages, UNTOUCHED where there is none. What was touched later
 * than cut_ms is left out of T; early_ms bounds `early`. O(n log n). Error: FREM_FAILED, no memory.
 */
int agreement_of(const uint32_t *recorded, const uint32_t *touched, uint64_t n, uint32_t cut_ms,
		 uint32_t early_ms, struct agreement *ret, struct frem_error *err);

#endif

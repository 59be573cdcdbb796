/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sizes, rates and durations as people write and read them. Decimal units (1 MB = 1,000,000
 * bytes), as links are rated. Pure, thread-safe, independent of the locale.
 */
#ifndef FREM_CMD_UNITS_H
#define FREM_CMD_UNITS_H

#include <stdint.h>

#include "base/error.h"

#define UNITS_SIZE 32

/* "999 B", "1.23 kB", "45.6 MB". */
void units_bytes(uint64_t bytes, char out[UNITS_SIZE]);
/* "7.00 MB/s"; a negative or absurd rate is "0 B/s". */
void units_rate(double bytes_per_second, char out[UNITS_SIZE]);
/* "55 ms", "1.23 s", "45.6 s", "2 min 05 s", "3 h 07 min", "2 d 04 h". */
void units_duration(double ms, char out[UNITS_SIZE]);
/* "12.3 %" of whole; "0 %" where whole is 0. */
void units_share(uint64_t part, uint64_t whole, char out[UNITS_SIZE]);

/*
 * "500ms", "10s", "2m", "1h", "1.5s", or a plain number of seconds, at most 10 years. Nothing may
 * stand before, between or behind. Error: FREM_USAGE; *ret_ms is untouched then. Zero is accepted:
 * whether it makes sense is the caller's to say.
 */
int units_parse_duration(const char *text, uint64_t *ret_ms, struct frem_error *err);
/*
 * "7MB/s", "32MB", "1Gbit", "200Mbit/s", with k, M or G, or Ki, Mi or Gi before B: bytes a second,
 * at least 1, at most 10^15. A plain number is refused: bits or bytes? Error: FREM_USAGE.
 */
int units_parse_rate(const char *text, uint64_t *ret_bytes_per_second, struct frem_error *err);
/* "500MB", "1.5GiB", "4096B", units as above: bytes, at most 10^18. Error: FREM_USAGE. */
int units_parse_size(const char *text, uint64_t *ret_bytes, struct frem_error *err);
/* A whole number from least to most, decimal digits only. `what` names it in the error: FREM_USAGE.
 */
int units_parse_number(const char *text, const char *what, uint64_t least, uint64_t most,
		       uint64_t *ret, struct frem_error *err);

#endif

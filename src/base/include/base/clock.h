/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef FREM_BASE_CLOCK_H
#define FREM_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NSEC_PER_MSEC UINT64_C(1000000)
#define NSEC_PER_SEC UINT64_C(1000000000)

/* Any clock in nanoseconds; 0 where it cannot be read. */
uint64_t clock_read_ns(clockid_t clock);
/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t clock_ns(void);
/* Processor time of this thread in nanoseconds. */
uint64_t clock_thread_cpu_ns(void);
/* Milliseconds since `start` (a clock_ns() value). */
double clock_ms_since(uint64_t start);
/* Formats the wall-clock time t (seconds since 1970) as RFC 3339 UTC; out takes 21 bytes. */
void clock_rfc3339(int64_t t, char out[21]);

#endif

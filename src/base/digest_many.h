/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ways to compute digests several at a time; digest_many() chooses. Only where the processor
 * has the vectors. */
#ifndef FREM_BASE_DIGEST_MANY_H
#define FREM_BASE_DIGEST_MANY_H

#include "base/digest.h"

void digest_many_avx2(const struct digest_job *jobs, size_t n, size_t size);
void digest_many_avx512(const struct digest_job *jobs, size_t n, size_t size);

#endif

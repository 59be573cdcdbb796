/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What every fuzz target is, and what libFuzzer or replay_main.c calls. */
#ifndef FREM_TESTS_FUZZ_H
#define FREM_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* A broken promise: stops the fuzzer as a crash does. */
#define FUZZ_ASSERT(what)                                                                    \
	do {                                                                                 \
		if (!(what)) {                                                               \
			fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #what); \
			abort();                                                             \
		}                                                                            \
	} while (0)

/* Input may only ever be refused as damaged, in one line that names the object. */
static inline void fuzz_refused(const struct frem_error *err, const char *object)
{
	FUZZ_ASSERT(err->code == FREM_DAMAGED);
	FUZZ_ASSERT(strncmp(err->text, object, strlen(object)) == 0);
	for (const char *c = err->text; *c; c++)
		FUZZ_ASSERT((unsigned char)*c >= ' ' && *c != 0x7f);
}

#endif

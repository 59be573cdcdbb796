/* SPDX-License-Identifier: GPL-2.0-or-later */
/* In place of accessed_bits.c on architectures whose page tables the walker does not know yet. */
#include "backend.h"

static int open_none(struct backend **ret, struct frem_error *err)
{
	(void)ret;
	return frem_fail(err, FREM_UNABLE, 0, "not available on this processor architecture");
}

const struct backend_ops accessed_bits_backend = {.name = "accessed-bits", .open = open_none};

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The image files named so far in a head object: the rules that its writer and reader share. */
#ifndef FREM_FORMAT_HEAD_NAMES_H
#define FREM_FORMAT_HEAD_NAMES_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct head_names {
	void *tree; /* of tsearch(3) */
	size_t n;
};

void head_names_done(struct head_names *t);

/*
 * Each of these returns 0, -ENOMEM, or -EINVAL with *ret_fault saying what is wrong ("is named
 * twice"); nothing is changed then.
 */
/* A whole file of n bytes. */
int head_names_file(struct head_names *t, const char *name, uint64_t n, const char **ret_fault);
/* A sparse file of the given size. */
int head_names_sparse(struct head_names *t, const char *name, uint64_t size,
		      const char **ret_fault);
/* A run: within its sparse file, aligned, behind the run before. */
int head_names_run(struct head_names *t, const char *name, uint64_t offset, uint64_t n,
		   const char **ret_fault);

#endif

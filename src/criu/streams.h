/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Terminals, and pipes and sockets whose other end is outside of the tree.
 *
 * CRIU cannot bring those back by itself. At the dump they are declared external; at the restore,
 * before CRIU reads the image, each descriptor that used one is made an entry of a regular file
 * with a reserved name, and CRIU is told to take a descriptor of ours for that name (inherit_fd):
 * standard input, output and error go to the caller's, by number, whatever those are; everything
 * else that had a terminal goes to the caller's terminal, or to /dev/null.
 */
#ifndef FREM_CRIU_STREAMS_H
#define FREM_CRIU_STREAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <termios.h>

#include "base/error.h"

#define STREAMS 4     /* standard input, output, error, and */
#define STREAM_NULL 3 /* /dev/null */

struct stream_keys {
	char **list;
	size_t n;
};

/* What CRIU must treat as external (keys of its `external` option), of a frozen tree. */
int streams_find_external(pid_t root, struct stream_keys *ret, struct frem_error *err);
void stream_keys_done(struct stream_keys *keys);

struct streams {
	int fds[STREAMS]; /* what CRIU inherits; those we opened are closed by streams_done() */
	bool opened[STREAMS];
	bool has_terminal; /* the job's terminal is now the caller's: set it up the same way */
	struct termios terminal;
};

/* Rewrites the image so that its outside streams become inherited ones. Doing it twice is no
 * error. */
int streams_connect(int dirfd, struct streams *ret, struct frem_error *err);
/* The name under which CRIU finds stream i. */
const char *streams_key(int i);
/* Gives the caller's terminal the mode that the job had set on its own. */
void streams_set_terminal(const struct streams *s);
void streams_done(struct streams *s);

#endif

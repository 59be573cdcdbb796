/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The embedded HTTP store (`frem serve`): objects below a root directory. GET and HEAD with ranges
 * and ETags, PUT (to a temporary file, fsync, rename; If-None-Match: * gives 412), DELETE, and
 * GET /?prefix=P, a JSON listing. The protocol is described in docs/format.md.
 */
#ifndef FREM_SERVER_SERVER_H
#define FREM_SERVER_SERVER_H

#include <stdint.h>

#include "base/cleanup.h"
#include "base/error.h"

struct server_options {
	const char *root;    /* an existing directory */
	const char *listen;  /* ADDR:PORT, [V6ADDR]:PORT; port 0 takes a free one */
	uint64_t max_object; /* bytes of one PUT; 0: no limit but the disk */
};

struct server;

/* Starts serving on threads of its own. Error: FREM_USAGE for bad options, FREM_FAILED otherwise.
 */
int server_start(const struct server_options *o, struct server **ret, struct frem_error *err);
/* "http://ADDR:PORT" as bound; owned by s. */
const char *server_url(const struct server *s);
/* Stops: waits for requests under way for a few seconds at most; unfinished PUTs leave nothing. */
void server_free(struct server *s);

FREM_CLEANUP(struct server *, cleanup_server, server_free)
#define _cleanup_server_ _cleanup_(cleanup_server)

#endif

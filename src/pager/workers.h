/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Threads of the pager process that turn items into pages in place: read (from a local store),
 * verify, decode, copy. As many as there are processors, so that a fast source is drained by all of
 * them.
 *
 * The engine's lock guards everything that threads share; its own thread holds it but while it
 * waits. A worker holds it but while it reads, verifies, decodes or copies. What keeps a copy and
 * the events of its address space apart: engine.c, 2. A worker never reads events, and never says
 * anything to the lanes: whatever it could not do as a whole comes back marked `by_engine`, and the
 * engine's thread does it again and finds out why.
 *
 * All functions but workers_free() are called with the lock held, by the engine's thread.
 */
#ifndef FREM_PAGER_WORKERS_H
#define FREM_PAGER_WORKERS_H

#include "base/cleanup.h"
#include "base/error.h"
#include "item.h"

struct engine;
struct workers;

/* Where threads cannot be had there are fewer, or none. */
int workers_new(struct engine *e, struct workers **ret, struct frem_error *err);
/* Ends the threads, without the lock. Items that are left are freed. */
void workers_free(struct workers *w);
/* Whether there are threads at all. */
bool workers_any(const struct workers *w);
/* How many items may be handed over now. */
size_t workers_room(const struct workers *w);
/* Takes an item over. */
void workers_put(struct workers *w, struct item *i);
/* Takes an item back that is needed now: *ret, or NULL where it is being worked on, or comes out of
 * workers_done(). False: it is not here. */
bool workers_withdraw(struct workers *w, enum item_kind kind, size_t frame, struct item **ret);
/* The next item that was worked on; NULL: none. */
struct item *workers_done(struct workers *w);
/* Nothing is here. */
bool workers_idle(const struct workers *w);
/* Readable when the engine should look: something was left to it, or there is little to do. */
int workers_fd(const struct workers *w);
void workers_heard(struct workers *w);

FREM_CLEANUP(struct workers *, cleanup_workers, workers_free)
#define _cleanup_workers_ _cleanup_(cleanup_workers)

#endif

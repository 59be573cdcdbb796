/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What happens to tracked address spaces between scans (events.bpf.c). The programs are attached
 * for the window only, and to tracepoints that cost other processes next to nothing. One thread at
 * a time.
 */
#ifndef FREM_TRACK_EVENTS_H
#define FREM_TRACK_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "bpf_walker.h"
#include "event.h"

struct events;

int events_new(struct events **ret, const struct page_layout *layout, struct frem_error *err);
void events_free(struct events *e);

/* Best effort: logs in one line what this kernel does not tell. Nothing is told before
 * events_track(). */
void events_attach(struct events *e);
/* Nothing more is told. */
void events_detach(struct events *e);

/* While nothing runs in any of them: tells of these address spaces, number i the i-th; an address
 * of 0 is none. Children get numbers from n on. */
int events_track(struct events *e, const uint64_t *mms, size_t n, struct frem_error *err);
/* Whether an EVENT_GONE comes for each address space. */
bool events_tell_end(const struct events *e);

typedef void (*events_take)(void *arg, const struct event *event);

/* Gives all events since the last time to `take`, in their order. Cheap when there are none. */
void events_drain(struct events *e, events_take take, void *arg);
/* Events that could not be told so far. */
uint64_t events_lost(const struct events *e);

#endif

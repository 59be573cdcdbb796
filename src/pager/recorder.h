/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Recording a restart's first touches.
 *
 * A userfaultfd shows the first touch of a page only while the page is not in place. So while
 * recording, all that arrives is verified as ever but kept back, in the file of the recording; a
 * fault takes its page from there, and that page alone, or is fetched on demand where it has not
 * arrived. When the window closes, the rest is put in place from the file. The window is that of
 * a touch set: pages that are first touched once the whole image could be there are not urgent.
 *
 * Whether there is anything to record may not be known before the touch object's descriptor is
 * there, or is found to be missing. Until then it is recorded on trial.
 */
#ifndef FREM_PAGER_RECORDER_H
#define FREM_PAGER_RECORDER_H

#include "engine_impl.h"

#define RECORDER_LEAST_MS 1000u
#define RECORDER_MOST_MS 600000u

/* Once the image's map is known. Makes e->recorder, or leaves it NULL where nothing is recorded. */
int recorder_start(struct engine *e, struct frem_error *err);
void recorder_free(struct recorder *r);
/* What arrives is kept back. */
bool recorder_keeps(const struct engine *e);
/* The page is in the file. */
bool recorder_has(const struct engine *e, uint64_t page);
/* Keeps what is decoded. False: recording had to end, the pages are to be put in place as ever. */
bool recorder_keep(struct engine *e, const struct batch *b);
/* Answers a fault, read at `ns`, with a page that is in the file. */
int recorder_answer(struct engine *e, struct member *m, uint64_t page, uint64_t ns,
		    struct frem_error *err);
/* Opens and closes the window, and puts in place what was kept back. */
int recorder_step(struct engine *e, struct frem_error *err);
/* All memory is in, or nobody is left who wants it. */
void recorder_drained(struct engine *e);
/* Milliseconds until recorder_step() has something to do, or -1. */
int recorder_timeout(const struct engine *e);

#endif

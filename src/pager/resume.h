/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A pager process that takes up what a killed one has left.
 *
 * What must not be lost, and why it is not.
 *
 * 1. The userfaultfds. The keeper holds the same descriptors; the numbers of the forked children's
 *    are in the journal.
 * 2. Events. A read() takes them away from the kernel, for ever, and the thread that caused one
 *    goes on at once. So they are read into memory that is shared with the keeper (struct
 * wire_raw), from where they are journaled before anything is done about them, with the number of
 * the read. A process that is killed first finishes the system call that it is in: the kernel takes
 * a message and copies it without looking at signals, one after the other, so all that it took is
 *    in the buffer when the process is gone. How many there are only the buffer tells: each had its
 *    first byte, the event, set to 0 before. Copying cannot fail either: the buffer is locked in
 *    memory; where it cannot be, no new pager process is started. Should a fork's event have been
 *    lost all the same, there would be a userfaultfd that the journal does not know: the tree is
 *    killed then.
 * 3. What was decided on the order of events (changes.c) depends on the moment, and is journaled
 *    before it is applied. What was not decided on is put off again.
 * 4. Which pages are settled. The bits are in shared memory, each set after its page was put in
 *    place. Where the process was killed in between, the page is put there again: EEXIST. What the
 *    program discarded is not in the map any more, by the journal. A forked child's bits count once
 *    they are complete, else all that its map holds is wanted: that is right too.
 * 5. Faults. Those that were read are raised again: all waiting threads are woken.
 *
 * All else is lost and does no harm: what was fetched and not put in place comes again, what a
 * recording kept back as well.
 */
#ifndef FREM_PAGER_RESUME_H
#define FREM_PAGER_RESUME_H

#include "engine_impl.h"

/* Before the members are made: where they keep what must not be lost. */
int resume_open(struct engine *e, struct frem_error *err);
/* All is loaded, the members are there: from here on, another process can take it up. */
int resume_offer(struct engine *e, struct frem_error *err);
/* Takes up what the process before this one has left. */
int resume_take_up(struct engine *e, struct frem_error *err);
/* Keeps the journal short; at any time. */
int resume_step(struct engine *e, struct frem_error *err);

#endif

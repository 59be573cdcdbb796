/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who puts an item in place, and when: the engine's thread, a worker, or nobody yet. */
#include <fcntl.h>
#include <stdlib.h>

#include "engine_impl.h"
#include "workers.h"

/* Bytes of frames that may wait in memory for the end of the restore. PAGER_TOUCH_SET needs all of
 * the touch set there; else what does not fit comes again with the remaining image. */
#define HELD_MAX (UINT64_C(1) << 30)
/* A fault that waits for a page that is here is served at once, if it is among so many. */
#define FAULTS_LOOKED_AT 64u
/* Stored bytes that are taken from the plan together, and the room in front of the workers that is
 * filled with them. */
#define LOCAL_CHUNK (UINT64_C(512) << 10)
#define LOCAL_ROOM 16u

static struct item **slot(struct engine *e, enum item_kind kind, size_t frame)
{
	struct item **slots = kind == ITEM_PAGES ? e->held_pages : e->held_touch;

	return slots ? &slots[frame] : NULL;
}

static void hold(struct engine *e, struct item *i)
{
	struct item **s = slot(e, i->kind, i->frame);

	if (*s || (e->held_bytes + i->n > HELD_MAX && e->o->mode != PAGER_TOUCH_SET)) {
		if (!*s && i->kind == ITEM_PAGES)
			lanes_dropped(e->lanes, i->frame);
		else if (!*s)
			touch_lane_dropped(e, i->frame);
		free(i);
		return;
	}
	if (i->kind == ITEM_PAGES)
		lanes_good(e->lanes, i->frame);
	i->by_engine = false;
	*s = i;
	e->held_bytes += i->n;
	TAILQ_INSERT_TAIL(&e->held, i, link);
}

static void unhold(struct engine *e, struct item *i)
{
	*slot(e, i->kind, i->frame) = NULL;
	e->held_bytes -= i->n;
	TAILQ_REMOVE(&e->held, i, link);
}

static struct item *find_arrived(const struct engine *e, enum item_kind kind, size_t frame)
{
	struct item *i;

	TAILQ_FOREACH(i, &e->arrived, link)
	if (i->kind == kind && i->frame == frame)
		return i;
	return NULL;
}

bool deliver_held(struct engine *e, enum item_kind kind, size_t frame)
{
	struct item **s = slot(e, kind, frame), *i = s ? *s : NULL;
	bool here = true;

	if (i)
		unhold(e, i);
	else if ((i = find_arrived(e, kind, frame)))
		TAILQ_REMOVE(&e->arrived, i, link);
	else
		here = workers_withdraw(e->workers, kind, frame, &i);
	if (i) {
		i->by_engine = true;
		TAILQ_INSERT_HEAD(&e->arrived, i, link);
	}
	return here;
}

void deliver_held_all(struct engine *e)
{
	struct item *i;

	/* what is held came before what arrived since */
	while ((i = TAILQ_LAST(&e->held, item_queue))) {
		unhold(e, i);
		TAILQ_INSERT_HEAD(&e->arrived, i, link);
	}
}

/* Whether some fault is known to wait for a page of the batch. */
static bool is_waited_for(const struct engine *e, const struct batch *b)
{
	for (size_t i = 0; i < e->n_faults && i < FAULTS_LOOKED_AT; i++) {
		const struct fault *f = &e->faults[i];
		uint64_t number;

		if (!space_find(f->member->space, f->address, &number))
			continue;
		for (unsigned k = 0; k < b->n; k++)
			if (b->number[k] == number)
				return true;
	}
	return false;
}

/* What nobody waits for is for the workers, as far as they keep up. */
static bool is_for_workers(const struct engine *e, const struct item *i)
{
	struct batch b;
	bool now;

	return !i->by_engine && workers_room(e->workers) && deliver_is_of_use(e, i, &b, &now) &&
	       now && !is_waited_for(e, &b);
}

/* What the workers are through with. */
static void take_back(struct engine *e)
{
	struct item *i;

	while ((i = workers_done(e->workers))) {
		if (i->by_engine) {
			TAILQ_INSERT_TAIL(&e->arrived, i, link);
			continue;
		}
		deliver_was_good(e, i);
		free(i);
	}
}

int deliver_arrived(struct engine *e, struct frem_error *err)
{
	struct item *i;
	int r = 0;

	take_back(e);
	while (r >= 0 && (i = TAILQ_FIRST(&e->arrived))) {
		TAILQ_REMOVE(&e->arrived, i, link);
		if (is_for_workers(e, i)) {
			workers_put(e->workers, i);
			continue;
		}
		r = deliver_item(e, i, err);
		if (r == DELIVERED_HELD)
			hold(e, i);
		else
			free(i);
		if (r >= 0)
			r = engine_poll(e, 0, err);
	}
	return r < 0 ? r : 0;
}

static bool take_from_plan(struct engine *e)
{
	const uint64_t *at = e->loaded.index->offsets;

	if (!lanes_take(e->lanes, LOCAL_CHUNK, &e->local_next, &e->local_end))
		return false;
	if (e->local_fd < 0)
		return true;
	posix_fadvise(e->local_fd, (off_t)at[e->local_next],
		      (off_t)(at[e->local_end] - at[e->local_next]), POSIX_FADV_WILLNEED);
	return true;
}

/* Without workers one frame at a time is read, so that it is not in the way of a fault. */
static bool takes_more(const struct engine *e)
{
	if (e->busy) /* some address space takes nothing just now, and it would have to be held */
		return false;
	return workers_any(e->workers) ? workers_room(e->workers) > LOCAL_ROOM
				       : TAILQ_EMPTY(&e->arrived);
}

/* What is on this machine is read by the workers, in the order of the plan, some frames ahead. */
int deliver_local(struct engine *e, struct frem_error *err)
{
	while (takes_more(e)) {
		struct item *i;

		if (e->local_next == e->local_end && !take_from_plan(e))
			break;
		if (!engine_frame_wanted(e, e->local_next)) {
			e->local_next++;
			continue;
		}
		i = item_new(ITEM_PAGES, e->local_next, NULL, 0);
		if (!i)
			return frem_oom(err);
		e->local_next++;
		i->unread = true;
		i->sources = e->local_source;
		if (workers_any(e->workers)) {
			workers_put(e->workers, i);
		} else {
			TAILQ_INSERT_TAIL(&e->arrived, i, link);
			e->goes_on = true;
		}
	}
	return 0;
}

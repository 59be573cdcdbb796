/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The address spaces that are tracked: one for each armed task, and the children that they fork in
 * the window. Each has a view, which follows the events. One thread at a time.
 */
#ifndef FREM_TRACK_SPACES_H
#define FREM_TRACK_SPACES_H

#include <stddef.h>
#include <stdint.h>

#include "arm.h"
#include "base/error.h"
#include "event.h"
#include "view.h"

struct space {
	uint32_t number;
	struct tracked_task *task; /* through which it is read; without a link at first */
	struct view *view;
	struct tracked_task child; /* what task points to, if it is no armed one */
};

struct spaces {
	struct space **list; /* by number */
	size_t n, cap;
	view_take take; /* gets sights of image pages that events carry */
	void *arg;
	uint64_t failed; /* events that could not be followed */
};

void spaces_done(struct spaces *s);

/* The armed task's address space, all of it as in the image; number: the task's. */
int spaces_add(struct spaces *s, uint32_t number, struct tracked_task *task,
	       struct frem_error *err);
/* The first one with this number or a higher one, or NULL. */
struct space *spaces_from(const struct spaces *s, uint32_t number);
struct space *spaces_find(const struct spaces *s, uint32_t number);
/* It is no more; its task is gone. */
void spaces_end(struct spaces *s, uint32_t number);

/* Follows an event: an events_take for struct spaces. */
void spaces_follow(void *spaces, const struct event *event);

#endif

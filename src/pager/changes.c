/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The order of events.
 *
 * A thread that changes its address space counts itself in the userfaultfd's counter of running
 * changes, under the lock of the address space, makes the change, lets go of the lock, queues its
 * event, sleeps until the event is read, and counts itself out. So two threads may queue their
 * events in the other order than they made their changes. Only moves make this matter: all other
 * events commute as far as a page's place goes. The cases, with X free after one thread's change
 * and then chosen by the kernel for another thread's mremap:
 *
 *   a) mm: unmap X, move Z to X.      read: move Z to X, unmap X
 *      Also one mremap from X alone gives this: it reports the move, then, by itself and later, the
 *      unmapping of X, and meanwhile X may have been taken.
 *   b) mm: move X to Y, move Z to X.  read: move Z to X, move X to Y
 *
 * While any change has not been read and slept off, the counter is not zero, and UFFDIO_COPY and
 * UFFDIO_ZEROPAGE refuse with EAGAIN. So whenever one of them does anything else, or the counter is
 * seen to be zero, every change made before is known: the space is calm. Two events read with a
 * calm moment in between are in their true order; only events of one window between calm moments
 * can be in doubt. Within a window we remember the moves, and when a later event touches the
 * destination of a move we do not decide before the next calm moment, when the kernel can be asked
 * whether anything is mapped there:
 *
 *   - something is: the move came last. A munmap read after it was (a) and is without effect there.
 *     A move away that was read after it was (b), or some chain of moves: its pages cannot be told
 *     apart, and the tree is ended rather than given wrong memory.
 *   - nothing is: the order of reading is the true one.
 *
 * That is conclusive while each range is the source, and the destination, of one move of the window
 * at most; with more, the tree is ended as well. Both take threads that move memory onto each
 * other's tracks within the microseconds between a change and its event, and are all but unseen.
 *
 * A fork that runs beside a munmap or mremap of another thread may be read in the wrong order too.
 * The child then has nothing at the place in question. Only memory is concerned that another thread
 * was taking away at that moment, which the child cannot use in any order it could rely on.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "engine_impl.h"
#include "uffd.h"

#define CHANGES_MAX 4096u

static int push(struct changes *list, const struct change *c, struct frem_error *err)
{
	if (list->n == CHANGES_MAX)
		return frem_fail(err, FREM_FAILED, 0,
				 "a program moved its memory %u times without a pause",
				 CHANGES_MAX);
	if (list->n == list->cap) {
		size_t cap = list->cap ? 2 * list->cap : 8;
		struct change *more = realloc(list->c, cap * sizeof(*more));

		if (!more)
			return frem_oom(err);
		list->c = more;
		list->cap = cap;
	}
	list->c[list->n++] = *c;
	return 0;
}

static bool overlap(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
	return a < b + b_len && b < a + a_len;
}

/* Whether the event touches a place to which something was moved in this window. */
static bool in_doubt(const struct member *m, const struct change *c)
{
	if (c->event == UFFD_EVENT_FORK)
		return false;
	for (size_t i = 0; i < m->window.n; i++) {
		const struct change *w = &m->window.c[i];

		if (overlap(c->from, c->len, w->to, w->len) ||
		    (c->event == UFFD_EVENT_REMAP && overlap(c->to, c->len, w->to, w->len)))
			return true;
	}
	return false;
}

static int apply(struct member *m, const struct change *c, struct frem_error *err)
{
	int r = change_apply(m, c, err);

	if (r == 0 && c->event == UFFD_EVENT_REMAP)
		r = push(&m->window, c, err);
	return r;
}

int changes_take(struct member *m, const struct change *c, struct frem_error *err)
{
	if (m->undecided.n || in_doubt(m, c))
		return push(&m->undecided, c, err);
	return apply(m, c, err);
}

static int ambiguous(const struct change *c, struct frem_error *err)
{
	return frem_fail(err, FREM_FAILED, 0,
			 "threads of the program moved memory to and from %#" PRIx64
			 " at the same time: what belongs there cannot be told",
			 c->from);
}

static const struct change *nth(const struct member *m, size_t i)
{
	return i < m->window.n ? &m->window.c[i] : &m->undecided.c[i - m->window.n];
}

/* Each range may be the source and the destination of one move only. */
static int check_single(const struct member *m, struct frem_error *err)
{
	size_t n = m->window.n + m->undecided.n;

	for (size_t i = 0; i < n; i++) {
		const struct change *a = nth(m, i);

		for (size_t j = i + 1; a->event == UFFD_EVENT_REMAP && j < n; j++) {
			const struct change *b = nth(m, j);

			if (b->event == UFFD_EVENT_REMAP &&
			    (overlap(a->to, a->len, b->to, b->len) ||
			     overlap(a->from, a->len, b->from, b->len)))
				return ambiguous(b, err);
		}
	}
	return 0;
}

/* Asks what is at [start, end) now: 1 where it is mapped, 0 where not, or -errno. */
static int is_mapped(const struct member *m, uint64_t start, uint64_t end, struct frem_error *err)
{
	int first = uffd_probe(m->fd, start), last = uffd_probe(m->fd, end - PAGE_BYTES);
	struct change c = {.from = start};

	if (first != last && first != -EAGAIN && last != -EAGAIN && first != -ESRCH)
		return ambiguous(&c, err);
	return first == 0 && last == 0 ? 1 : first == -ENOENT && last == -ENOENT ? 0 : first;
}

static bool moved_away_later(const struct changes *list, size_t from, uint64_t start, uint64_t end)
{
	for (size_t i = from; i < list->n; i++)
		if (list->c[i].event == UFFD_EVENT_REMAP &&
		    overlap(list->c[i].from, list->c[i].len, start, end - start))
			return true;
	return false;
}

/* Number i of the list, or a part of it. */
static int decide_one(struct member *m, const struct changes *list, size_t i, struct change c,
		      struct frem_error *err)
{
	for (size_t k = 0; c.event != UFFD_EVENT_FORK && k < m->window.n; k++) {
		struct change w = m->window.c[k], before = c, behind = c;
		uint64_t start = c.from > w.to ? c.from : w.to;
		uint64_t end = c.from + c.len < w.to + w.len ? c.from + c.len : w.to + w.len;
		int r;

		if (start >= end || c.event == UFFD_EVENT_REMOVE)
			continue;
		r = is_mapped(m, start, end, err);
		if (r < 0)
			return r;
		if (c.event == UFFD_EVENT_REMAP && r == 1)
			return ambiguous(&c, err); /* case (b) */
		if (c.event == UFFD_EVENT_REMAP ||
		    (r == 0 && !moved_away_later(list, i + 1, start, end)))
			continue;
		/* case (a): older than the move, without effect on what that brought */
		before.len = start - c.from;
		behind.from = end;
		behind.len = c.from + c.len - end;
		r = before.len ? decide_one(m, list, i, before, err) : 0;
		return r == 0 && behind.len ? decide_one(m, list, i, behind, err) : r;
	}
	return apply(m, &c, err);
}

int changes_decide(struct member *m, struct frem_error *err)
{
	struct changes list;
	int r = check_single(m, err);
	size_t i;

	list = m->undecided;
	m->undecided = (struct changes){0};
	for (i = 0; i < list.n && r == 0 && !m->dead; i++)
		r = decide_one(m, &list, i, list.c[i], err);
	if (r == -ESRCH) {
		member_end(m);
		r = 0;
	}
	/* not calm any more: the rest waits for the next such moment, together with what comes */
	for (i -= r == -EAGAIN; r == -EAGAIN && i < list.n; i++)
		if (push(&m->undecided, &list.c[i], err) < 0)
			r = -ENOMEM;
	free(list.c);
	return r == -EAGAIN ? 1 : r;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The order of events.
 *
 * A thread that changes its address space counts itself in the userfaultfd's counter of running
 * changes, under the lock of the address space, makes the change, lets go of the lock, queues its
 * event, sleeps until the event is read, and counts itself out. So a thread that is held up between
 * lock and queue has its event read after those of changes that were made later. As long as nothing
 * is moved, that does not matter: the other events commute. A move matters where its destination is
 * a place that another thread has just left or unmapped:
 *
 *   a) made: unmap X, move Z to X.        read: move Z to X, unmap X
 *   b) made: move X to Y, move Z to X.    read: move Z to X, move X to Y
 *
 * Besides, every mremap that moves X reports, after the move and by itself, that X was unmapped:
 * the trailing event. Meanwhile X may have been taken, as in (a). It says nothing new and is left
 * out. (A move without it was MREMAP_DONTUNMAP: X stays mapped, empty.)
 *
 * While any change has not been read and slept off, the counter is not zero, and UFFDIO_COPY and
 * UFFDIO_ZEROPAGE refuse with EAGAIN. When the counter is zero, all changes made before are known:
 * the space is calm. Changes before and after a calm moment are in their true order. So from the
 * first move on, events are put off until the next calm moment; nothing could be put in place
 * sooner anyway. Then the kernel can be asked what is mapped (it says EAGAIN when the moment has
 * passed), and the order is examined for each stretch of addresses to which something was moved:
 *
 *   A stretch is taken (moved to: in) and left (moved from or unmapped: out) by turns; that is what
 *   an address space is. No thread can use what another one's mremap has placed before that mremap
 *   returned, hence before its events were read. So an out that is read before an in was made
 * before it, and two ins are read in their order; only an out may be read too late. If, as read,
 * ins and outs take turns and the last of them agrees with what is mapped now, the order of reading
 * is the only possible one: going from the front, each in must be followed by one out before the
 *   next in, and the out that was read between them can be nowhere else.
 *
 *   Two munmaps in a row are all the same: whichever came first, what had been there is gone.
 *
 *   If they do not take turns, or the last is an out and yet something is mapped, the pages cannot
 * be told apart, and the tree is ended rather than given wrong memory. With (a) and (b) that takes
 * a thread held up within the microsecond between lock and queue for as long as another one's whole
 * mremap. It is the same where a mapping has grown into a place that was moved to and unmapped
 * since the last calm moment: by how much a mapping grows is never told, so that this looks like
 * (a).
 *
 * A fork that runs beside a munmap or mremap of another thread may be read too late or too soon as
 * well. The child may then have nothing at the place in question. Only memory is concerned that
 * another thread was taking away at that moment, which the child cannot use in any order it could
 * rely on.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/log.h"
#include "engine_impl.h"
#include "uffd.h"

/* More than that without a calm moment, and the examination would take too long. */
#define CHANGES_MAX 4096u

/* The examination of what was put off. */
struct order {
	struct member *m;
	const struct change *c;
	size_t n;
	bool *trailing; /* per change */
	bool *stays;	/* moves whose source stays mapped */
};

enum turn {
	TURN_NONE,
	TURN_IN,
	TURN_OUT,
};

int changes_put_off(struct changes *list, const struct change *c, struct frem_error *err)
{
	if (list->n == CHANGES_MAX)
		return frem_fail(err, FREM_FAILED, 0,
				 "threads of the program moved memory %u times without a pause",
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

void changes_done(struct changes *list)
{
	free(list->c);
	*list = (struct changes){0};
}

bool changes_must_wait(const struct member *m, const struct change *c)
{
	return m->undecided.n || c->event == UFFD_EVENT_REMAP;
}

static bool covers(uint64_t start, uint64_t len, uint64_t address)
{
	return address >= start && address - start < len;
}

static bool overlap(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
	return a < b + b_len && b < a + a_len;
}

/* Finds each move's trailing event. */
static void find_trailing(struct order *o)
{
	for (size_t i = 0; i < o->n; i++) {
		const struct change *a = &o->c[i];

		if (a->event != UFFD_EVENT_REMAP)
			continue;
		o->stays[i] = true;
		for (size_t k = i + 1; k < o->n && o->stays[i]; k++) {
			const struct change *b = &o->c[k];

			if (b->event != UFFD_EVENT_UNMAP || o->trailing[k] || b->from != a->from ||
			    b->len != a->len)
				continue;
			o->trailing[k] = true;
			o->stays[i] = false;
		}
	}
}

/* What change i does to the place at address. */
static enum turn turn_of(const struct order *o, size_t i, uint64_t address)
{
	const struct change *c = &o->c[i];

	if (c->event == UFFD_EVENT_REMAP && covers(c->to, c->len, address))
		return TURN_IN;
	if (o->trailing[i] || o->stays[i] || !covers(c->from, c->len, address))
		return TURN_NONE;
	return c->event == UFFD_EVENT_REMAP || c->event == UFFD_EVENT_UNMAP ? TURN_OUT : TURN_NONE;
}

/* Whether ins and outs at address take turns and end with what is mapped. */
static bool takes_turns(const struct order *o, uint64_t address, bool mapped)
{
	enum turn last = TURN_NONE;
	bool last_unmaps = false;

	for (size_t i = 0; i < o->n; i++) {
		enum turn t = turn_of(o, i, address);
		bool unmaps = o->c[i].event == UFFD_EVENT_UNMAP;

		if (t == TURN_NONE)
			continue;
		if (t == last && !(unmaps && last_unmaps))
			return false;
		last = t;
		last_unmaps = unmaps;
	}
	return last == (mapped ? TURN_IN : TURN_OUT);
}

static int ambiguous(uint64_t address, struct frem_error *err)
{
	return frem_fail(err, FREM_FAILED, 0,
			 "threads of the program moved memory to and from %#" PRIx64
			 " at the same time: what belongs there cannot be told",
			 address);
}

/* Asks what is at [start, end) now: 1 where it is mapped, 0 where not, or -errno. */
static int is_mapped(const struct member *m, uint64_t start, uint64_t end, struct frem_error *err)
{
	int first = uffd_probe(m->fd, start), last = uffd_probe(m->fd, end - PAGE_BYTES);

	/* a change that began in between may have shown as ENOENT: only then it is counted */
	if (first == -EAGAIN || last == -EAGAIN || uffd_changing(m->fd))
		return -EAGAIN;
	if (first != last)
		return ambiguous(start, err);
	return first == 0 ? 1 : first == -ENOENT ? 0 : first;
}

/* [start, end) is covered as a whole or not at all by each change. */
static int examine_stretch(const struct order *o, uint64_t start, uint64_t end,
			   struct frem_error *err)
{
	int r = is_mapped(o->m, start, end, err);

	if (r < 0 || takes_turns(o, start, r))
		return r < 0 ? r : 0;
	return ambiguous(start, err);
}

/* The next address behind `from` at which the range of some change begins or ends. */
static uint64_t next_edge(const struct order *o, uint64_t from, uint64_t end)
{
	for (size_t i = 0; i < o->n; i++) {
		const struct change *c = &o->c[i];
		const uint64_t edges[] = {c->from, c->from + c->len, c->to, c->to + c->len};

		for (size_t k = 0; k < (c->event == UFFD_EVENT_REMAP ? 4 : 2); k++)
			if (edges[k] > from && edges[k] < end)
				end = edges[k];
	}
	return end;
}

/* The destination of move i, unless nothing else happened there, or it was examined before. */
static int examine_move(const struct order *o, size_t i, struct frem_error *err)
{
	const struct change *a = &o->c[i];
	bool alone = true;
	int r = 0;

	for (size_t k = 0; k < o->n; k++) {
		const struct change *b = &o->c[k];

		if (k == i || b->event == UFFD_EVENT_FORK || o->trailing[k])
			continue;
		if (b->event == UFFD_EVENT_REMAP && k < i && b->to == a->to && b->len == a->len)
			return 0;
		if (overlap(a->to, a->len, b->from, b->len) ||
		    (b->event == UFFD_EVENT_REMAP && overlap(a->to, a->len, b->to, b->len)))
			alone = false;
	}
	for (uint64_t at = a->to, end; !alone && r == 0 && at < a->to + a->len; at = end) {
		end = next_edge(o, at, a->to + a->len);
		r = examine_stretch(o, at, end, err);
	}
	return r;
}

static int examine(struct order *o, struct frem_error *err)
{
	int r = 0;

	o->trailing = calloc(o->n, sizeof(*o->trailing));
	o->stays = calloc(o->n, sizeof(*o->stays));
	if (!o->trailing || !o->stays)
		return frem_oom(err);
	find_trailing(o);
	for (size_t i = 0; i < o->n && r == 0; i++)
		if (o->c[i].event == UFFD_EVENT_REMAP)
			r = examine_move(o, i, err);
	return r;
}

/* What is to be applied, in this order. */
static int decide(const struct order *o, struct changes *out, struct frem_error *err)
{
	int r = 0;

	for (size_t i = 0; i < o->n && r == 0; i++)
		if (!o->trailing[i])
			r = changes_put_off(out, &o->c[i], err);
	return r;
}

/* It depends on what is mapped now, and could not be found out again. */
static int journal_decision(const struct member *m, const struct changes *decided,
			    struct frem_error *err)
{
	_cleanup_free_ struct journal_record *rec = calloc(decided->n + 1, sizeof(*rec));

	if (!rec)
		return frem_oom(err);
	rec[0] = (struct journal_record){.type = JOURNAL_DECIDED, .member = m->id};
	for (size_t i = 0; i < decided->n; i++)
		rec[i + 1] = (struct journal_record){
			.type = JOURNAL_APPLY, .member = m->id, .change = decided->c[i]};
	return journal_append(m->engine->journal, rec, decided->n + 1, err);
}

static int apply(struct member *m, const struct changes *decided, struct frem_error *err)
{
	int r = journal_decision(m, decided, err);

	if (r < 0)
		return r;
	changes_done(&m->undecided);
	m->engine->taking++;
	for (size_t i = 0; i < decided->n && r == 0 && !m->dead; i++)
		r = change_apply(m, &decided->c[i], err);
	m->engine->taking--;
	return r;
}

int changes_decide(struct member *m, struct frem_error *err)
{
	struct order o = {.m = m, .c = m->undecided.c, .n = m->undecided.n};
	struct changes decided = {0};
	int r = examine(&o, err);

	if (r == -ESRCH) {
		member_end(m);
		r = 0;
	} else if (r == -EAGAIN) {
		r = 0; /* not calm any more: at the next such moment, with what comes until then */
	} else if (r == 0) {
		r = decide(&o, &decided, err);
		if (r == 0)
			r = apply(m, &decided, err);
	}
	changes_done(&decided);
	free(o.trailing);
	free(o.stays);
	return r;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From stored frames to pages in place. */
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "engine_impl.h"
#include "recorder.h"
#include "report.h"
#include "uffd.h"
#include "workers.h"

/* Looks at events before a page is put off because its address space changes. */
#define TRIES 20
/* A worker leaves the looking to the engine, and waits for so long. */
#define LOOK_US 50
/* A program whose memory does not fit into its limit for so long is ended. */
#define FULL_NS (30 * NSEC_PER_SEC)
/* How long a killed task may take to die. */
#define LOST_NS (10 * NSEC_PER_SEC)

/* Some pages from one place on, going to one place. */
struct piece {
	uint64_t number;
	uint64_t address;
	uint64_t pages;
	const uint8_t *data; /* NULL: zeros */
};

static void settle(struct member *m, const struct piece *p, uint64_t pages)
{
	space_settle(m->space, p->number, pages);
	faults_answered(m, p->address, pages);
}

/* No memory for the page: the kernel may find some later. */
static int no_memory(struct member *m, int r, struct frem_error *err)
{
	uint64_t now = clock_ns();

	if (!m->full_ns)
		m->full_ns = now;
	if (now - m->full_ns > FULL_NS)
		return frem_fail(err, FREM_FAILED, -r, "putting memory of pid %d in place", m->pid);
	return -EAGAIN;
}

/*
 * After CRIU's word, the map says that a page belongs where nothing is registered. A forked child
 * did not inherit such memory (MADV_DONTFORK). In a task of the image it cannot be, but while it is
 * dying: the event of a killed thread is never read. If it lives on, its restore was not what the
 * image says, and it must not go on without a page that it may read as zero.
 */
static int not_registered(struct member *m, const struct piece *p, struct frem_error *err)
{
	uint64_t now = clock_ns();

	if (!m->original) {
		settle(m, p, 1);
		return 0;
	}
	if (!m->lost_ns)
		m->lost_ns = now;
	if (now - m->lost_ns > LOST_NS)
		return frem_fail(err, FREM_FAILED, 0,
				 "memory of pid %d at %#" PRIx64 " was not restored to be filled",
				 m->pid, p->address);
	return -EAGAIN;
}

/*
 * Nothing is registered at some page of the piece, though the map says so. A change may have begun
 * after the kernel looked at its counter, so the counter has to be looked at again; see changes.c.
 * Before CRIU's word the range may still have to be registered.
 */
static int not_there(struct member *m, struct piece *p, struct frem_error *err)
{
	if (uffd_changing(m->fd))
		return -EAGAIN;
	if (p->pages > 1) { /* perhaps two mappings side by side: one call takes one mapping */
		p->pages /= 2;
		return 0;
	}
	return m->engine->finished ? not_registered(m, p, err) : -ENOENT;
}

/* What became of one uffd_put(). 0: go on behind what is settled now; -EAGAIN and -ENOENT: later.
 */
static int judge(struct member *m, struct piece *p, int r, struct frem_error *err)
{
	switch (r) {
	case -EEXIST:
		uffd_wake(m->fd, p->address, 1);
		settle(m, p, 1);
		return 0;
	case -ENOENT:
		return not_there(m, p, err);
	case -ESRCH:
		member_end(m);
		return 0;
	case -ENOMEM:
	case -ENOSPC:
		return no_memory(m, r, err);
	case -EAGAIN:
		return r;
	default:
		return frem_fail(err, FREM_FAILED, -r,
				 "putting a page of pid %d in place at %#" PRIx64, m->pid,
				 p->address);
	}
}

static int put(struct member *m, struct piece *p, bool by_worker, struct frem_error *err)
{
	int r, fd = m->fd;
	uint64_t done;

	if (by_worker)
		member_copy_begins(m);
	r = uffd_put(fd, p->address, p->data, p->pages, &done);
	if (by_worker)
		member_copy_ended(m);
	if (done) {
		m->full_ns = m->lost_ns = 0;
		settle(m, p, done);
	}
	if (m->dead)
		return 0;
	/* after a part, the ioctl says EAGAIN whatever the reason was: the next call tells */
	return r == 0 || done ? 0 : judge(m, p, r, err);
}

int deliver_zero(struct member *m, uint64_t address, struct frem_error *err)
{
	uint64_t done;
	int r = uffd_put(m->fd, address, NULL, 1, &done);

	switch (r) {
	case 0:
	case -EEXIST:
		break;
	case -ENOENT:
		if (uffd_changing(m->fd))
			return -EAGAIN;
		break; /* unmapped meanwhile: its waiter shall see for itself */
	case -ESRCH:
		member_end(m);
		return 0;
	case -ENOMEM:
	case -ENOSPC:
		return no_memory(m, r, err);
	case -EAGAIN:
		return r;
	default:
		return frem_fail(err, FREM_FAILED, -r, "answering a fault of pid %d at %#" PRIx64,
				 m->pid, address);
	}
	if (r != 0)
		uffd_wake(m->fd, address, 1);
	m->full_ns = 0;
	faults_answered(m, address, 1);
	return 0;
}

/* Before CRIU's word, and while the restart is recorded, only what is waited for may be put in
 * place. */
static bool may_go(const struct member *m, uint64_t number)
{
	const struct engine *e = m->engine;

	return (e->finished && !recorder_keeps(e)) || faults_wait_for(m, number);
}

/* The longest piece of the batch from page i on that one call can put in place. */
static bool next_piece(const struct member *m, const struct batch *b, unsigned i, struct piece *ret)
{
	bool zero = b->zero >> i & 1;
	uint64_t most;
	unsigned n = 1;

	if (!space_locate(m->space, b->number[i], &ret->address, &most))
		return false;
	while (n < most && i + n < b->n && b->number[i + n] == b->number[i] + n &&
	       (b->zero >> (i + n) & 1) == zero && space_wants(m->space, b->number[i + n]) &&
	       may_go(m, b->number[i + n]))
		n++;
	ret->number = b->number[i];
	ret->pages = n;
	ret->data = zero ? NULL : b->raw + (size_t)i * PAGE_BYTES;
	return true;
}

/* An event is pending, or the program has no memory left. */
static int look_at_events(struct member *m, bool by_worker, struct frem_error *err)
{
	if (!by_worker) {
		sched_yield();
		return member_drain(m, err);
	}
	engine_unlock(m->engine);
	usleep(LOOK_US);
	engine_lock(m->engine);
	return 0;
}

int deliver_to(struct member *m, const struct batch *b, struct frem_error *err)
{
	enum delivered result = DELIVERED_ALL;
	unsigned tries = 0;
	uint64_t limit = FRAME_PAGES;
	int r;

	for (unsigned i = 0; i < b->n && !m->dead;) {
		struct piece p;

		if (b->by_worker)
			member_await_turn(m);
		if (!space_wants(m->space, b->number[i])) {
			i++;
			continue;
		}
		if (m->fd < 0 || !may_go(m, b->number[i]) || !next_piece(m, b, i, &p)) {
			result = DELIVERED_HELD;
			i++;
			continue;
		}
		if (p.pages > limit)
			p.pages = limit;
		if (!member_open(m)) {
			m->engine->busy = true;
			return DELIVERED_HELD;
		}
		r = put(m, &p, b->by_worker, err);
		limit = r == 0 && p.pages < limit && space_wants(m->space, p.number) ? p.pages
										     : FRAME_PAGES;
		if (r == -ENOENT) {
			result = DELIVERED_HELD;
			i++;
		} else if (r == -EAGAIN && ++tries < TRIES) {
			r = look_at_events(m, b->by_worker, err);
		} else if (r == -EAGAIN) {
			m->engine->busy = true;
			return DELIVERED_HELD;
		}
		if (r < 0 && r != -ENOENT)
			return r;
	}
	return result;
}

static bool wanted_by(const struct member *m, const struct batch *b)
{
	if (m->dead || space_left(m->space) == 0)
		return false;
	for (unsigned i = 0; i < b->n; i++)
		if (space_wants(m->space, b->number[i]))
			return true;
	return false;
}

static bool is_wanted(const struct engine *e, const struct batch *b)
{
	for (size_t i = 0; i < e->n_members; i++)
		if (wanted_by(e->members[i], b))
			return true;
	return false;
}

static bool goes_now(const struct engine *e, const struct batch *b)
{
	for (size_t i = 0; i < e->n_members; i++) {
		const struct member *m = e->members[i];

		for (unsigned k = 0; k < b->n && member_open(m); k++)
			if (space_wants(m->space, b->number[k]) && may_go(m, b->number[k]))
				return true;
	}
	return false;
}

/* A damaged touch frame is left to the lanes that fetch from `pages`. */
static void damaged(struct engine *e, const struct item *i, const struct batch *b,
		    const struct frem_error *why)
{
	if (i->kind == ITEM_PAGES) {
		lanes_damaged(e->lanes, i->frame, i->sources, why);
		return;
	}
	e->stats->frames_retried++;
	if (!e->touch_damaged) {
		char notice[512];

		/* said once, however much of it is damaged */
		e->touch_damaged = true;
		snprintf(notice, sizeof(notice), "%.400s, ignoring: its pages come from '%s'",
			 why->text, OBJECT_PAGES);
		report_event(PAGER_EVENT_NOTICE, notice, NULL);
	}
	for (unsigned k = 0; k < b->n; k++) {
		struct frem_error err;

		if (lanes_demand(e->lanes, (size_t)(b->number[k] / FRAME_PAGES), &err) < 0)
			log_info("%s, ignoring: the page comes later", err.text);
	}
	faults_look_again(e);
}

bool deliver_is_of_use(const struct engine *e, const struct item *i, struct batch *b, bool *ret_now)
{
	engine_item_pages(e, i->kind, i->frame, b);
	if (e->o->mode == PAGER_FULL) {
		*ret_now = true;
		return full_wanted(e, i->frame);
	}
	/* also what this program has given up: the next restart may need it */
	if (recorder_keeps(e)) {
		*ret_now = true;
		for (unsigned k = 0; k < b->n; k++)
			if (!recorder_has(e, b->number[k]))
				return true;
		return false;
	}
	*ret_now = goes_now(e, b);
	return is_wanted(e, b);
}

int opener_init(struct opener *o, struct frem_error *err)
{
	int r = frame_codec_new(1, &o->codec, err);

	if (r < 0)
		return r;
	o->stored = aligned_alloc(PAGE_BYTES, FRAME_STORED_MAX);
	o->raw = aligned_alloc(PAGE_BYTES, FRAME_RAW_MAX);
	return o->stored && o->raw ? 0 : frem_oom(err);
}

void opener_done(struct opener *o)
{
	frame_codec_free(o->codec);
	free(o->stored);
	free(o->raw);
}

/* A frame of `pages` that is in a file here: reads its stored bytes. */
static int read_here(const struct engine *e, size_t frame, size_t n, uint8_t *to,
		     struct frem_error *err)
{
	int r = file_pread_all(e->local_fd, to, n, e->loaded.index->offsets[frame]);

	return r < 0 ? frem_fail(err, FREM_STORE, -r, "reading the file") : 0;
}

int deliver_open(const struct engine *e, const struct item *i, struct opener *o, struct batch *b,
		 struct frem_error *err)
{
	bool of_pages = i->kind == ITEM_PAGES;
	const struct touch_set *touch = of_pages ? NULL : touch_stream_set(e->touch);
	const struct frame_index *x = of_pages ? e->loaded.index : touch->index;
	const struct frame_entry *entry = &x->entries[i->frame];
	int r = 0;

	if (e->loaded.local) { /* an image directory has no digests */
		b->raw = o->raw;
		return local_read(e->loaded.local, i->frame, o->raw, &b->zero, err);
	}
	if (i->unread)
		r = read_here(e, i->frame, entry->stored, o->stored, err);
	if (r == 0)
		r = frame_open(o->codec, entry, b->n, i->unread ? o->stored : i->data,
			       i->unread ? entry->stored : i->n, o->raw, &b->raw, err);
	b->zero = entry->zero_mask;
	if (r < 0 && touch)
		frem_context(err, r, "%s: frame %zu at offset %" PRIu64, OBJECT_TOUCH, i->frame,
			     touch->frames_offset + x->offsets[i->frame]);
	return r;
}

static int decode(struct engine *e, const struct item *i, struct batch *b, struct frem_error *err)
{
	struct frem_error why;
	int r;

	engine_unlock(e);
	r = deliver_open(e, i, &e->opener, b, &why);
	engine_lock(e);
	deliver_was_read(e, i);
	if (r < 0 && (e->loaded.local || (why.code != FREM_DAMAGED && why.code != FREM_STORE))) {
		*err = why;
		return r;
	}
	if (r < 0) {
		damaged(e, i, b, &why);
		return 0;
	}
	return 1;
}

void deliver_was_read(struct engine *e, const struct item *i)
{
	if (i->unread)
		e->local_bytes += e->loaded.index->entries[i->frame].stored;
}

void deliver_was_good(struct engine *e, const struct item *i)
{
	if (i->kind == ITEM_PAGES)
		lanes_good(e->lanes, i->frame);
}

int deliver_to_all(struct engine *e, const struct batch *b, struct frem_error *err)
{
	enum delivered result = DELIVERED_ALL;
	int r = 0;

	/* events read on the way may add members: forked children want the pages too */
	e->delivering++;
	for (size_t k = 0; k < e->n_members && r >= 0; k++) {
		r = wanted_by(e->members[k], b) ? deliver_to(e->members[k], b, err) : DELIVERED_ALL;
		if (r == DELIVERED_HELD)
			result = DELIVERED_HELD;
	}
	e->delivering--;
	return r < 0 ? r : (int)result;
}

int deliver_batch(struct engine *e, const struct batch *b, struct frem_error *err)
{
	if (recorder_keeps(e) && recorder_keep(e, b))
		return DELIVERED_ALL;
	return deliver_to_all(e, b, err);
}

int deliver_item(struct engine *e, const struct item *i, struct frem_error *err)
{
	struct batch b = {0};
	bool now;
	int r;

	if (!deliver_is_of_use(e, i, &b, &now)) {
		deliver_was_good(e, i);
		return DELIVERED_ALL;
	}
	if (!now)
		return DELIVERED_HELD;
	r = decode(e, i, &b, err);
	if (r <= 0)
		return r < 0 ? r : DELIVERED_ALL;
	deliver_was_good(e, i);
	return e->o->mode == PAGER_FULL ? full_put(e, i->frame, &b, err)
					: deliver_batch(e, &b, err);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/log.h"
#include "engine_impl.h"
#include "resume.h"
#include "uffd.h"

#define MEMBERS_MAX 1000000u
#define LOOKS 200 /* about 0.1 ms */

static void on_settled(void *arg, uint64_t first, uint64_t pages)
{
	struct engine *e = arg;

	e->stats->pages_in += pages;
	e->shared->resume.settled += pages;
	for (uint64_t i = 0; e->order && e->touch_left && i < pages; i++) {
		uint64_t place;

		if (touch_order_place(e->order, first + i, &place) && place < e->touched_pages)
			e->touch_left--;
	}
}

/* Of a forked child, whose pages are its forebear's in the statistics. */
static void on_child_settled(void *arg, uint64_t first, uint64_t pages)
{
	struct engine *e = arg;

	(void)first;
	e->shared->resume.settled += pages;
}

int members_add(struct engine *e, int32_t pid, struct space *s, struct member **ret,
		struct frem_error *err)
{
	struct member *m;

	if (e->n_members == e->cap_members) {
		size_t cap = e->cap_members ? 2 * e->cap_members : 16;
		struct member **more = NULL;

		if (cap <= MEMBERS_MAX)
			more = realloc(e->members, cap * sizeof(*more));
		if (!more)
			return frem_oom(err);
		e->members = more;
		e->cap_members = cap;
	}
	m = calloc(1, sizeof(*m));
	if (!m)
		return frem_oom(err);
	*m = (struct member){.engine = e, .pid = pid, .fd = -1, .space = s};
	e->members[e->n_members++] = m;
	*ret = m;
	return 0;
}

int member_share_bits(struct member *m, struct frem_error *err)
{
	int r = shared_bits_map(&m->engine->bits, m->id, space_words(m->space), &m->bits, err);

	if (r < 0)
		return r;
	space_share(m->space, m->bits);
	shared_bits_complete(m->bits);
	return 0;
}

int member_adopt_bits(struct member *m, struct frem_error *err)
{
	int r = shared_bits_map(&m->engine->bits, m->id, space_words(m->space), &m->bits, err);

	if (r < 0)
		return r;
	space_adopt(m->space, m->bits);
	if (!shared_bits_are_complete(m->bits)) {
		space_want_all(m->space);
		shared_bits_complete(m->bits);
	}
	return 0;
}

void members_count(struct engine *e)
{
	uint64_t in = 0;

	for (size_t i = 0; i < e->n_members; i++) {
		struct member *m = e->members[i];
		uint64_t first, pages;

		space_range(m->space, &first, &pages);
		if (m->original)
			in += pages - space_left(m->space);
		space_on_settled(m->space, m->original ? on_settled : on_child_settled, e);
	}
	e->stats->pages_in = in;
}

int members_make(struct engine *e, struct frem_error *err)
{
	const struct image_map *map = e->loaded.map;

	for (size_t i = 0; i < map->n_tasks; i++) {
		const struct image_task *t = &map->tasks[i];
		struct member *m;
		struct space *s;
		int r;

		if (!t->alive)
			continue;
		r = space_new(t, &s, err);
		if (r < 0)
			return r;
		r = members_add(e, t->pid, s, &m, err);
		if (r < 0) {
			space_free(s);
			return r;
		}
		m->original = true;
		m->id = shared_bits_reserve(&e->bits, space_words(s));
		r = member_share_bits(m, err);
		if (r < 0)
			return r;
	}
	members_count(e);
	return 0;
}

static void member_free(struct member *m)
{
	shared_bits_free(&m->engine->bits, m->id, space_words(m->space), m->bits);
	space_free(m->space);
	changes_done(&m->undecided);
	free(m);
}

void members_free(struct engine *e)
{
	for (size_t i = 0; i < e->n_members; i++)
		member_free(e->members[i]);
	free(e->members);
}

void members_reap(struct engine *e)
{
	size_t kept = 0;

	if (e->delivering) /* some worker goes through them: next time */
		return;
	for (size_t i = 0; i < e->n_members; i++) {
		if (e->members[i]->dead && !e->members[i]->original)
			member_free(e->members[i]);
		else
			e->members[kept++] = e->members[i];
	}
	e->n_members = kept;
}

int member_watch(struct member *m, int fd, struct frem_error *err)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = m};

	m->fd = fd;
	if (epoll_ctl(m->engine->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0)
		return frem_fail(err, FREM_FAILED, errno, "watching a userfaultfd");
	return 0;
}

int members_arrived(struct engine *e, int32_t pid, int fd, struct frem_error *err)
{
	for (size_t i = 0; i < e->n_members; i++) {
		struct member *m = e->members[i];

		if (m->pid != pid || !m->original)
			continue;
		if (m->fd >= 0 || m->dead)
			return frem_fail(err, FREM_REFUSED, 0,
					 "criu sent two userfaultfds for pid %d", pid);
		return member_watch(m, fd, err);
	}
	return frem_fail(err, FREM_REFUSED, 0,
			 "criu sent a userfaultfd for pid %d, which the image does not have", pid);
}

/* The child of a fork that was not decided on has a userfaultfd and no map. */
static bool loses_child(const struct member *m)
{
	for (size_t i = 0; i < m->undecided.n; i++)
		if (m->undecided.c[i].event == UFFD_EVENT_FORK)
			return true;
	return false;
}

/* The number of its descriptor stays taken for as long as some worker may use it. */
static void let_go(struct member *m)
{
	if (m->dead && m->copies == 0 && m->fd >= 0)
		close(take_fd(&m->fd));
}

void member_copy_begins(struct member *m)
{
	m->copies++;
	engine_unlock(m->engine);
}

void member_copy_ended(struct member *m)
{
	engine_lock(m->engine);
	m->copies--;
	let_go(m);
	if (m->shut && m->copies == 0)
		pthread_cond_broadcast(&m->engine->turn);
}

void member_await_turn(struct member *m)
{
	while (m->shut)
		pthread_cond_wait(&m->engine->turn, &m->engine->lock);
}

static void shut(struct member *m)
{
	m->shut = true;
	while (m->copies)
		pthread_cond_wait(&m->engine->turn, &m->engine->lock);
}

static void reopen(struct member *m)
{
	m->shut = false;
	pthread_cond_broadcast(&m->engine->turn);
}

void member_end(struct member *m)
{
	const struct journal_record end = {.type = JOURNAL_END, .member = m->id};
	struct frem_error err;

	if (m->dead)
		return;
	log_debug("the address space of pid %d is gone", m->pid);
	m->dead = true;
	m->engine->child_lost |= loses_child(m);
	faults_forget_member(m);
	space_end(m->space);
	/* first: the number of the descriptor will be someone else's */
	if (journal_append(m->engine->journal, &end, 1, &err) < 0)
		log_info("%s, ignoring: the pager process will not be started again", err.text);
	let_go(m);
	changes_done(&m->undecided);
}

bool member_open(const struct member *m)
{
	return m->fd >= 0 && !m->dead && m->undecided.n == 0;
}

/* The child's space holds at this point what the parent's does: its memory is that of the fork, no
 * page was put into the parent since (UFFDIO_COPY says EAGAIN from then until this event is read).
 */
static int take_fork(struct member *m, const struct change *c, struct frem_error *err)
{
	struct member *child;
	struct space *s;
	int r = space_clone(m->space, &s, err);

	if (r < 0)
		return r;
	r = members_add(m->engine, m->pid, s, &child, err);
	if (r < 0) {
		space_free(s);
		return r;
	}
	child->id = c->child;
	space_on_settled(s, on_child_settled, m->engine);
	r = member_share_bits(child, err);
	if (r == 0)
		r = member_watch(child, c->fd, err);
	return r < 0 ? r : member_drain(child, err);
}

static int drop(struct member *m, uint64_t start, uint64_t end, struct frem_error *err)
{
	int r = space_drop(m->space, start, end, err);

	/* who waits there has to look again: at another mapping, at zeros, or at nothing */
	uffd_wake(m->fd, start, (end - start) / PAGE_BYTES);
	faults_answered(m, start, (end - start) / PAGE_BYTES);
	return r;
}

int change_apply(struct member *m, const struct change *c, struct frem_error *err)
{
	int r;

	switch (c->event) {
	case UFFD_EVENT_FORK:
		return take_fork(m, c, err);
	case UFFD_EVENT_REMAP:
		r = space_move(m->space, c->from, c->to, c->len, err);
		uffd_wake(m->fd, c->from, c->len / PAGE_BYTES);
		faults_answered(m, c->from, c->len / PAGE_BYTES);
		return r;
	default:
		return drop(m, c->from, c->from + c->len, err);
	}
}

/* What a message says that is no fault. */
static int as_change(struct member *m, const struct uffd_msg *msg, struct change *ret,
		     struct frem_error *err)
{
	struct change c = {.event = msg->event, .fd = -1};

	switch (msg->event) {
	case UFFD_EVENT_FORK:
		c.fd = (int)msg->arg.fork.ufd;
		c.child = shared_bits_reserve(&m->engine->bits, space_words(m->space));
		break;
	case UFFD_EVENT_REMAP:
		c.from = msg->arg.remap.from;
		c.to = msg->arg.remap.to;
		c.len = msg->arg.remap.len;
		break;
	case UFFD_EVENT_REMOVE:
	case UFFD_EVENT_UNMAP:
		c.from = msg->arg.remove.start;
		c.len = msg->arg.remove.end - msg->arg.remove.start;
		break;
	default:
		return frem_fail(err, FREM_FAILED, 0,
				 "a userfaultfd said event %#x, which is not known", msg->event);
	}
	*ret = c;
	return 0;
}

int member_take(struct member *m, const struct uffd_msg *msg, size_t n, uint64_t seq,
		struct frem_error *err)
{
	struct journal_record rec[WIRE_EVENTS_AT_ONCE] = {0};
	size_t changes = 0;
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++) {
		if (msg[i].event == UFFD_EVENT_PAGEFAULT) {
			r = fault_add(m, msg[i].arg.pagefault.address & ~(uint64_t)(PAGE_BYTES - 1),
				      err);
			continue;
		}
		rec[changes] =
			(struct journal_record){.type = JOURNAL_READ, .member = m->id, .seq = seq};
		r = as_change(m, &msg[i], &rec[changes++].change, err);
	}
	if (r == 0 && changes)
		r = journal_append(m->engine->journal, rec, changes, err);
	m->engine->taking++;
	for (size_t i = 0; i < changes && r == 0; i++) {
		const struct change *c = &rec[i].change;

		r = changes_must_wait(m, c) ? changes_put_off(&m->undecided, c, err)
					    : change_apply(m, c, err);
	}
	m->engine->taking--;
	return r;
}

/* Reads to where it outlives this process. Returns as uffd_read() does. */
static int read_events(struct member *m)
{
	struct wire_raw *raw = &m->engine->shared->resume.raw;

	for (size_t i = 0; i < WIRE_EVENTS_AT_ONCE; i++)
		raw->msg[i].event = 0;
	raw->member = m->id;
	raw->seq = ++m->engine->seq; /* from here on what is in there counts */
	return uffd_read(m->fd, raw->msg, WIRE_EVENTS_AT_ONCE);
}

/* Waits for a calm moment for as long as a thread needs to wake up, so that windows stay short. */
static bool becomes_calm(const struct member *m)
{
	for (int i = 0; i < LOOKS; i++)
		if (!uffd_changing(m->fd))
			return true;
	return false;
}

static int drain(struct member *m, struct frem_error *err)
{
	struct uffd_msg msg[WIRE_EVENTS_AT_ONCE];
	struct engine *e = m->engine;
	int n, r = 0;

	while (!m->dead && m->fd >= 0) {
		n = read_events(m);
		if (n < 0)
			return frem_fail(err, FREM_FAILED, -n, "reading a userfaultfd");
		if (n == 0)
			break;
		/* a forked child is read from while these are taken */
		memcpy(msg, e->shared->resume.raw.msg, (size_t)n * sizeof(*msg));
		r = member_take(m, msg, (size_t)n, e->seq, err);
		if (r == 0)
			r = resume_step(e, err);
		if (r < 0)
			return r;
	}
	/* the counter is zero only with nothing left to read */
	if (!m->dead && m->fd >= 0 && m->undecided.n && becomes_calm(m))
		r = changes_decide(m, err);
	if (m->undecided.n)
		e->busy = true;
	return r;
}

int member_drain(struct member *m, struct frem_error *err)
{
	int r;

	shut(m);
	r = drain(m, err);
	reopen(m);
	return r;
}

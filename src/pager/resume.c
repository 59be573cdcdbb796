/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "resume.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "uffd.h"

/* The file of what was loaded: this, the manifest's bytes, the index's entries. */
struct image_head {
	uint64_t manifest_bytes;
	uint8_t digest[DIGEST_SIZE];
	uint64_t pages;
};

/* ---- what was loaded ---- */

static int keep_image(struct engine *e, struct frem_error *err)
{
	const struct frame_index *x = e->loaded.index;
	struct image_head head = {.pages = x->pages};
	_cleanup_buffer_ struct buffer b = {0}, manifest = {0};
	int fd, r = e->loaded.manifest ? manifest_encode(e->loaded.manifest, &manifest, err) : 0;

	if (r < 0)
		return r;
	head.manifest_bytes = manifest.len;
	memcpy(head.digest, e->loaded.digest, sizeof(head.digest));
	if (buffer_append(&b, &head, sizeof(head)) < 0 ||
	    buffer_append(&b, manifest.data, manifest.len) < 0 ||
	    buffer_append(&b, x->entries, x->frames * sizeof(*x->entries)) < 0)
		return frem_oom(err);
	fd = file_in_memory("frem-image");
	if (fd < 0)
		return frem_fail(err, FREM_FAILED, -fd, "making shared memory");
	e->shared->resume.image = fd;
	r = file_pwrite_all(fd, b.data, b.len, 0);
	return r < 0 ? frem_fail(err, FREM_FAILED, -r, "writing shared memory") : 0;
}

/* An image directory that was there is there still, or the new process cannot go on. */
static int read_images(struct engine *e, const struct image_head *head, struct frem_error *err)
{
	int r = load_images(e->o->images_fd, &e->loaded, err);

	if (r < 0 || digest_equal(e->loaded.digest, head->digest, sizeof(head->digest)))
		return r;
	return frem_fail(err, FREM_DAMAGED, 0, "the image is not the one that it was");
}

static int read_image(struct engine *e, struct frem_error *err)
{
	_cleanup_buffer_ struct buffer manifest = {0};
	struct loaded *l = &e->loaded;
	int fd = e->shared->resume.image;
	struct image_head head;
	uint64_t at = sizeof(head);
	int r = file_pread_all(fd, &head, sizeof(head), 0);

	if (r == 0 && !e->o->store)
		return read_images(e, &head, err);
	if (r == 0)
		r = buffer_append(&manifest, NULL, (size_t)head.manifest_bytes);
	if (r == 0)
		r = file_pread_all(fd, manifest.data, manifest.len, at);
	if (r < 0)
		return frem_fail(err, FREM_FAILED, -r, "reading shared memory");
	r = manifest_decode(manifest.data, manifest.len, &e->o->id, &l->manifest, err);
	if (r == 0)
		r = frame_index_new(head.pages, &l->index, err);
	if (r < 0)
		return r;
	memcpy(l->digest, head.digest, sizeof(l->digest));
	r = file_pread_all(fd, l->index->entries, l->index->frames * sizeof(*l->index->entries),
			   at + head.manifest_bytes);
	frame_index_seal(l->index);
	return r < 0 ? frem_fail(err, FREM_FAILED, -r, "reading shared memory") : 0;
}

/* ---- the state of the address spaces ---- */

static int put(struct buffer *out, const struct journal_record *r)
{
	return buffer_append(out, r, sizeof(*r));
}

static int put_extents(const struct member *m, struct buffer *out, uint64_t *ret_n)
{
	struct image_extent x;
	int r = 0;

	*ret_n = 0;
	for (uint64_t at = 0; r == 0 && space_extent(m->space, at, &x);
	     at = x.address + x.pages * PAGE_BYTES) {
		struct journal_record rec = {.type = JOURNAL_EXTENT, .member = m->id};

		rec.extent = (struct journal_extent){x.address, x.pages, x.first};
		r = put(out, &rec);
		++*ret_n;
	}
	return r;
}

static int put_member(const struct member *m, struct buffer *out)
{
	struct journal_record rec = {.type = JOURNAL_MEMBER, .member = m->id};
	size_t at = out->len;
	uint64_t n = 0;
	int r;

	rec.saved = (struct journal_member){
		.pid = m->pid, .fd = m->fd, .original = m->original, .dead = m->dead};
	space_range(m->space, &rec.saved.first, &rec.saved.pages);
	r = put(out, &rec);
	if (r == 0)
		r = put_extents(m, out, &n);
	if (r < 0)
		return r;
	rec.saved.extents = n;
	memcpy(out->data + at, &rec, sizeof(rec));
	for (size_t i = 0; i < m->undecided.n && r == 0; i++) {
		rec = (struct journal_record){
			.type = JOURNAL_PUT_OFF, .member = m->id, .change = m->undecided.c[i]};
		r = put(out, &rec);
	}
	return r;
}

static int write_state(struct engine *e, struct frem_error *err)
{
	struct journal_record start = {.type = JOURNAL_START};
	_cleanup_buffer_ struct buffer state = {0};
	int r;

	start.start = (struct journal_start){.seq = e->seq, .next = e->bits.next};
	r = put(&state, &start);
	for (size_t i = 0; i < e->n_members && r == 0; i++)
		if (!e->members[i]->dead || e->members[i]->original)
			r = put_member(e->members[i], &state);
	return r < 0 ? frem_oom(err) : journal_replace(e->journal, &state, err);
}

/* ---- making it ---- */

int resume_open(struct engine *e, struct frem_error *err)
{
	struct wire_resume *shared = &e->shared->resume;
	int r = journal_open(shared, &e->journal, err);

	if (r < 0)
		return r;
	if (e->ends->again) {
		e->bits.fd = shared->bits;
		return 0;
	}
	r = shared_bits_new(&e->bits, err);
	if (r == 0)
		shared->bits = e->bits.fd;
	return r;
}

/* A message that is being copied must not meet a page that is not there. */
static void allow(struct engine *e)
{
	struct wire_raw *raw = &e->shared->resume.raw;
	bool locked = mlock(raw, sizeof(*raw)) == 0;

	if (!locked)
		log_info("locking memory: %s, ignoring: if the pager process dies, it is not "
			 "started again",
			 strerror(errno));
	e->shared->resume.possible = locked;
}

int resume_offer(struct engine *e, struct frem_error *err)
{
	int r = keep_image(e, err);

	if (r == 0)
		r = write_state(e, err);
	if (r == 0)
		allow(e);
	return r;
}

int resume_step(struct engine *e, struct frem_error *err)
{
	if (e->taking || !e->shared->resume.possible || !journal_is_long(e->journal))
		return 0;
	log_debug("writing the journal anew");
	return write_state(e, err);
}

/* ---- taking it up ---- */

struct replay {
	struct engine *e;
	const struct journal_record *rec;
	size_t n;
	struct member *last; /* found last */
};

static int unreadable(struct frem_error *err)
{
	return frem_fail(err, FREM_FAILED, 0, "the journal makes no sense");
}

static struct member *find(struct replay *p, uint64_t id)
{
	if (p->last && p->last->id == id)
		return p->last;
	for (size_t i = 0; i < p->e->n_members; i++)
		if (p->e->members[i]->id == id)
			return p->last = p->e->members[i];
	return NULL;
}

static int add(struct replay *p, int32_t pid, uint64_t id, struct space *s, struct member **ret,
	       struct frem_error *err)
{
	int r = members_add(p->e, pid, s, ret, err);

	if (r < 0) {
		space_free(s);
		return r;
	}
	(*ret)->id = id;
	shared_bits_reserved(&p->e->bits, id, space_words(s));
	return 0;
}

/* Record i is a saved member; *ret_used: how many records it takes with its extents. */
static int saved_member(struct replay *p, size_t i, size_t *ret_used, struct frem_error *err)
{
	const struct journal_member *saved = &p->rec[i].saved;
	_cleanup_free_ struct image_extent *x = NULL;
	struct image_task t = {.first = saved->first, .lazy_pages = saved->pages};
	struct member *m = NULL;
	struct space *s;
	int r;

	if (saved->extents > p->n - i - 1)
		return unreadable(err);
	x = calloc(saved->extents + 1, sizeof(*x));
	if (!x)
		return frem_oom(err);
	t.extents = x;
	t.n_extents = (size_t)saved->extents;
	for (size_t k = 0; k < t.n_extents; k++) {
		const struct journal_extent *from = &p->rec[i + 1 + k].extent;

		x[k] = (struct image_extent){
			.address = from->address, .pages = from->pages, .first = from->first};
	}
	r = space_new(&t, &s, err);
	if (r == 0)
		r = add(p, saved->pid, p->rec[i].member, s, &m, err);
	if (!m)
		return r;
	m->original = saved->original;
	m->fd = saved->original ? -1 : saved->fd;
	m->dead = saved->dead;
	*ret_used = 1 + t.n_extents;
	if (!m->dead)
		return member_adopt_bits(m, err);
	space_end(s);
	return 0;
}

static int forked(struct replay *p, const struct member *m, const struct change *c,
		  struct frem_error *err)
{
	struct member *child = NULL;
	struct space *s;
	int r = space_clone(m->space, &s, err);

	if (r == 0)
		r = add(p, m->pid, c->child, s, &child, err);
	if (!child)
		return r;
	child->fd = c->fd;
	return member_adopt_bits(child, err);
}

static int apply(struct replay *p, struct member *m, const struct change *c, struct frem_error *err)
{
	switch (c->event) {
	case UFFD_EVENT_FORK:
		return forked(p, m, c, err);
	case UFFD_EVENT_REMAP:
		return space_move(m->space, c->from, c->to, c->len, err);
	default:
		return space_drop(m->space, c->from, c->from + c->len, err);
	}
}

/* As member_end() did, but for what is the kernel's. */
static void ended(struct member *m)
{
	m->dead = true;
	m->fd = -1;
	space_end(m->space);
	changes_done(&m->undecided);
}

static int happened(struct replay *p, const struct journal_record *rec, struct frem_error *err)
{
	struct member *m = find(p, rec->member);

	if (!m)
		return unreadable(err);
	switch (rec->type) {
	case JOURNAL_READ:
		p->e->seq = rec->seq;
		if (rec->change.event == UFFD_EVENT_FORK)
			shared_bits_reserved(&p->e->bits, rec->change.child, space_words(m->space));
		if (!changes_must_wait(m, &rec->change))
			return apply(p, m, &rec->change, err);
		return changes_put_off(&m->undecided, &rec->change, err);
	case JOURNAL_PUT_OFF:
		return changes_put_off(&m->undecided, &rec->change, err);
	case JOURNAL_DECIDED:
		changes_done(&m->undecided);
		return 0;
	case JOURNAL_APPLY:
		return apply(p, m, &rec->change, err);
	case JOURNAL_END:
		ended(m);
		return 0;
	default:
		return unreadable(err);
	}
}

static int replay(struct engine *e, struct frem_error *err)
{
	_cleanup_buffer_ struct buffer b = {0};
	struct replay p = {.e = e};
	size_t used;
	int r = journal_read(e->journal, &b, err);

	if (r < 0)
		return r;
	p.rec = (const struct journal_record *)b.data;
	p.n = b.len / sizeof(*p.rec);
	if (!p.n || p.rec[0].type != JOURNAL_START)
		return unreadable(err);
	e->seq = p.rec[0].start.seq;
	e->bits.next = p.rec[0].start.next;
	for (size_t i = 1; i < p.n && r == 0; i += used) {
		used = 1;
		r = p.rec[i].type == JOURNAL_MEMBER ? saved_member(&p, i, &used, err)
						    : happened(&p, &p.rec[i], err);
	}
	log_debug("took up the journal: %zu records, %zu address spaces", p.n, e->n_members);
	return r;
}

/* The userfaultfds of the image's tasks are as the keeper knows them, those of forked children as
 * the journal does. */
static int watch_all(struct engine *e, struct frem_error *err)
{
	for (size_t i = 0; i < e->n_members; i++) {
		struct member *m = e->members[i];

		for (size_t k = 0; m->original && !m->dead && k < e->ends->n_uffds; k++)
			if (e->ends->uffds[k].pid == m->pid)
				m->fd = e->ends->uffds[k].fd;
		if (m->fd >= 0) {
			int r = member_watch(m, m->fd, err);

			if (r < 0)
				return r;
		}
	}
	return 0;
}

/* What was read and not journaled any more. Its faults are raised again. */
static int take_raw(struct engine *e, struct frem_error *err)
{
	const struct wire_raw *raw = &e->shared->resume.raw;
	struct uffd_msg msg[WIRE_EVENTS_AT_ONCE];
	uint64_t seq = raw->seq, done = e->seq;
	size_t n = 0;

	if (seq > e->seq)
		e->seq = seq;
	if (seq <= done)
		return 0;
	for (size_t i = 0; i < WIRE_EVENTS_AT_ONCE && raw->msg[i].event; i++)
		if (raw->msg[i].event != UFFD_EVENT_PAGEFAULT)
			msg[n++] = raw->msg[i];
	for (size_t i = 0; n && i < e->n_members; i++)
		if (e->members[i]->id == raw->member)
			return member_take(e->members[i], msg, n, seq, err);
	return n ? unreadable(err) : 0;
}

static bool is_known(const struct engine *e, int fd)
{
	for (size_t i = 0; i < e->n_members; i++)
		if (e->members[i]->fd == fd)
			return true;
	return false;
}

/* A dead one is closed. */
static int is_unknown(void *arg, int fd)
{
	const struct engine *e = arg;

	if (!uffd_is(fd) || is_known(e, fd))
		return 0;
	if (uffd_lives(fd))
		return 1;
	close(fd);
	return 0;
}

/* All tasks are restored: whose userfaultfd is unknown was forked by one of them. */
static int look_for_unknown(struct engine *e, struct frem_error *err)
{
	int r = file_each_open(is_unknown, e);

	if (r < 0)
		return frem_fail(err, FREM_FAILED, -r, "reading /proc/self/fd");
	return r ? frem_fail(err, FREM_FAILED, 0, "the fork of a process was not heard of") : 0;
}

int resume_take_up(struct engine *e, struct frem_error *err)
{
	int r = read_image(e, err);

	if (r == 0)
		r = replay(e, err);
	if (r == 0)
		r = watch_all(e, err);
	if (r < 0)
		return r;
	allow(e);
	members_count(e);
	e->finished = e->ends->finished;
	e->busy = true; /* some may have put off changes */
	r = take_raw(e, err);
	if (r == 0 && e->finished)
		r = look_for_unknown(e, err);
	for (size_t i = 0; i < e->n_members && r == 0; i++)
		if (e->members[i]->fd >= 0)
			uffd_wake_all(e->members[i]->fd);
	return r;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The pager process: one loop over the store's fetches, the userfaultfds, and the keeper and the
 * caller.
 *
 * Why memory is always right.
 *
 * 1. A page is put in place once, at the address that the space's map gives for it, with bytes
 *    whose digest was checked, or that were read from the image directory that CRIU restores.
 *    UFFDIO_COPY never overwrites: what a program wrote stays.
 * 2. The map is never behind the program. A thread that forks, unmaps, moves or discards memory
 *    counts itself in the userfaultfd before it does so, and out only after its event was read; in
 *    between UFFDIO_COPY and UFFDIO_ZEROPAGE say EAGAIN. So a copy that succeeds was made with
 *    nothing unread, and all that is read is applied before the next copy. ENOENT and ESRCH alone
 *    are told before the kernel has looked at that counter a second time: after ENOENT we look
 *    ourselves. The order of events among each other: changes.c.
 * 3. madvise reports before it discards, so a copy may still come first, and is discarded. Pages
 *    of the range are gone from the map with the event, and read as zero from then on: the range
 *    stays registered, its faults find no image page, and are answered with zeros.
 * 4. A forked child has what its parent had when the event is read: nothing was put into the parent
 *    between the fork and the reading (EAGAIN), and the child does not run before it. Every page
 *    is then put into every space that still wants it.
 * 5. A fault's thread is woken by the copy of its page. Where the page was there already (EEXIST),
 *    or its place was unmapped, moved or discarded, it is woken to look again. Waking too often
 *    is harmless. A fault for an address that is no image page, or that holds a settled one, is
 *    answered by UFFDIO_ZEROPAGE, which changes nothing where a page is.
 * 6. Before CRIU's word, ranges are still being registered: only faulted pages are put in place,
 *    everything else is held. After it, what is not registered is not there.
 * 7. When all pages of all spaces are settled, the userfaultfds may be closed: every page of the
 *    image is in place or was given up by the program, so what is still missing reads as zero
 *    rightly. A change that is running then takes or moves complete memory; a fork copies complete
 *    memory (one from before the last copy would have made that copy fail); faults in flight are
 *    woken by the close and find zeros by themselves.
 * 8. Until then some process holds every userfaultfd: see keeper.h. Whatever fails here ends this
 *    process, and the keeper then ends the tree. If this process is killed, the keeper starts
 *    another one, which takes up what it left: see resume.h.
 *
 * Threads. Workers decode and copy (workers.h); everything else is the engine's thread's. All that
 * is shared belongs to who holds the engine's lock. A worker looks a piece up in the map, counts
 * itself as a copy into the address space, copies without the lock, and settles the piece and
 * counts itself out with the lock. Events are read with the lock and with no such copy under way
 * (member_drain), and are applied before the lock is let go: so 2 holds for all copies, and the map
 * that a copy was looked up in is the map when it is settled. Two threads may copy one page at the
 * same time: for one of them it is there already, as in 5. A userfaultfd's number is not used again
 * while a copy into it is under way.
 */
#include "engine.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "engine_impl.h"
#include "recorder.h"
#include "report.h"
#include "resume.h"
#include "uffd.h"
#include "workers.h"

#define TICK_MS 250 /* how often it is asked whether the address spaces still live */
#define BUSY_MS 1   /* until what an address space could not take is tried again */
/* Of the remaining image, while nothing can be put in place yet: what a fast link brings meanwhile.
 */
#define HELD_EARLY (UINT64_C(64) << 20)

/* What epoll says about: members are told by their own address. */
static char source_news, source_caller, source_workers;

bool engine_page_wanted(const struct engine *e, uint64_t number)
{
	for (size_t i = 0; i < e->n_members; i++)
		if (space_wants(e->members[i]->space, number))
			return true;
	return false;
}

/* With a recorder, what it keeps back is wanted, but has come. */
static bool misses_some(const struct engine *e, const struct space *s, uint64_t first, unsigned n)
{
	if (!e->recorder)
		return space_wants_any(s, first, n);
	for (unsigned i = 0; i < n; i++)
		if (space_wants(s, first + i) && !recorder_has(e, first + i))
			return true;
	return false;
}

bool engine_frame_wanted(void *arg, size_t frame)
{
	const struct engine *e = arg;
	uint64_t first = (uint64_t)frame * FRAME_PAGES;
	unsigned n = frame_pages(e->loaded.index, frame);

	if (e->o->mode == PAGER_FULL)
		return full_wanted(e, frame);
	for (size_t i = 0; i < e->n_members; i++)
		if (misses_some(e, e->members[i]->space, first, n))
			return true;
	return false;
}

void engine_item_pages(const struct engine *e, enum item_kind kind, size_t frame, struct batch *b)
{
	uint64_t first = (uint64_t)frame * FRAME_PAGES;

	b->n = frame_pages(kind == ITEM_PAGES ? e->loaded.index : touch_stream_set(e->touch)->index,
			   frame);
	for (unsigned i = 0; i < b->n; i++)
		b->number[i] =
			kind == ITEM_PAGES ? first + i : touch_order_number(e->order, first + i);
}

static int watch(struct engine *e, int fd, void *source, struct frem_error *err)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = source};

	if (epoll_ctl(e->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0)
		return frem_fail(err, FREM_FAILED, errno, "watching a descriptor");
	return 0;
}

static int hear_keeper(struct engine *e, struct frem_error *err)
{
	struct wire_news n;

	while (recv(e->ends->news, &n, sizeof(n), MSG_DONTWAIT) == sizeof(n)) {
		int r = 0;

		if (n.type == WIRE_FINISHED) {
			log_debug("criu has restored all tasks");
			e->finished = true;
			deliver_held_all(e);
		} else {
			r = members_arrived(e, n.pid, n.fd, err);
		}
		if (r < 0)
			return r;
	}
	return 0;
}

static void hear_caller(struct engine *e)
{
	char nothing;

	if (recv(e->ends->caller, &nothing, 1, MSG_DONTWAIT) == 0) { /* the job goes on without */
		epoll_ctl(e->epoll_fd, EPOLL_CTL_DEL, e->ends->caller, NULL);
		e->caller_gone = true;
	}
}

int engine_poll(struct engine *e, int timeout_ms, struct frem_error *err)
{
	struct epoll_event ev[64];
	int n = epoll_wait(e->epoll_fd, ev, 64, timeout_ms), r = 0;

	for (int i = 0; i < n && r == 0; i++) {
		void *source = ev[i].data.ptr;

		if (source == &source_caller)
			hear_caller(e);
		else if (source == &source_news)
			r = hear_keeper(e, err);
		else if (source == &source_workers)
			workers_heard(e->workers);
		else
			r = member_drain(source, err);
	}
	return r < 0 ? r : faults_serve(e, err);
}

/* Everything that does not depend on the checkpoint. */
static int prepare(struct engine *e, struct frem_error *err)
{
	int r;

	e->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (e->epoll_fd < 0)
		return frem_fail(err, FREM_FAILED, errno, "making an epoll descriptor");
	r = e->o->mode != PAGER_FULL ? resume_open(e, err) : 0;
	if (r == 0)
		r = watch(e, e->ends->caller, &source_caller, err);
	if (r == 0)
		r = watch(e, e->ends->news, &source_news, err);
	if (r == 0)
		r = opener_init(&e->opener, err);
	return r;
}

/* Of the touch set: the frames before it hold nothing that somebody wants, not even a forked child
 * later. All are wanted at first; a pager process that was killed has brought some. */
static size_t first_touch_frame(void *arg, const struct touch_set *t)
{
	const struct engine *e = arg;
	uint64_t place = 0;

	for (size_t i = 0; i < t->n_runs; i++)
		for (uint64_t k = 0; k < t->runs[i].pages; k++, place++)
			if (engine_page_wanted(e, t->runs[i].first + k))
				return (size_t)(place / FRAME_PAGES);
	return t->index->frames;
}

/* All three objects are asked for at once. */
static int start_fetching(struct engine *e, struct frem_error *err)
{
	struct touch_stream_options o = {.id = &e->o->id,
					 .arrived = &e->arrived,
					 .bytes = &e->stats->bytes_touch,
					 .first = e->ends->again ? first_touch_frame : NULL,
					 .arg = e};
	int r = e->o->store ? store_open(e->o->store, &e->store, err) : 0;

	if (r == 0 && e->store && e->o->store_timeout_set)
		store_set_timeout(e->store, e->o->store_timeout_ms);
	else if (r == 0 && e->store && e->ends->again) /* the job depends on it already */
		store_set_timeout(e->store, STORE_TIMEOUT_MS);
	if (r == 0 && e->store)
		r = fetcher_new(e->store, &e->fetcher, err);
	if (r == 0 && !e->ends->again)
		r = load_start(e->fetcher, e->o, &e->load, err);
	o.fetcher = e->fetcher;
	if (r == 0 && e->fetcher && e->o->mode != PAGER_FULL)
		r = touch_stream_start(&o, &e->touch, err);
	return r;
}

/* What is on this machine is read where it is put in place. */
static int start_workers(struct engine *e, struct frem_error *err)
{
	const struct frame_index *x = e->loaded.index;
	_cleanup_close_ int fd = -1;
	uint64_t size;
	int r = workers_new(e, &e->workers, err);

	if (r < 0)
		return r;
	if (e->store &&
	    store_open_file(e->store, e->pages_key, &fd, &size, &e->local_source, NULL) == 0 &&
	    size == x->offsets[x->frames])
		e->local_fd = take_fd(&fd);
	e->read_here = e->local_fd >= 0 || e->loaded.local;
	if (!workers_any(e->workers))
		return 0;
	return watch(e, workers_fd(e->workers), &source_workers, err);
}

/* What the image says is known. */
static int start_lanes(struct engine *e, struct frem_error *err)
{
	struct lanes_options o = {.fetcher = e->fetcher,
				  .key = e->pages_key,
				  .index = e->loaded.index,
				  .wanted = engine_frame_wanted,
				  .touch = touch_lane_more,
				  .touch_over = touch_lane_over,
				  .arg = e,
				  .arrived = &e->arrived,
				  .stats = e->stats};
	size_t frames = e->loaded.index->frames;
	int r;

	if (e->store)
		name_key(&e->o->id, OBJECT_PAGES, e->pages_key);
	e->held_pages = calloc(frames + 1, sizeof(*e->held_pages));
	e->written = calloc(frames / 64 + 1, sizeof(*e->written));
	if (!e->held_pages || !e->written)
		return frem_oom(err);
	r = start_workers(e, err);
	return r < 0 ? r : lanes_new(&o, &e->lanes, err);
}

static void say_ready(struct engine *e)
{
	e->ready = true;
	if (e->shared->resume.ready)
		return;
	report_event(PAGER_EVENT_READY, NULL, NULL);
	e->shared->resume.ready = true;
}

/* The image directory is there. */
static int loaded(struct engine *e, struct frem_error *err)
{
	const struct manifest *m = e->loaded.manifest;
	int r = 0;

	load_free(e->load);
	e->load = NULL;
	e->stats->pages_total = e->loaded.index->pages;
	if (m)
		e->stats->bytes_total += m->head.size + m->pages.size;
	if (e->o->mode != PAGER_FULL) {
		r = members_make(e, err);
		if (r == 0)
			r = recorder_start(e, err);
		if (r == 0)
			r = resume_offer(e, err);
	}
	if (r == 0)
		r = start_lanes(e, err);
	if (r == 0 && e->o->mode != PAGER_FULL)
		say_ready(e);
	return r;
}

/* Goes on where a killed pager process was. */
static int take_up(struct engine *e, struct frem_error *err)
{
	int r = resume_take_up(e, err);

	e->touched = e->shared->resume.touched;
	e->fetched_before = e->stats->bytes_fetched;
	if (r == 0)
		r = start_lanes(e, err);
	if (r == 0)
		say_ready(e);
	return r;
}

static bool wanted_by_some(const struct engine *e, uint64_t number)
{
	for (size_t i = 0; i < e->n_members; i++)
		if (e->members[i]->original && space_wants(e->members[i]->space, number))
			return true;
	return false;
}

/* The touch set's descriptor is there. */
static int know_touch_set(struct engine *e, struct frem_error *err)
{
	const struct touch_set *t = touch_stream_set(e->touch);
	int r = touch_order_new(t, &e->order, err);

	if (r < 0)
		return r;
	e->held_touch = calloc(t->index->frames + 1, sizeof(*e->held_touch));
	if (!e->held_touch)
		return frem_oom(err);
	if (!e->stats->pages_touch) /* else a former pager process has counted it */
		e->stats->bytes_total += t->frames_offset + t->index->offsets[t->index->frames];
	touch_set_touched(t, &e->touched_pages);
	e->stats->pages_touch = e->touched_pages;
	for (uint64_t i = 0; i < e->touched_pages; i++)
		e->touch_left += wanted_by_some(e, touch_order_number(e->order, i));
	return touch_lane_known(e, err);
}

static int step_touch(struct engine *e, struct frem_error *err)
{
	char notice[512];
	int r;

	if (!e->touch)
		return 0;
	r = touch_stream_step(e->touch, e->loaded.manifest ? &e->loaded : NULL, err);
	if (touch_stream_notice(e->touch, notice, sizeof(notice)))
		report_event(PAGER_EVENT_NOTICE, notice, NULL);
	if (r == 0 && e->lanes && !e->order && touch_stream_set(e->touch))
		r = know_touch_set(e, err);
	touch_lane_step(e);
	return r;
}

static int step_load(struct engine *e, struct frem_error *err)
{
	int r = e->load ? load_step(e->load, &e->loaded, err) : 0;

	return r > 0 ? loaded(e, err) : r;
}

/* What could not be taken, because an address space was changing or out of memory. */
static int step_busy(struct engine *e, struct frem_error *err)
{
	int r = 0;

	if (!e->busy)
		return 0;
	e->busy = false;
	for (size_t i = 0; i < e->n_members && r == 0; i++)
		if (e->members[i]->undecided.n)
			r = member_drain(e->members[i], err);
	for (size_t i = 0; i < e->n_members; i++)
		e->busy |= e->members[i]->undecided.n > 0;
	deliver_held_all(e);
	faults_look_again(e);
	return r;
}

/* What is looked at now and then. */
static void step_tick(struct engine *e)
{
	uint64_t now = clock_ns();

	if (now - e->tick_ns < TICK_MS * NSEC_PER_MSEC)
		return;
	e->tick_ns = now;
	faults_look_again(e);
	for (size_t i = 0; i < e->n_members; i++) {
		struct member *m = e->members[i];

		if (m->fd >= 0 && !uffd_lives(m->fd))
			member_end(m);
	}
	members_reap(e);
}

/* What is fetched before CRIU's word has to be held. */
static bool bulk_may_go(const struct engine *e)
{
	return e->o->mode == PAGER_FULL || e->finished || e->held_bytes < HELD_EARLY;
}

/* The workers do; or there are none, and all that comes is put in place before more is asked for.
 */
static bool keeps_up(const struct engine *e)
{
	return workers_room(e->workers) || workers_idle(e->workers);
}

/* What is read here is put in place at once, and after the touch set. */
static bool local_may_go(const struct engine *e)
{
	return e->o->mode == PAGER_FULL || (touch_lane_over(e) && e->finished);
}

static int step_lanes(struct engine *e, struct frem_error *err)
{
	int r = 0;

	e->goes_on = false;
	if (!e->lanes)
		return 0;
	if (e->touch && touch_stream_set(e->touch) && !e->order)
		r = know_touch_set(e, err);
	if (r == 0)
		r = deliver_arrived(e, err);
	if (r < 0)
		return r;
	faults_look_after_late(e);
	r = faults_serve(e, err);
	if (r == 0)
		r = lanes_step(e->lanes, !e->read_here && bulk_may_go(e) && keeps_up(e), err);
	if (r == 0 && e->read_here && local_may_go(e))
		r = deliver_local(e, err);
	return r == 0 ? deliver_arrived(e, err) : r;
}

static void step_stats(struct engine *e)
{
	uint64_t now = clock_ns();
	struct fetcher_stats s;

	if (!e->fetcher)
		return;
	fetcher_get_stats(e->fetcher, &s);
	if (e->fetching)
		e->fetching_ns += now - e->stats_ns;
	e->stats_ns = now;
	e->fetching = fetcher_active(e->fetcher) > 0;
	e->stats->bytes_fetched = e->fetched_before + s.bytes + e->local_bytes;
	e->stats->rtt_ms = s.rtt_ms;
	if (e->fetching_ns)
		e->stats->bandwidth_bps =
			(double)s.bytes * (double)NSEC_PER_SEC / (double)e->fetching_ns;
}

/* All touch pages are in place, or there is no touch set. */
static void step_touched(struct engine *e)
{
	if (e->touched || !e->finished || !e->lanes || e->touch_left ||
	    (!e->order && !touch_lane_over(e)) || e->o->mode == PAGER_FULL)
		return;
	e->touched = true;
	e->stats->touch_set_ms = clock_ms_since(e->shared->started_ns);
	report_event(PAGER_EVENT_TOUCHED, NULL, NULL);
	e->shared->resume.touched = true;
}

/* Returns 1 when all memory is in, 0 before, or an error. */
static int is_drained(struct engine *e, struct frem_error *err)
{
	if (!e->lanes)
		return 0;
	if (e->o->mode == PAGER_FULL)
		return full_complete(e);
	if (!e->finished)
		return 0;
	if (e->child_lost)
		return frem_fail(err, FREM_FAILED, 0,
				 "a process ended while it moved memory and forked: what belongs "
				 "to its child cannot be told");
	for (size_t i = 0; i < e->n_members; i++) {
		const struct member *m = e->members[i];

		if (m->dead)
			continue;
		if (m->fd < 0 && space_left(m->space))
			return frem_fail(err, FREM_REFUSED, 0,
					 "criu sent no userfaultfd for pid %d", m->pid);
		if (space_left(m->space) || m->undecided.n)
			return 0;
	}
	return e->n_faults == 0 && workers_idle(e->workers);
}

static int least(int a, int b)
{
	return a < 0 ? b : b < 0 || a < b ? a : b;
}

static int timeout_of(const struct engine *e)
{
	int ms = e->busy ? BUSY_MS : TICK_MS;

	if (e->goes_on || (e->load && !e->fetcher))
		return 0;
	ms = least(ms, faults_timeout(e));
	ms = least(ms, recorder_timeout(e));
	return e->new_faults && !e->busy ? 0 : ms;
}

/* Until a fetch moves, something is to be heard, or something is due. */
static int wait_for_news(struct engine *e, int ms, struct frem_error *err)
{
	struct pollfd fd = {.fd = e->epoll_fd, .events = POLLIN};

	if (e->fetcher)
		return fetcher_run(e->fetcher, &fd, 1, ms, err);
	if (poll(&fd, 1, ms) < 0 && errno != EINTR)
		return frem_fail(err, FREM_FAILED, errno, "waiting for events");
	return 0;
}

static int step(struct engine *e, struct frem_error *err)
{
	int r, ms = timeout_of(e);

	engine_unlock(e);
	r = wait_for_news(e, ms, err);
	engine_lock(e);
	if (r == 0)
		r = engine_poll(e, 0, err);
	if (r == 0)
		r = step_load(e, err);
	if (r == 0)
		r = step_touch(e, err);
	if (r == 0)
		r = step_busy(e, err);
	if (r == 0)
		r = step_lanes(e, err);
	if (r == 0)
		r = recorder_step(e, err);
	if (r < 0)
		return r;
	step_tick(e);
	step_stats(e);
	step_touched(e);
	return is_drained(e, err);
}

static void say_drained(struct engine *e)
{
	recorder_drained(e);
	e->stats->drained_ms = clock_ms_since(e->shared->started_ns);
	e->shared->drained = true; /* from here on the end of this process is no failure */
	if (e->o->mode == PAGER_FULL)
		report_event(PAGER_EVENT_READY, NULL, NULL);
	else if (!e->touched)
		report_event(PAGER_EVENT_TOUCHED, NULL, NULL);
	report_event(PAGER_EVENT_DRAINED, NULL, NULL);
}

static void engine_done(struct engine *e)
{
	engine_unlock(e);
	workers_free(e->workers);
	load_free(e->load);
	touch_stream_free(e->touch);
	lanes_free(e->lanes);
	fetcher_free(e->fetcher);
	store_free(e->store);
	item_queue_free(&e->arrived);
	item_queue_free(&e->held);
	members_free(e);
	recorder_free(e->recorder);
	touch_order_free(e->order);
	loaded_done(&e->loaded);
	opener_done(&e->opener);
	journal_free(e->journal);
	free(e->held_pages);
	free(e->held_touch);
	free(e->written);
	free(e->faults);
	cleanup_close(&e->local_fd);
	pthread_cond_destroy(&e->turn);
	pthread_mutex_destroy(&e->lock);
}

int engine_main(const struct pager_options *o, struct wire_shared *shared,
		const struct engine_ends *ends)
{
	struct engine e = {.o = o,
			   .shared = shared,
			   .stats = &shared->stats,
			   .ends = ends,
			   .lock = PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP,
			   .turn = PTHREAD_COND_INITIALIZER,
			   .local_fd = -1,
			   .epoll_fd = -1,
			   .bits.fd = -1};
	struct frem_error err = {0};
	int r;

	TAILQ_INIT(&e.arrived);
	TAILQ_INIT(&e.held);
	engine_lock(&e);
	r = prepare(&e, &err);
	if (r == 0)
		r = start_fetching(&e, &err);
	if (r == 0 && ends->again)
		r = take_up(&e, &err);
	while (r == 0)
		r = step(&e, &err);
	if (r > 0) {
		say_drained(&e);
	} else {
		shared->err = err;
		shared->failed = true;
	}
	engine_done(&e);
	return r > 0 ? 0 : 1;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "workers.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "engine_impl.h"

#define WORKERS_MAX 4u
/* Items whose digests are computed together. They stay in the second-level cache until they are
 * copied, and the engine waits no longer for a withdrawn one. */
#define GROUP 8u
#define QUEUE_MAX 64u /* 8 MiB of pages: some milliseconds of work */

struct worker {
	struct workers *all;
	pthread_t thread;
	struct frame_codec *codec;
	uint8_t *stored; /* GROUP payloads that were read */
	uint8_t *raw;	 /* one decoded frame */
	struct item *item[GROUP];
	struct batch batch[GROUP];
	struct frame_payload payload[GROUP];
	size_t n;
};

struct workers {
	struct engine *e;
	struct worker worker[WORKERS_MAX];
	unsigned n;
	struct item_queue queue, done;
	size_t queued, working; /* items */
	pthread_cond_t work;
	int fd;
	bool tell; /* the engine has to be told */
	bool ending;
};

static void tell_engine(const struct workers *w)
{
	uint64_t one = 1;

	if (write(w->fd, &one, sizeof(one)) < 0)
		log_debug("telling the engine: %s, ignoring: it looks by itself", strerror(errno));
}

static void finish(struct workers *w, struct item *i, bool left)
{
	i->by_engine = left;
	w->tell |= left || w->e->new_faults;
	TAILQ_INSERT_TAIL(&w->done, i, link);
}

/* Takes what is of use among the next items: a share, so that all workers have something to do. */
static void take_group(struct worker *me)
{
	struct workers *w = me->all;
	size_t share = (w->queued + w->n - 1) / w->n;
	struct item *i;

	me->n = 0;
	while (me->n < GROUP && me->n < share && (i = TAILQ_FIRST(&w->queue))) {
		bool now = false, useful;

		TAILQ_REMOVE(&w->queue, i, link);
		w->queued--;
		useful = deliver_is_of_use(w->e, i, &me->batch[me->n], &now);
		if (useful && now)
			me->item[me->n++] = i;
		else
			finish(w, i, useful);
	}
	w->working += me->n;
}

/* From an image directory, which has no digests. */
static uint32_t read_images(struct worker *me)
{
	const struct local *l = me->all->e->loaded.local;
	uint32_t good = 0;

	for (size_t k = 0; k < me->n; k++) {
		uint8_t *room = me->stored + k * FRAME_STORED_MAX;

		me->batch[k].raw = room;
		if (local_read(l, me->item[k]->frame, room, &me->batch[k].zero, NULL) == 0)
			good |= UINT32_C(1) << k;
	}
	return good;
}

/* Without the lock. Bit i of the result: item i is what it should be. */
static uint32_t check_group(struct worker *me)
{
	const struct engine *e = me->all->e;

	if (e->loaded.local)
		return read_images(me);
	for (size_t k = 0; k < me->n; k++) {
		const struct item *i = me->item[k];
		struct frame_payload *p = &me->payload[k];

		p->entry = &deliver_index(e, i->kind)->entries[i->frame];
		p->pages = me->batch[k].n;
		/* what cannot be read cannot be good */
		if (deliver_stored(e, i, me->stored + k * FRAME_STORED_MAX, p, NULL) < 0)
			p->n = SIZE_MAX;
	}
	return frame_check(me->payload, me->n);
}

/* Without the lock. Returns whether all that is wanted of the item is in place. */
static bool work_on(struct worker *me, size_t k)
{
	struct engine *e = me->all->e;
	struct batch *b = &me->batch[k];
	bool all;

	if (!e->loaded.local) {
		if (frame_open(me->codec, &me->payload[k], me->raw, &b->raw, NULL) < 0)
			return false;
		b->zero = me->payload[k].entry->zero_mask;
	}
	b->by_worker = true;
	if (e->o->mode == PAGER_FULL)
		return full_put(e, me->item[k]->frame, b, NULL) == 0;
	engine_lock(e);
	all = deliver_batch(e, b, NULL) == DELIVERED_ALL;
	engine_unlock(e);
	return all;
}

static void work_on_group(struct worker *me)
{
	struct workers *w = me->all;
	uint32_t good;

	engine_unlock(w->e);
	good = check_group(me);
	for (size_t k = 0; k < me->n; k++) {
		bool all = good >> k & 1 && work_on(me, k);

		engine_lock(w->e);
		deliver_was_read(w->e, me->item[k]);
		finish(w, me->item[k], !all);
		me->item[k] = NULL;
		w->working--;
		engine_unlock(w->e);
	}
	engine_lock(w->e);
}

static bool engine_should_look(const struct workers *w)
{
	const struct engine *e = w->e;

	return w->tell || w->queued < QUEUE_MAX / 2 || (!e->touched && !e->touch_left);
}

static void *work(void *arg)
{
	struct worker *me = arg;
	struct workers *w = me->all;

	engine_lock(w->e);
	while (!w->ending) {
		if (TAILQ_EMPTY(&w->queue)) {
			pthread_cond_wait(&w->work, &w->e->lock);
			continue;
		}
		take_group(me);
		if (me->n)
			work_on_group(me);
		if (engine_should_look(w))
			tell_engine(w);
		w->tell = false;
	}
	engine_unlock(w->e);
	return NULL;
}

static int start(struct workers *w, struct frem_error *err)
{
	struct worker *me = &w->worker[w->n];
	int r = frame_codec_new(1, &me->codec, err);

	me->all = w;
	me->stored = aligned_alloc(PAGE_BYTES, (size_t)GROUP * FRAME_STORED_MAX);
	me->raw = aligned_alloc(PAGE_BYTES, FRAME_RAW_MAX);
	if (r == 0 && (!me->stored || !me->raw))
		r = frem_oom(err);
	if (r == 0)
		r = -pthread_create(&me->thread, NULL, work, me);
	if (r == 0) {
		pthread_setname_np(me->thread, "frem-worker");
		w->n++;
	}
	return r;
}

static unsigned processors(void)
{
	cpu_set_t set;
	int n = sched_getaffinity(0, sizeof(set), &set) < 0 ? 1 : CPU_COUNT(&set);

	return n > (int)WORKERS_MAX ? WORKERS_MAX : (unsigned)n;
}

int workers_new(struct engine *e, struct workers **ret, struct frem_error *err)
{
	struct workers *w = calloc(1, sizeof(*w));
	unsigned want = processors();

	if (!w)
		return frem_oom(err);
	w->e = e;
	TAILQ_INIT(&w->queue);
	TAILQ_INIT(&w->done);
	pthread_cond_init(&w->work, NULL);
	w->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	while (w->fd >= 0 && w->n < want)
		if (start(w, NULL) < 0)
			break;
	if (w->n < want)
		log_info("starting threads: only %u of %u, ignoring: it takes longer", w->n, want);
	*ret = w;
	return 0;
}

void workers_free(struct workers *w)
{
	if (!w)
		return;
	engine_lock(w->e);
	w->ending = true;
	pthread_cond_broadcast(&w->work);
	engine_unlock(w->e);
	for (unsigned i = 0; i < w->n; i++)
		pthread_join(w->worker[i].thread, NULL);
	for (unsigned i = 0; i < WORKERS_MAX; i++) {
		frame_codec_free(w->worker[i].codec);
		free(w->worker[i].stored);
		free(w->worker[i].raw);
	}
	item_queue_free(&w->queue);
	item_queue_free(&w->done);
	pthread_cond_destroy(&w->work);
	cleanup_close(&w->fd);
	free(w);
}

size_t workers_room(const struct workers *w)
{
	return w->n && w->queued < QUEUE_MAX ? QUEUE_MAX - w->queued : 0;
}

void workers_put(struct workers *w, struct item *i)
{
	TAILQ_INSERT_TAIL(&w->queue, i, link);
	w->queued++;
	pthread_cond_signal(&w->work);
}

static bool is(const struct item *i, enum item_kind kind, size_t frame)
{
	return i && i->kind == kind && i->frame == frame;
}

bool workers_withdraw(struct workers *w, enum item_kind kind, size_t frame, struct item **ret)
{
	struct item *i;

	*ret = NULL;
	TAILQ_FOREACH(i, &w->queue, link)
	{
		if (!is(i, kind, frame))
			continue;
		TAILQ_REMOVE(&w->queue, i, link);
		w->queued--;
		*ret = i;
		return true;
	}
	for (unsigned k = 0; k < w->n; k++)
		for (size_t j = 0; j < w->worker[k].n; j++)
			if (is(w->worker[k].item[j], kind, frame))
				return true;
	TAILQ_FOREACH(i, &w->done, link)
	if (is(i, kind, frame))
		return i->by_engine;
	return false;
}

struct item *workers_done(struct workers *w)
{
	struct item *i = TAILQ_FIRST(&w->done);

	if (i)
		TAILQ_REMOVE(&w->done, i, link);
	return i;
}

bool workers_idle(const struct workers *w)
{
	return w->queued == 0 && w->working == 0 && TAILQ_EMPTY(&w->done);
}

int workers_fd(const struct workers *w)
{
	return w->fd;
}

void workers_heard(struct workers *w)
{
	uint64_t count;

	if (read(w->fd, &count, sizeof(count)) < 0)
		log_debug("hearing the workers: %s, ignoring", strerror(errno));
}

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
/* 32 MiB of pages: some milliseconds of work. The engine is told once that there is less than half
 * of it left: it should not have to be woken for each item, nor the workers wait for it. */
#define QUEUE_MAX 256u
#define QUEUE_LOW (QUEUE_MAX / 2)

struct worker {
	struct workers *all;
	pthread_t thread;
	struct opener opener;
	struct item *item; /* being worked on, or NULL */
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

/* The next item that is of use now, and its pages; NULL: none. */
static struct item *take_next(struct workers *w, struct batch *b)
{
	struct item *i;

	while ((i = TAILQ_FIRST(&w->queue))) {
		bool now = false, useful;

		TAILQ_REMOVE(&w->queue, i, link);
		w->queued--;
		useful = deliver_is_of_use(w->e, i, b, &now);
		if (useful && now)
			return i;
		finish(w, i, useful);
	}
	return NULL;
}

/* Without the lock. Returns whether all that is wanted of the item is in place. */
static bool bring(struct worker *me, const struct item *i, struct batch *b)
{
	struct engine *e = me->all->e;
	bool all;

	if (deliver_open(e, i, &me->opener, b, NULL) < 0)
		return false;
	b->by_worker = true;
	if (e->o->mode == PAGER_FULL)
		return full_put(e, i->frame, b, NULL) == 0;
	engine_lock(e);
	all = deliver_batch(e, b, NULL) == DELIVERED_ALL;
	engine_unlock(e);
	return all;
}

static void work_on(struct worker *me, struct item *i, struct batch *b, bool runs_low)
{
	struct workers *w = me->all;
	bool all;

	me->item = i;
	w->working++;
	engine_unlock(w->e);
	if (runs_low)
		tell_engine(w);
	all = bring(me, i, b);
	engine_lock(w->e);
	deliver_was_read(w->e, i);
	w->working--;
	me->item = NULL;
	finish(w, i, !all);
}

static bool engine_should_look(const struct workers *w)
{
	const struct engine *e = w->e;

	return w->tell || (w->queued == 0 && w->working == 0) || (!e->touched && !e->touch_left);
}

static void *work(void *arg)
{
	struct worker *me = arg;
	struct workers *w = me->all;

	engine_lock(w->e);
	while (!w->ending) {
		size_t queued = w->queued;
		struct batch b = {0};
		struct item *i;

		if (TAILQ_EMPTY(&w->queue)) {
			pthread_cond_wait(&w->work, &w->e->lock);
			continue;
		}
		i = take_next(w, &b);
		if (i)
			work_on(me, i, &b, queued >= QUEUE_LOW && w->queued < QUEUE_LOW);
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
	int r = opener_init(&me->opener, err);

	me->all = w;
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
	for (unsigned i = 0; i < WORKERS_MAX; i++)
		opener_done(&w->worker[i].opener);
	item_queue_free(&w->queue);
	item_queue_free(&w->done);
	pthread_cond_destroy(&w->work);
	cleanup_close(&w->fd);
	free(w);
}

bool workers_any(const struct workers *w)
{
	return w->n > 0;
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
	for (unsigned k = 0; k < w->n; k++) {
		if (is(w->worker[k].item, kind, frame))
			return true;
	}
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

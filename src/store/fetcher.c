/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What all kinds of fetchers have in common, above all how they wait. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "store/objdir.h"
#include "store_impl.h"

#define FDS_MOST 1024
/* From a fast store there is always more to take: the caller has his turn after so long. */
#define TURN_MOST (2 * NSEC_PER_MSEC)

int fetcher_new(struct store *s, struct fetcher **ret, struct frem_error *err)
{
	return s->ops->fetcher_new(s, ret, err);
}

void fetcher_free(struct fetcher *f)
{
	if (!f)
		return;
	free(f->polled);
	f->ops->free(f);
}

int fetcher_start(struct fetcher *f, const struct fetch_request *req, struct fetch **ret,
		  struct frem_error *err)
{
	uint64_t end;
	int r = objdir_check_key(req->key, err);

	if (r == 0 && req->len != STORE_WHOLE &&
	    __builtin_add_overflow(req->offset, req->len, &end))
		r = frem_fail(err, FREM_DAMAGED, EOVERFLOW, "range");
	if (r == 0)
		r = f->ops->start(f, req, ret, err);
	return r < 0 ? store_context(f->store, err, r, "get", req->key) : 0;
}

void fetcher_cancel(struct fetcher *f, struct fetch *fetch)
{
	f->ops->cancel(f, fetch);
}

void fetcher_allow(struct fetcher *f, struct fetch *fetch, uint64_t limit)
{
	f->ops->allow(f, fetch, limit);
}

uint32_t fetch_sources(const struct fetcher *f, const struct fetch *fetch)
{
	return f->ops->sources ? f->ops->sources(fetch) : 1;
}

size_t fetcher_active(const struct fetcher *f)
{
	return f->active;
}

uint64_t fetcher_room(const struct fetcher *f)
{
	return f->ops->room(f);
}

void fetcher_get_stats(const struct fetcher *f, struct fetcher_stats *ret)
{
	f->ops->get_stats(f, ret);
}

bool turn_is_over(const struct turn *t)
{
	return clock_ns() - t->start > TURN_MOST || (t->n && poll(t->fds, t->n, 0) > 0);
}

/* Makes room for the caller's descriptors and the fetcher's own. */
static int reserve_polled(struct fetcher *f, unsigned n, struct frem_error *err)
{
	struct pollfd *p;

	if (n > FDS_MOST)
		return frem_fail(err, FREM_FAILED, E2BIG, "%u descriptors to wait for", n);
	if (n + 1 <= f->polled_cap)
		return 0;
	p = reallocarray(f->polled, n + 1, sizeof(*p));
	if (!p)
		return frem_oom(err);
	f->polled = p;
	f->polled_cap = n + 1;
	return 0;
}

/* Waits for the caller's descriptors or the fetcher's own; returns how many of the caller's are
 * ready, or -errno. */
static int wait_for(struct fetcher *f, struct pollfd *fds, unsigned n, int timeout_ms,
		    struct frem_error *err)
{
	int ready;

	if (n)
		memcpy(f->polled, fds, n * sizeof(*fds));
	f->polled[n] = (struct pollfd){.fd = f->ops->fd(f), .events = POLLIN};
	ready = poll(f->polled, n + 1, timeout_ms);
	if (ready < 0 && errno != EINTR)
		return frem_fail(err, FREM_FAILED, errno, "waiting for descriptors");
	if (ready < 0)
		return 0;
	for (unsigned i = 0; i < n; i++)
		fds[i].revents = f->polled[i].revents;
	return ready - (f->polled[n].revents != 0);
}

static int time_left(uint64_t start, int timeout_ms)
{
	double gone = clock_ms_since(start);

	if (timeout_ms < 0)
		return -1;
	return gone >= timeout_ms ? 0 : timeout_ms - (int)gone;
}

static int sooner(int a, int b)
{
	return a < 0 || (b >= 0 && b < a) ? b : a;
}

int fetcher_run(struct fetcher *f, struct pollfd *fds, unsigned n, int timeout_ms,
		struct frem_error *err)
{
	uint64_t start = clock_ns();
	int r = reserve_polled(f, n, err);

	for (unsigned i = 0; i < n; i++)
		fds[i].revents = 0;
	while (r == 0) {
		struct turn turn = {.fds = fds, .n = n, .start = clock_ns()};
		bool called = false;
		int left, ready;

		r = f->ops->step(f, &turn, &called, err);
		if (r < 0)
			break;
		left = called ? 0 : time_left(start, timeout_ms);
		ready = wait_for(f, fds, n, sooner(left, f->ops->timeout(f)), err);
		if (ready < 0)
			return ready;
		if (called || ready > 0 || left == 0)
			break;
	}
	return r;
}

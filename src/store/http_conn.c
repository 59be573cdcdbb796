/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "http_conn.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>

#include "base/clock.h"
#include "http_call.h"

/* A server that has the whole body still has to sync it to its disk. */
#define STALL_SYNC_FACTOR 10

/* ---- a write to a closed TLS connection must not raise SIGPIPE (plain sockets never do) ---- */

struct pipe_guard {
	bool on, was_pending;
	sigset_t old;
};

static void guard_enter(struct pipe_guard *g, const struct http_conn *n)
{
	sigset_t pending, pipe;

	g->on = n->tls;
	if (!g->on)
		return;
	sigpending(&pending);
	g->was_pending = sigismember(&pending, SIGPIPE);
	sigemptyset(&pipe);
	sigaddset(&pipe, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &pipe, &g->old);
}

static void guard_leave(const struct pipe_guard *g)
{
	const struct timespec now = {0};
	sigset_t pipe;

	if (!g->on)
		return;
	sigemptyset(&pipe);
	sigaddset(&pipe, SIGPIPE);
	if (!g->was_pending)
		sigtimedwait(&pipe, NULL, &now);
	pthread_sigmask(SIG_SETMASK, &g->old, NULL);
}

/* ---- what curl calls ---- */

static uint64_t event_data(const struct http_conn *n, curl_socket_t fd)
{
	return (uint64_t)n->id << 32 | (uint32_t)fd;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *known)
{
	struct http_conn *n = arg;
	struct epoll_event e = {.data.u64 = event_data(n, fd)};

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		epoll_ctl(n->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
		curl_multi_assign(n->multi, fd, NULL);
		return 0;
	}
	e.events = (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u);
	if (epoll_ctl(n->epoll_fd, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &e) < 0)
		return -1;
	curl_multi_assign(n->multi, fd, n);
	return 0;
}

static int on_timer(CURLM *multi, long ms, void *arg)
{
	struct http_conn *n = arg;

	(void)multi;
	n->timer_ns = ms < 0 ? 0 : clock_ns() + (uint64_t)ms * NSEC_PER_MSEC;
	return 0;
}

int http_conn_init(struct http_conn *n, int epoll_fd, uint32_t id, bool tls, long connections,
		   struct frem_error *err)
{
	*n = (struct http_conn){.epoll_fd = epoll_fd, .id = id, .tls = tls};
	TAILQ_INIT(&n->calls);
	n->multi = curl_multi_init();
	if (!n->multi)
		return frem_oom(err);
	curl_multi_setopt(n->multi, CURLMOPT_MAXCONNECTS, connections);
	curl_multi_setopt(n->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(n->multi, CURLMOPT_SOCKETDATA, n);
	curl_multi_setopt(n->multi, CURLMOPT_TIMERFUNCTION, on_timer);
	curl_multi_setopt(n->multi, CURLMOPT_TIMERDATA, n);
	return 0;
}

void http_conn_done(struct http_conn *n)
{
	struct pipe_guard g;

	guard_enter(&g, n);
	curl_multi_cleanup(n->multi);
	guard_leave(&g);
	n->multi = NULL;
}

void http_conn_remove(struct http_conn *n, CURL *easy)
{
	struct pipe_guard g;

	guard_enter(&g, n);
	curl_multi_remove_handle(n->multi, easy);
	guard_leave(&g);
}

/* ---- moving ---- */

static void collect_finished(struct http_conn *n)
{
	CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(n->multi, &left))) {
		struct http_call *c = NULL;

		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &c);
		if (m->msg == CURLMSG_DONE && c && !c->finished)
			http_call_finish(c, m->data.result);
	}
}

static int act(struct http_conn *n, curl_socket_t fd, int what, struct frem_error *err)
{
	struct pipe_guard g;
	int running = 0;
	CURLMcode code;

	guard_enter(&g, n);
	n->in_curl = true;
	code = curl_multi_socket_action(n->multi, fd, what, &running);
	n->in_curl = false;
	guard_leave(&g);
	if (code != CURLM_OK)
		return frem_fail(err, FREM_FAILED, EIO, "moving transfers: %s",
				 curl_multi_strerror(code));
	collect_finished(n);
	return 0;
}

uint32_t http_conn_of(const struct epoll_event *e)
{
	return (uint32_t)(e->data.u64 >> 32);
}

int http_conn_event(struct http_conn *n, const struct epoll_event *e, struct frem_error *err)
{
	int what = (e->events & EPOLLIN ? CURL_CSELECT_IN : 0) |
		   (e->events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
		   (e->events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);

	return act(n, (curl_socket_t)(uint32_t)e->data.u64, what, err);
}

int http_conn_kick(struct http_conn *n, uint64_t now, struct frem_error *err)
{
	if (!n->timer_ns || n->timer_ns > now)
		return 0;
	n->timer_ns = 0; /* curl sets the next one */
	return act(n, CURL_SOCKET_TIMEOUT, 0, err);
}

void http_conn_end_stalled(struct http_conn *n, unsigned stall_ms, uint64_t now)
{
	struct http_call *c, *next;

	for (c = TAILQ_FIRST(&n->calls); c; c = next) {
		uint64_t limit = stall_ms * NSEC_PER_MSEC;

		next = TAILQ_NEXT(c, link);
		if (c->method == HTTP_PUT && c->uploaded)
			limit *= STALL_SYNC_FACTOR;
		if (now < c->moved + limit)
			continue;
		c->r = store_fail(&c->err, FREM_STORE, ETIMEDOUT, "nothing moved for %llu s",
				  (unsigned long long)(limit / NSEC_PER_SEC));
		http_call_finish(c, CURLE_OK);
	}
}

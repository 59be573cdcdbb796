/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The open connections, so that a stop can end them before libmicrohttpd is told to stop: its
 * 0.9.75 crashes where a malformed request is being refused while MHD_stop_daemon() runs.
 */
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#include "base/clock.h"
#include "server_impl.h"

struct open_connection {
	LIST_ENTRY(open_connection) link;
	int fd;
};

void connections_init(struct connections *v)
{
	pthread_mutex_init(&v->lock, NULL);
	LIST_INIT(&v->open);
}

void connections_done(struct connections *v)
{
	pthread_mutex_destroy(&v->lock);
}

void connections_notify(void *cls, struct MHD_Connection *c, void **context,
			enum MHD_ConnectionNotificationCode code)
{
	struct connections *v = cls;
	struct open_connection *o = *context;

	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		const union MHD_ConnectionInfo *info =
			MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);

		o = info ? malloc(sizeof(*o)) : NULL;
		*context = o;
		if (!o)
			return;
		o->fd = info->connect_fd;
		pthread_mutex_lock(&v->lock);
		LIST_INSERT_HEAD(&v->open, o, link);
		pthread_mutex_unlock(&v->lock);
	} else if (o) {
		/* called before the descriptor is closed */
		pthread_mutex_lock(&v->lock);
		LIST_REMOVE(o, link);
		pthread_mutex_unlock(&v->lock);
		free(o);
		*context = NULL;
	}
}

/* Hangs up on everybody; returns whether somebody is left. */
static bool hang_up(struct connections *v)
{
	struct open_connection *o;
	bool any;

	pthread_mutex_lock(&v->lock);
	LIST_FOREACH(o, &v->open, link)
	shutdown(o->fd, SHUT_RDWR);
	any = !LIST_EMPTY(&v->open);
	pthread_mutex_unlock(&v->lock);
	return any;
}

void connections_end(struct connections *v, unsigned wait_ms)
{
	const struct timespec pause = {.tv_nsec = 2 * (long)NSEC_PER_MSEC};
	uint64_t start = clock_ns();

	while (hang_up(v) && clock_ms_since(start) < wait_ms)
		nanosleep(&pause, NULL);
}

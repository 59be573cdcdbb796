/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the server's files share. A request is used by its connection's thread alone. */
#ifndef FREM_SERVER_SERVER_IMPL_H
#define FREM_SERVER_SERVER_IMPL_H

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "server/server.h"
#include "store/objdir.h"

#define SERVER_LIST_PAGE 10000 /* objects of one answer to a listing */

struct open_connection;

struct connections {
	pthread_mutex_t lock;
	LIST_HEAD(, open_connection) open;
};

struct server {
	struct MHD_Daemon *daemon;
	struct objdir *objdir;
	uint64_t max_object;
	char *url;
	atomic_uint busy; /* requests under way */
	struct connections connections;
	int listen_fd;
};

/* One request, from its first header to its last byte. */
struct request {
	struct server *server;
	char key[OBJDIR_KEY_MAX + 1];
	bool listing; /* the path ends in '/': key is what all keys are relative to, or "" */
	struct objdir_upload *upload;
	uint64_t size;	  /* of the upload so far */
	unsigned refused; /* status of an upload that was refused while its body still comes */
	char why[256];
	bool answered; /* in the middle of the body */
	uint64_t drained;
};

void connections_init(struct connections *v);
void connections_done(struct connections *v);
/* For MHD_OPTION_NOTIFY_CONNECTION; cls is the struct connections. */
void connections_notify(void *cls, struct MHD_Connection *c, void **context,
			enum MHD_ConnectionNotificationCode code);
/* Ends all connections, waiting for their threads for at most wait_ms. */
void connections_end(struct connections *v, unsigned wait_ms);

/* Decodes %XX; -EINVAL for a bad escape, NUL or what does not fit. */
int url_decode(const char *in, char *out, size_t size);

/* The status for what an objdir function returned. Trouble that is not the client's is logged. */
unsigned status_of(int r, const struct frem_error *err);
/* Queues a one-line text. */
enum MHD_Result answer_text(struct MHD_Connection *c, unsigned status, const char *text);
enum MHD_Result answer_error(struct MHD_Connection *c, int r, const struct frem_error *err);
/* Queues response and lets go of it; NULL ends the connection. */
enum MHD_Result answer(struct MHD_Connection *c, unsigned status, struct MHD_Response *response);
/* Strong: an object never changes in place, so inode, size and time name its content. */
#define ETAG_SIZE 64
void etag_of(const struct stat *st, char out[ETAG_SIZE]);
const char *header(struct MHD_Connection *c, const char *name);

enum MHD_Result serve_get(struct request *r, struct MHD_Connection *c);
enum MHD_Result serve_listing(struct request *r, struct MHD_Connection *c);
enum MHD_Result serve_delete(struct request *r, struct MHD_Connection *c);
/* The head of a PUT is in; returns MHD_NO only if the connection is to end. */
enum MHD_Result upload_begin(struct request *r, struct MHD_Connection *c);
enum MHD_Result upload_data(struct request *r, struct MHD_Connection *c, const char *data,
			    size_t *size);
enum MHD_Result upload_end(struct request *r, struct MHD_Connection *c);

#endif

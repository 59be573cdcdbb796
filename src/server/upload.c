/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PUT. Whatever can be refused by the head is, before the client sends the body if it asks first
 * (Expect: 100-continue). What goes wrong in the middle of a body is answered there and then, which
 * makes a client stop; what it sends nevertheless is read and dropped, since a connection closed
 * under a sender loses the answer.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "server_impl.h"

/* A refused body longer than this is not worth waiting for. */
#define DRAIN_MOST (UINT64_C(64) << 20)

static void refuse(struct request *r, unsigned status, const char *why)
{
	objdir_upload_free(r->upload);
	r->upload = NULL;
	r->refused = status;
	snprintf(r->why, sizeof(r->why), "%.*s", (int)sizeof(r->why) - 1, why);
}

static void refuse_error(struct request *r, int e, const struct frem_error *err)
{
	refuse(r, status_of(e, err), err->text);
}

/* STORE_WHOLE for a chunked body; -EINVAL for a length that is none. */
static int body_size(struct MHD_Connection *c, uint64_t *ret)
{
	const char *text = header(c, "Content-Length");
	char *end;

	*ret = STORE_WHOLE;
	if (!text)
		return header(c, "Transfer-Encoding") ? 0 : -EINVAL;
	errno = 0;
	*ret = strtoull(text, &end, 10);
	return errno || *end || *text < '0' || *text > '9' ? -EINVAL : 0;
}

static void start(struct request *r, struct MHD_Connection *c)
{
	const char *none_match = header(c, "If-None-Match");
	struct frem_error err = {0};
	uint64_t size;
	int e;

	if (body_size(c, &size) < 0) {
		refuse(r, MHD_HTTP_LENGTH_REQUIRED, "no length given");
	} else if (header(c, "Content-Range")) {
		refuse(r, MHD_HTTP_BAD_REQUEST, "only whole objects can be put");
	} else if (header(c, "If-Match") || (none_match && strcmp(none_match, "*") != 0)) {
		refuse(r, MHD_HTTP_NOT_IMPLEMENTED, "the only condition is If-None-Match: *");
	} else if (size != STORE_WHOLE && size > r->server->max_object) {
		refuse(r, MHD_HTTP_CONTENT_TOO_LARGE, "the object is too large for this store");
	} else {
		e = objdir_upload_new(r->server->objdir, r->key, none_match != NULL, size,
				      &r->upload, &err);
		if (e < 0)
			refuse_error(r, e, &err);
	}
}

enum MHD_Result upload_begin(struct request *r, struct MHD_Connection *c)
{
	const char *expect = header(c, "Expect");

	if (!r->refused)
		start(r, c);
	if (r->refused && expect && strcasecmp(expect, "100-continue") == 0)
		return answer_text(c, r->refused, r->why);
	return MHD_YES;
}

/*
 * libmicrohttpd takes no answer in the middle of a body, so it is written to the socket, on which
 * nothing else is under way then. It does not say "Connection: close": libcurl would send on.
 */
static void answer_amid(struct request *r, struct MHD_Connection *c)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
	char text[sizeof(r->why) + 256];
	int n = snprintf(text, sizeof(text),
			 "HTTP/1.1 %u %s\r\nContent-Type: text/plain; charset=utf-8\r\n"
			 "Content-Length: %zu\r\n\r\n%s\n",
			 r->refused, MHD_get_reason_phrase_for(r->refused), strlen(r->why) + 1,
			 r->why);

	if (info && n > 0 && send(info->connect_fd, text, (size_t)n, MSG_NOSIGNAL) == n)
		r->answered = true;
}

enum MHD_Result upload_data(struct request *r, struct MHD_Connection *c, const char *data,
			    size_t *size)
{
	struct frem_error err = {0};
	size_t n = *size;
	int e;

	*size = 0;
	if (r->refused) {
		r->drained += n;
		return r->drained > DRAIN_MOST ? MHD_NO : MHD_YES;
	}
	r->size += n;
	if (r->size > r->server->max_object) {
		refuse(r, MHD_HTTP_CONTENT_TOO_LARGE, "the object is too large for this store");
	} else {
		e = objdir_upload_write(r->upload, data, n, &err);
		if (e < 0)
			refuse_error(r, e, &err);
	}
	if (r->refused)
		answer_amid(r, c);
	return MHD_YES;
}

enum MHD_Result upload_end(struct request *r, struct MHD_Connection *c)
{
	static char nothing[1];
	struct MHD_Response *response;
	struct frem_error err = {0};
	char etag[ETAG_SIZE];
	struct stat st;
	int e;

	if (r->answered)
		return MHD_NO;
	if (r->refused)
		return answer_text(c, r->refused, r->why);
	e = objdir_upload_commit(r->upload, &st, &err);
	if (e < 0)
		return answer_error(c, e, &err);
	response = MHD_create_response_from_buffer(0, nothing, MHD_RESPMEM_PERSISTENT);
	etag_of(&st, etag);
	if (response)
		MHD_add_response_header(response, "ETag", etag);
	return answer(c, MHD_HTTP_CREATED, response);
}

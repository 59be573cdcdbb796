/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "server_impl.h"

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int url_decode(const char *in, char *out, size_t size)
{
	size_t n = 0;

	for (; *in; in++) {
		int c = (unsigned char)*in;

		if (c == '%') {
			int high = hex_digit(in[1]), low = high < 0 ? -1 : hex_digit(in[2]);

			if (low < 0 || (high == 0 && low == 0))
				return -EINVAL;
			c = high << 4 | low;
			in += 2;
		}
		if (n + 1 >= size)
			return -EINVAL;
		out[n++] = (char)c;
	}
	out[n] = '\0';
	return 0;
}

unsigned status_of(int r, const struct frem_error *err)
{
	switch (-r) {
	case EINVAL:
		if (err->code == FREM_USAGE)
			return MHD_HTTP_BAD_REQUEST;
		break;
	case ENOENT:
		return MHD_HTTP_NOT_FOUND;
	case EEXIST:
		return MHD_HTTP_PRECONDITION_FAILED;
	case EFBIG:
		return MHD_HTTP_CONTENT_TOO_LARGE;
	case ENOTDIR:
	case EISDIR:
		return MHD_HTTP_CONFLICT;
	case ENOSPC:
	case EDQUOT:
		log_warning("serve: %s", err->text);
		return MHD_HTTP_INSUFFICIENT_STORAGE;
	default:
		break;
	}
	log_warning("serve: %s", err->text);
	return MHD_HTTP_INTERNAL_SERVER_ERROR;
}

enum MHD_Result answer(struct MHD_Connection *c, unsigned status, struct MHD_Response *response)
{
	enum MHD_Result r;

	if (!response)
		return MHD_NO;
	r = MHD_queue_response(c, status, response);
	MHD_destroy_response(response);
	return r;
}

enum MHD_Result answer_text(struct MHD_Connection *c, unsigned status, const char *text)
{
	char line[512];
	int n = snprintf(line, sizeof(line), "%s\n", text);
	struct MHD_Response *response;

	if (n < 0 || (size_t)n >= sizeof(line))
		n = (int)sizeof(line) - 1;
	response = MHD_create_response_from_buffer((size_t)n, line, MHD_RESPMEM_MUST_COPY);
	if (response)
		MHD_add_response_header(response, "Content-Type", "text/plain; charset=utf-8");
	return answer(c, status, response);
}

enum MHD_Result answer_error(struct MHD_Connection *c, int r, const struct frem_error *err)
{
	return answer_text(c, status_of(r, err), err->text);
}

void etag_of(const struct stat *st, char out[ETAG_SIZE])
{
	snprintf(out, ETAG_SIZE, "\"%llx-%llx-%llx%08lx\"", (unsigned long long)st->st_ino,
		 (unsigned long long)st->st_size, (unsigned long long)st->st_mtim.tv_sec,
		 (unsigned long)st->st_mtim.tv_nsec);
}

const char *header(struct MHD_Connection *c, const char *name)
{
	return MHD_lookup_connection_value(c, MHD_HEADER_KIND, name);
}

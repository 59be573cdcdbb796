/* SPDX-License-Identifier: GPL-2.0-or-later */
/* GET and HEAD of objects (RFC 9110: ranges 14, conditions 13), and DELETE. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server_impl.h"

enum range_kind {
	RANGE_NONE, /* none, or none that we understand: the whole object */
	RANGE_PART,
	RANGE_BEYOND, /* no byte of the object is in it */
};

struct range {
	uint64_t first, n;
};

/* Digits only; what is too large for the type is larger than any object as well. */
static bool parse_number(const char **p, uint64_t *ret)
{
	uint64_t v = 0;

	if (!isdigit((unsigned char)**p))
		return false;
	for (; isdigit((unsigned char)**p); (*p)++)
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (unsigned)(**p - '0'), &v))
			v = UINT64_MAX / 10; /* stays there, digit by digit */
	*ret = v;
	return true;
}

/* One range of bytes: A-B, A- or -N. Several at once are answered with the whole object. */
static enum range_kind parse_range(const char *text, uint64_t size, struct range *ret)
{
	uint64_t first, last;

	if (strncasecmp(text, "bytes=", 6) != 0)
		return RANGE_NONE;
	text += 6;
	if (*text == '-') {
		text++;
		if (!parse_number(&text, &last) || *text)
			return RANGE_NONE;
		if (last == 0 || size == 0)
			return RANGE_BEYOND;
		ret->n = last < size ? last : size;
		ret->first = size - ret->n;
		return RANGE_PART;
	}
	if (!parse_number(&text, &first) || *text++ != '-')
		return RANGE_NONE;
	if (*text == '\0')
		last = UINT64_MAX;
	else if (!parse_number(&text, &last) || *text || last < first)
		return RANGE_NONE;
	if (first >= size)
		return RANGE_BEYOND;
	if (last >= size)
		last = size - 1;
	*ret = (struct range){first, last - first + 1};
	return RANGE_PART;
}

/* Is etag in the list of an If-None-Match? Weak comparison, as is right there. */
static bool etag_listed(const char *list, const char *etag)
{
	size_t n = strlen(etag);

	while (*list) {
		list += strspn(list, " \t,");
		if (*list == '*')
			return true;
		if (strncmp(list, "W/", 2) == 0)
			list += 2;
		if (strncmp(list, etag, n) == 0 && strchr(" \t,", list[n]))
			return true;
		if (*list == '"' && strchr(list + 1, '"'))
			list = strchr(list + 1, '"') + 1;
		else
			list += strcspn(list, ",");
	}
	return false;
}

static enum range_kind wanted_range(struct MHD_Connection *c, const char *etag, uint64_t size,
				    struct range *ret)
{
	const char *range = header(c, "Range"), *if_range = header(c, "If-Range");

	if (!range || (if_range && strcmp(if_range, etag) != 0))
		return RANGE_NONE;
	return parse_range(range, size, ret);
}

static enum MHD_Result not_modified(struct MHD_Connection *c, const char *etag)
{
	static char nothing[1];
	struct MHD_Response *response =
		MHD_create_response_from_buffer(0, nothing, MHD_RESPMEM_PERSISTENT);

	if (response)
		MHD_add_response_header(response, "ETag", etag);
	return answer(c, MHD_HTTP_NOT_MODIFIED, response);
}

static enum MHD_Result range_beyond(struct MHD_Connection *c, uint64_t size)
{
	static char text[] = "the object ends before this range\n";
	struct MHD_Response *response =
		MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_PERSISTENT);
	char value[48];

	snprintf(value, sizeof(value), "bytes */%llu", (unsigned long long)size);
	if (response)
		MHD_add_response_header(response, "Content-Range", value);
	return answer(c, MHD_HTTP_RANGE_NOT_SATISFIABLE, response);
}

/* The response owns the descriptor; its bytes go out by sendfile(). */
static struct MHD_Response *file_response(int fd, const struct range *range)
{
	struct MHD_Response *response =
		MHD_create_response_from_fd_at_offset64(range->n, fd, range->first);

	if (!response)
		close(fd);
	return response;
}

enum MHD_Result serve_get(struct request *r, struct MHD_Connection *c)
{
	struct MHD_Response *response;
	struct frem_error err = {0};
	const char *none_match = header(c, "If-None-Match");
	char etag[ETAG_SIZE], value[80];
	enum range_kind kind;
	struct range range = {0};
	struct stat st;
	int fd, got = objdir_get(r->server->objdir, r->key, &fd, &st, &err);

	if (got < 0)
		return answer_error(c, got, &err);
	etag_of(&st, etag);
	kind = wanted_range(c, etag, (uint64_t)st.st_size, &range);
	if (none_match && etag_listed(none_match, etag)) {
		close(fd);
		return not_modified(c, etag);
	}
	if (kind == RANGE_BEYOND) {
		close(fd);
		return range_beyond(c, (uint64_t)st.st_size);
	}
	if (kind == RANGE_NONE)
		range = (struct range){0, (uint64_t)st.st_size};
	response = file_response(fd, &range);
	if (!response)
		return MHD_NO;
	MHD_add_response_header(response, "ETag", etag);
	MHD_add_response_header(response, "Accept-Ranges", "bytes");
	MHD_add_response_header(response, "Content-Type", "application/octet-stream");
	if (kind == RANGE_PART) {
		snprintf(value, sizeof(value), "bytes %llu-%llu/%llu",
			 (unsigned long long)range.first,
			 (unsigned long long)(range.first + range.n - 1),
			 (unsigned long long)st.st_size);
		MHD_add_response_header(response, "Content-Range", value);
	}
	return answer(c, kind == RANGE_PART ? MHD_HTTP_PARTIAL_CONTENT : MHD_HTTP_OK, response);
}

enum MHD_Result serve_delete(struct request *r, struct MHD_Connection *c)
{
	static char nothing[1];
	struct frem_error err = {0};
	int done = objdir_remove(r->server->objdir, r->key, &err);

	if (done < 0)
		return answer_error(c, done, &err);
	return answer(c, MHD_HTTP_NO_CONTENT,
		      MHD_create_response_from_buffer(0, nothing, MHD_RESPMEM_PERSISTENT));
}

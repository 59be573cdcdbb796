/* SPDX-License-Identifier: GPL-2.0-or-later */
/* GET /?prefix=P&after=K: one page of a listing, in the byte order of the keys. */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "server_impl.h"

/* Decodes one argument of the query behind the base; an absent one is "". */
static int argument(const struct request *r, struct MHD_Connection *c, const char *name, char *out,
		    size_t size)
{
	const char *value = MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, name);
	int n = snprintf(out, size, "%s%s", r->key, r->key[0] ? "/" : "");

	if (!value)
		return 0;
	return url_decode(value, out + n, size - (size_t)n);
}

static json_t *describe(const struct store_list *l, size_t skip, bool more)
{
	json_t *page = json_object(), *objects = json_array();

	for (size_t i = 0; i < l->n; i++) {
		const struct store_object *o = &l->objects[i];

		json_array_append_new(objects, json_pack("{s:s, s:I, s:I}", "key", o->key + skip,
							 "size", (json_int_t)o->size, "modified",
							 (json_int_t)o->modified));
	}
	if (more && l->n)
		json_object_set_new(page, "next", json_string(l->objects[l->n - 1].key + skip));
	if (json_array_size(objects) != l->n || json_object_set_new(page, "objects", objects) < 0) {
		json_decref(page);
		return NULL;
	}
	return page;
}

enum MHD_Result serve_listing(struct request *r, struct MHD_Connection *c)
{
	_cleanup_store_list_ struct store_list *l = NULL;
	char prefix[2 * OBJDIR_KEY_MAX + 2], after[2 * OBJDIR_KEY_MAX + 2];
	struct frem_error err = {0};
	struct MHD_Response *response;
	bool more = false;
	json_t *page;
	char *text;
	int done;

	if (argument(r, c, "prefix", prefix, sizeof(prefix)) < 0 ||
	    argument(r, c, "after", after, sizeof(after)) < 0)
		return answer_text(c, MHD_HTTP_BAD_REQUEST, "not a valid prefix");
	done = objdir_list(r->server->objdir, prefix, after, SERVER_LIST_PAGE, &l, &more, &err);
	if (done < 0)
		return answer_error(c, done, &err);
	page = describe(l, r->key[0] ? strlen(r->key) + 1 : 0, more);
	text = page ? json_dumps(page, JSON_COMPACT) : NULL;
	json_decref(page);
	if (!text)
		return answer_text(c, MHD_HTTP_INTERNAL_SERVER_ERROR, "out of memory");
	response = MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);
	if (!response)
		free(text);
	else
		MHD_add_response_header(response, "Content-Type", "application/json");
	return answer(c, MHD_HTTP_OK, response);
}

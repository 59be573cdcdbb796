/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "http_call.h"
#include "store/objdir.h"

#define LIST_PAGE_MOST (UINT64_C(16) << 20) /* bytes of one page of a listing */
#define CONNECTIONS_KEPT 4L

static void http_free(struct store *s)
{
	struct http_store *h = (struct http_store *)s;

	while (h->n_spare)
		curl_easy_cleanup(h->spare[--h->n_spare]);
	if (h->conn.multi)
		http_conn_done(&h->conn);
	if (h->epoll_fd >= 0)
		close(h->epoll_fd);
	curl_share_cleanup(h->share);
	free(h->ca);
	free(h->ca_path);
	free(h->base);
	free(h);
}

static int append_body(struct http_call *c, const void *data, size_t n)
{
	if (buffer_append(c->arg, data, n) < 0)
		return frem_oom(&c->err);
	return 0;
}

static int get_path(struct http_store *h, const char *path, uint64_t offset, uint64_t len,
		    uint64_t most, struct buffer *out, struct frem_error *err)
{
	struct http_call c = {.method = HTTP_GET,
			      .offset = offset,
			      .len = len,
			      .most = most,
			      .data = append_body,
			      .arg = out};

	return http_call_run(&c, h, path, err);
}

static int http_get(struct store *s, const char *key, uint64_t offset, uint64_t len, uint64_t most,
		    struct buffer *out, struct frem_error *err)
{
	_cleanup_free_ char *path = http_encode("/", key, false);

	if (!path)
		return frem_oom(err);
	if (len != STORE_WHOLE && len > STORE_WHOLE - offset)
		len = STORE_WHOLE;
	return get_path((struct http_store *)s, path, offset, len, most, out, err);
}

static int http_put(struct store *s, const char *key, const struct store_source *source,
		    bool if_absent, struct frem_error *err)
{
	struct http_call c = {.method = HTTP_PUT, .source = source, .if_absent = if_absent};
	_cleanup_free_ char *path = http_encode("/", key, false);

	if (!path)
		return frem_oom(err);
	return http_call_run(&c, (struct http_store *)s, path, err);
}

static int http_remove(struct store *s, const char *key, struct frem_error *err)
{
	struct http_call c = {.method = HTTP_DELETE};
	_cleanup_free_ char *path = http_encode("/", key, false);

	if (!path)
		return frem_oom(err);
	return http_call_run(&c, (struct http_store *)s, path, err);
}

/* ---- listing ---- */

struct listing {
	const char *prefix;
	struct store_list *out;
	size_t cap;
	char *after; /* NULL once the last page is in */
};

static int fail_listing(struct frem_error *err)
{
	return store_fail(err, FREM_STORE, EIO, "wrong answer of the server: not a listing");
}

static int add_object(struct listing *l, const json_t *o, struct frem_error *err)
{
	const char *key = json_string_value(json_object_get(o, "key"));
	const json_t *size = json_object_get(o, "size"), *modified = json_object_get(o, "modified");
	const struct store_object *last = l->out->n ? &l->out->objects[l->out->n - 1] : NULL;

	if (!key || !json_is_integer(size) || !json_is_integer(modified) ||
	    json_integer_value(size) < 0 || objdir_check_key(key, NULL) < 0 ||
	    strncmp(key, l->prefix, strlen(l->prefix)) != 0 ||
	    (last && strcmp(key, last->key) <= 0))
		return fail_listing(err);
	if (l->out->n == STORE_LIST_MAX)
		return frem_fail(err, FREM_STORE, E2BIG, "more than %d objects", STORE_LIST_MAX);
	if (store_list_add(l->out, &l->cap, key, (uint64_t)json_integer_value(size),
			   json_integer_value(modified)) < 0)
		return frem_oom(err);
	return 0;
}

static int add_page(struct listing *l, const json_t *page, struct frem_error *err)
{
	const json_t *objects = json_object_get(page, "objects");
	const char *next = json_string_value(json_object_get(page, "next"));
	json_t *o;
	size_t i;

	if (!json_is_array(objects) || (next && json_array_size(objects) == 0))
		return fail_listing(err);
	json_array_foreach(objects, i, o)
	{
		int r = add_object(l, o, err);

		if (r < 0)
			return r;
	}
	free(l->after);
	l->after = next ? strdup(l->out->objects[l->out->n - 1].key) : NULL;
	if (next && !l->after)
		return frem_oom(err);
	return 0;
}

static int get_page(struct http_store *h, struct listing *l, struct frem_error *err)
{
	_cleanup_buffer_ struct buffer body = {0};
	_cleanup_free_ char *path = NULL, *full = NULL;
	json_t *page;
	int r;

	path = http_encode("/?prefix=", l->prefix, true);
	if (path && *l->after) {
		_cleanup_free_ char *after = http_encode("&after=", l->after, true);

		if (!after || asprintf(&full, "%s%s", path, after) < 0)
			return frem_oom(err);
	}
	if (!path)
		return frem_oom(err);
	r = get_path(h, full ? full : path, 0, STORE_WHOLE, LIST_PAGE_MOST, &body, err);
	if (r < 0)
		return r;
	page = json_loadb((const char *)body.data, body.len, JSON_REJECT_DUPLICATES, NULL);
	r = page ? add_page(l, page, err) : fail_listing(err);
	json_decref(page);
	return r;
}

static int http_list(struct store *s, const char *prefix, struct store_list *out,
		     struct frem_error *err)
{
	struct listing l = {.prefix = prefix, .out = out, .after = strdup("")};
	int r = l.after ? 0 : frem_oom(err);

	while (r == 0 && l.after)
		r = get_page((struct http_store *)s, &l, err);
	free(l.after);
	return r;
}

/* ---- opening ---- */

static const struct store_ops http_ops = {
	.remote = true,
	.free = http_free,
	.get = http_get,
	.put = http_put,
	.list = http_list,
	.remove = http_remove,
	.fetcher_new = http_fetcher_new,
};

static void init_curl(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* Is it a URL that a key can be added to? */
static bool usable_url(CURLU *u)
{
	const CURLUPart none[] = {CURLUPART_QUERY, CURLUPART_FRAGMENT};

	for (size_t i = 0; i < 2; i++) {
		char *part = NULL;

		if (curl_url_get(u, none[i], &part, 0) == CURLUE_OK) {
			curl_free(part);
			return false;
		}
	}
	return true;
}

static char *url_text(CURLU *u)
{
	char *text = NULL, *copy;
	size_t n;

	if (curl_url_get(u, CURLUPART_URL, &text, 0) != CURLUE_OK)
		return NULL;
	copy = strdup(text);
	curl_free(text);
	for (n = copy ? strlen(copy) : 0; n && copy[n - 1] == '/'; n--)
		copy[n - 1] = '\0';
	return copy;
}

static int set_url(struct http_store *h, const char *url, struct frem_error *err)
{
	CURLU *u = curl_url();

	if (!u)
		return frem_oom(err);
	if (curl_url_set(u, CURLUPART_URL, url, 0) != CURLUE_OK || !usable_url(u)) {
		curl_url_cleanup(u);
		return frem_fail(err, FREM_USAGE, EINVAL, "store '%s': not a usable URL", url);
	}
	h->base = url_text(u);
	curl_url_set(u, CURLUPART_PASSWORD, NULL, 0);
	h->store.url = url_text(u);
	curl_url_cleanup(u);
	if (!h->base || !h->store.url)
		return frem_oom(err);
	h->tls = strncasecmp(h->base, "https:", 6) == 0;
	return 0;
}

static int copy_env(const char *name, char **ret, struct frem_error *err)
{
	const char *value = getenv(name);

	if (!value || !*value || *ret)
		return 0;
	*ret = strdup(value);
	return *ret ? 0 : frem_oom(err);
}

/* As the curl program and OpenSSL have it. */
static int set_trust(struct http_store *h, struct frem_error *err)
{
	int r = copy_env("CURL_CA_BUNDLE", &h->ca, err);

	if (r == 0)
		r = copy_env("SSL_CERT_FILE", &h->ca, err);
	if (r == 0)
		r = copy_env("SSL_CERT_DIR", &h->ca_path, err);
	return r;
}

static int prepare(struct http_store *h, struct frem_error *err)
{
	h->share = curl_share_init();
	h->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (!h->share || h->epoll_fd < 0)
		return frem_fail(err, FREM_FAILED, errno, "preparing transfers");
	curl_share_setopt(h->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
	curl_share_setopt(h->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
	return http_conn_init(&h->conn, h->epoll_fd, 0, h->tls, CONNECTIONS_KEPT, err);
}

int store_http_open(const char *url, struct store **ret, struct frem_error *err)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct http_store *h;
	int r;

	pthread_once(&once, init_curl);
	h = calloc(1, sizeof(*h));
	if (!h)
		return frem_oom(err);
	h->epoll_fd = -1;
	store_init(&h->store, &http_ops);
	r = set_url(h, url, err);
	if (r == 0)
		r = set_trust(h, err);
	if (r == 0)
		r = prepare(h, err);
	if (r < 0) {
		store_free(&h->store);
		return r;
	}
	*ret = &h->store;
	return 0;
}

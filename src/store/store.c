/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "store_impl.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "replicas.h"
#include "store/objdir.h"

#define BLANKS " \t\n"

int store_fail(struct frem_error *err, enum frem_code code, int errnum, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return -errnum;
	frem_error_reset(err);
	err->code = code;
	err->errnum = errnum;
	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	return -errnum;
}

int store_fail_short(struct frem_error *err, uint64_t size)
{
	return store_fail(err, FREM_DAMAGED, ENODATA, "the object ends at byte %llu, too early",
			  (unsigned long long)size);
}

int store_fail_big(struct frem_error *err, uint64_t most)
{
	return store_fail(err, FREM_DAMAGED, EFBIG, "the object is larger than %llu bytes",
			  (unsigned long long)most);
}

int store_fail_missing(struct frem_error *err)
{
	return store_fail(err, FREM_NOT_FOUND, ENOENT, "no such object");
}

int store_context(const struct store *s, struct frem_error *err, int r, const char *what,
		  const char *key)
{
	return frem_context(err, r, "store '%s': %s '%s'", s->url, what, key);
}

static bool has_scheme(const char *url, const char *scheme)
{
	size_t n = strlen(scheme);

	return strncasecmp(url, scheme, n) == 0 && strncmp(url + n, "://", 3) == 0;
}

static int open_file_url(const char *url, struct store **ret, struct frem_error *err)
{
	const char *path = url + strlen("file://");
	_cleanup_free_ char *decoded = NULL;
	char *raw;
	int n = 0;

	if (*path != '/')
		return frem_fail(err, FREM_USAGE, EINVAL, "store '%s': no absolute path", url);
	raw = curl_easy_unescape(NULL, path, 0, &n);
	decoded = raw ? strndup(raw, (size_t)n) : NULL;
	curl_free(raw);
	if (!decoded)
		return frem_oom(err);
	return store_dir_open(decoded, ret, err);
}

static int open_one(const char *url, struct store **ret, struct frem_error *err)
{
	if (has_scheme(url, "http") || has_scheme(url, "https"))
		return store_http_open(url, ret, err);
	if (has_scheme(url, "file"))
		return open_file_url(url, ret, err);
	if (strstr(url, "://"))
		return frem_fail(err, FREM_USAGE, EINVAL, "store '%s': unknown kind of store", url);
	return store_dir_open(url, ret, err);
}

/* Opens each of a list; of what was opened before a failure the caller has *ret_n. */
static int open_each(char *list, struct store **of, unsigned *ret_n, struct frem_error *err)
{
	char *rest = NULL;

	for (char *url = strtok_r(list, BLANKS, &rest); url; url = strtok_r(NULL, BLANKS, &rest)) {
		int r;

		if (*ret_n == REPLICAS_MOST)
			return frem_fail(err, FREM_USAGE, E2BIG, "more than %u stores",
					 REPLICAS_MOST);
		r = open_one(url, &of[*ret_n], err);
		if (r < 0)
			return r;
		(*ret_n)++;
	}
	return *ret_n ? 0 : frem_fail(err, FREM_USAGE, EINVAL, "empty store URL");
}

int store_open(const char *url, struct store **ret, struct frem_error *err)
{
	_cleanup_free_ char *list = strdup(url);
	struct store *of[REPLICAS_MOST];
	unsigned n = 0;
	int r;

	if (!list)
		return frem_oom(err);
	r = open_each(list, of, &n, err);
	if (r < 0) {
		while (n)
			store_free(of[--n]);
		return r;
	}
	/* what a directory says by itself is final */
	if (n > 1 || of[0]->ops->remote)
		return replicas_new(of, n, ret, err);
	*ret = of[0];
	return 0;
}

void store_free(struct store *s)
{
	if (!s)
		return;
	free(s->url);
	s->ops->free(s);
}

void store_init(struct store *s, const struct store_ops *ops)
{
	*s = (struct store){.ops = ops, .stall_ms = STORE_STALL_MS, .timeout_ms = STORE_TIMEOUT_MS};
}

const char *store_url(const struct store *s)
{
	return s->url;
}

void store_set_timeout(struct store *s, unsigned ms)
{
	s->timeout_ms = ms;
	s->timeout_set = true;
}

void store_set_stall_limit(struct store *s, unsigned ms)
{
	s->stall_ms = ms;
}

void store_set_interrupt(struct store *s, bool (*interrupted)(void))
{
	s->interrupted = interrupted;
}

int store_get(struct store *s, const char *key, uint64_t offset, uint64_t len, uint64_t most,
	      struct buffer *out, struct frem_error *err)
{
	size_t start = out->len;
	int r = objdir_check_key(key, err);

	if (r == 0)
		r = s->ops->get(s, key, offset, len, most, out, err);
	if (r < 0) {
		out->len = start;
		return store_context(s, err, r, "get", key);
	}
	return 0;
}

int store_open_file(struct store *s, const char *key, int *ret_fd, uint64_t *ret_size,
		    uint32_t *ret_source, struct frem_error *err)
{
	int r = objdir_check_key(key, err);

	if (r == 0 && s->ops->open_file)
		r = s->ops->open_file(s, key, ret_fd, ret_size, ret_source, err);
	else if (r == 0)
		r = store_fail(err, FREM_FAILED, EOPNOTSUPP, "no directory on this machine");
	return r < 0 ? store_context(s, err, r, "open", key) : 0;
}

/* Holds a source to the size that it announced. */
struct checked_source {
	const struct store_source *source;
	uint64_t given;
};

static int checked_rewind(void *arg)
{
	struct checked_source *c = arg;

	c->given = 0;
	return c->source->rewind ? c->source->rewind(c->source->arg) : -ENOTSUP;
}

static ssize_t checked_read(void *arg, void *data, size_t n, struct frem_error *err)
{
	struct checked_source *c = arg;
	uint64_t left = c->source->size == STORE_WHOLE ? STORE_WHOLE : c->source->size - c->given;
	ssize_t got;

	if (left == 0)
		return 0;
	if (n > left)
		n = (size_t)left;
	got = c->source->read(c->source->arg, data, n, err);
	if (got == 0 && c->source->size != STORE_WHOLE)
		return store_fail(err, FREM_FAILED, ENODATA, "only %llu of %llu bytes to upload",
				  (unsigned long long)c->given,
				  (unsigned long long)c->source->size);
	if (got > 0)
		c->given += (uint64_t)got;
	return got;
}

int store_put(struct store *s, const char *key, const struct store_source *source, bool if_absent,
	      struct frem_error *err)
{
	struct checked_source c = {.source = source};
	struct store_source checked = {.read = checked_read,
				       .arg = &c,
				       .size = source->size,
				       .rewind = source->rewind ? checked_rewind : NULL};
	int r = objdir_check_key(key, err);

	if (r == 0)
		r = s->ops->put(s, key, &checked, if_absent, err);
	return r < 0 ? store_context(s, err, r, "put", key) : 0;
}

struct bytes_source {
	const uint8_t *data;
	size_t n, left;
};

static int bytes_rewind(void *arg)
{
	struct bytes_source *b = arg;

	b->data -= b->n - b->left;
	b->left = b->n;
	return 0;
}

static ssize_t bytes_read(void *arg, void *data, size_t n, struct frem_error *err)
{
	struct bytes_source *b = arg;

	(void)err;
	if (n > b->left)
		n = b->left;
	if (n == 0)
		return 0;
	memcpy(data, b->data, n);
	b->data += n;
	b->left -= n;
	return (ssize_t)n;
}

int store_put_bytes(struct store *s, const char *key, const void *data, size_t n, bool if_absent,
		    struct frem_error *err)
{
	struct bytes_source b = {.data = data, .n = n, .left = n};
	struct store_source source = {
		.read = bytes_read, .arg = &b, .size = n, .rewind = bytes_rewind};

	return store_put(s, key, &source, if_absent, err);
}

int store_list(struct store *s, const char *prefix, struct store_list **ret, struct frem_error *err)
{
	_cleanup_store_list_ struct store_list *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return frem_oom(err);
	r = s->ops->list(s, prefix, l, err);
	if (r < 0)
		return store_context(s, err, r, "list", prefix);
	store_list_sort(l);
	*ret = TAKE_PTR(l);
	return 0;
}

int store_list_add(struct store_list *l, size_t *cap, const char *key, uint64_t size,
		   int64_t modified)
{
	char *copy;

	if (l->n == *cap) {
		size_t more = *cap ? *cap * 2 : 64;
		struct store_object *o = reallocarray(l->objects, more, sizeof(*o));

		if (!o)
			return -ENOMEM;
		l->objects = o;
		*cap = more;
	}
	copy = strdup(key);
	if (!copy)
		return -ENOMEM;
	l->objects[l->n++] = (struct store_object){copy, size, modified};
	return 0;
}

static int by_key(const void *a, const void *b)
{
	return strcmp(((const struct store_object *)a)->key, ((const struct store_object *)b)->key);
}

void store_list_sort(struct store_list *l)
{
	if (l->n)
		qsort(l->objects, l->n, sizeof(*l->objects), by_key);
}

void store_list_clear(struct store_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->objects[i].key);
	free(l->objects);
	*l = (struct store_list){0};
}

void store_list_free(struct store_list *l)
{
	if (!l)
		return;
	store_list_clear(l);
	free(l);
}

int store_remove(struct store *s, const char *key, struct frem_error *err)
{
	int r = objdir_check_key(key, err);

	if (r == 0)
		r = s->ops->remove(s, key, err);
	return r < 0 ? store_context(s, err, r, "remove", key) : 0;
}

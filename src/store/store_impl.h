/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a kind of store implements. store.c picks the kind by the URL, checks keys and sources, and
 * puts `store 'URL': what 'KEY'` before every error; an implementation says only what failed.
 */
#ifndef FREM_STORE_STORE_IMPL_H
#define FREM_STORE_STORE_IMPL_H

#include "store/store.h"

#define STORE_STALL_MS 10000
/* Beyond these a listing is refused rather than held in memory. */
#define STORE_LIST_MAX 1000000

struct store_ops {
	bool remote; /* failures may pass */
	void (*free)(struct store *s);
	int (*get)(struct store *s, const char *key, uint64_t offset, uint64_t len, uint64_t most,
		   struct buffer *out, struct frem_error *err);
	/* source never gives more or fewer bytes than its size says. */
	int (*put)(struct store *s, const char *key, const struct store_source *source,
		   bool if_absent, struct frem_error *err);
	int (*list)(struct store *s, const char *prefix, struct store_list *out,
		    struct frem_error *err);
	int (*remove)(struct store *s, const char *key, struct frem_error *err);
	/* NULL: no object is a file here. */
	int (*open_file)(struct store *s, const char *key, int *ret_fd, uint64_t *ret_size,
			 uint32_t *ret_source, struct frem_error *err);
	int (*fetcher_new)(struct store *s, struct fetcher **ret, struct frem_error *err);
};

/* The first member of every kind's own struct. */
struct store {
	const struct store_ops *ops;
	char *url; /* as shown: without a password */
	unsigned stall_ms;
	unsigned timeout_ms;
	bool timeout_set;
	bool (*interrupted)(void); /* NULL: never */
};

/* What step() asks whether it should return to the caller. */
struct turn {
	struct pollfd *fds; /* the caller's */
	unsigned n;
	uint64_t start; /* clock_ns() */
};

bool turn_is_over(const struct turn *t);

struct fetcher_ops {
	void (*free)(struct fetcher *f);
	int (*start)(struct fetcher *f, const struct fetch_request *req, struct fetch **ret,
		     struct frem_error *err);
	void (*cancel)(struct fetcher *f, struct fetch *fetch);
	void (*allow)(struct fetcher *f, struct fetch *fetch, uint64_t limit);
	uint32_t (*sources)(const struct fetch *fetch);
	/* Moves what can be moved without waiting, until the turn is over; *ret_called: a callback
	 * was called. */
	int (*step)(struct fetcher *f, const struct turn *turn, bool *ret_called,
		    struct frem_error *err);
	/* Readable when there is something to do; -1: never. */
	int (*fd)(const struct fetcher *f);
	/* Milliseconds until there is something to do without that; -1: never. */
	int (*timeout)(const struct fetcher *f);
	uint64_t (*room)(const struct fetcher *f);
	void (*get_stats)(const struct fetcher *f, struct fetcher_stats *ret);
};

struct fetcher {
	const struct fetcher_ops *ops;
	struct store *store;
	size_t active; /* fetches started and not yet done or cancelled */
	struct pollfd *polled;
	unsigned polled_cap;
};

/* Makes *s one of this kind with the defaults. */
void store_init(struct store *s, const struct store_ops *ops);
/* path, or an http(s) URL already known to be one. */
int store_dir_open(const char *path, struct store **ret, struct frem_error *err);
int store_http_open(const char *url, struct store **ret, struct frem_error *err);

/* Appends one object to a list whose array has room for *cap. Returns 0 or -ENOMEM. */
int store_list_add(struct store_list *l, size_t *cap, const char *key, uint64_t size,
		   int64_t modified);
void store_list_sort(struct store_list *l);
void store_list_clear(struct store_list *l);

/* Prepends `store 'URL': what 'KEY'`; returns r. */
int store_context(const struct store *s, struct frem_error *err, int r, const char *what,
		  const char *key);
/* frem_fail() whose text says it all: errnum is returned negative but not spelt out. */
int store_fail(struct frem_error *err, enum frem_code code, int errnum, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* The object ends before a wanted range does. */
int store_fail_short(struct frem_error *err, uint64_t size);
int store_fail_big(struct frem_error *err, uint64_t most);
int store_fail_missing(struct frem_error *err);

#endif

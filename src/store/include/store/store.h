/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A store keeps objects under keys of the form NAME/N/OBJECT. Objects appear whole or not at all
 * and are never changed in place. Implementations: a directory, HTTP (frem serve, or any server
 * with ranges), and replicas: several stores of which each may hold a copy of a checkpoint.
 *
 * Trouble. What a store may get over (time-outs, resets, 5xx, short bodies, wrong ranges) is tried
 * again with exponential backoff and jitter, of replicas another one first, until the store has
 * been of no use for its time-out. A store that has never answered is given up after a second
 * unless a time-out was set: nothing depends on it yet. What another try cannot change (no such
 * object, no permission, a certificate that is not trusted) is said at once, of replicas once all
 * have said so. A plain directory is not tried again.
 *
 * Blocking calls serve checkpoints and upkeep; a fetcher serves the pager, with many fetches under
 * way at once. Errors: FREM_STORE (unreachable, refused, full), FREM_NOT_FOUND with -ENOENT for a
 * missing object, FREM_USAGE for a URL that is none.
 *
 * A store handle and its fetchers belong to one thread at a time; open one a thread. They must not
 * be used across fork().
 */
#ifndef FREM_STORE_STORE_H
#define FREM_STORE_STORE_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/error.h"

#define STORE_WHOLE UINT64_MAX /* as a length: up to the object's end */

struct store;

/*
 * url: a path, file://PATH, or http://HOST[:PORT][/PREFIX] (https:// likewise; the certificates to
 * trust are the system's, or those that CURL_CA_BUNDLE, SSL_CERT_FILE or SSL_CERT_DIR name).
 * Several of them, separated by blanks, are replicas (a path with a blank is then a file:// URL
 * with %20). Reading asks any that has the object, in the given order where they are equally good;
 * store_list() gives what any of them has, store_remove() removes it from all; store_put() writes
 * to the first alone: copying is left to others.
 */
int store_open(const char *url, struct store **ret, struct frem_error *err);
void store_free(struct store *s);
/* How the store is to be named in messages; owned by s. */
const char *store_url(const struct store *s);
#define STORE_TIMEOUT_MS 60000u
/* How long the store may be unreachable before a call or a fetch fails; 0: the first failure is
 * final. STORE_TIMEOUT_MS unless set. A fetch that was given up may be started again. */
void store_set_timeout(struct store *s, unsigned ms);
/* A transfer that does not move for ms (10 s unless set) has failed with -ETIMEDOUT. */
void store_set_stall_limit(struct store *s, unsigned ms);
/* Blocking calls give up with FREM_FAILED, -EINTR soon after this (NULL: never) says true. A signal
 * handler without SA_RESTART wakes them to look. */
void store_set_interrupt(struct store *s, bool (*interrupted)(void));

/* Appends bytes [offset, offset + len) of the object to out; shorter at the object's end. More than
 * `most` bytes is FREM_DAMAGED with -EFBIG and never allocated. */
int store_get(struct store *s, const char *key, uint64_t offset, uint64_t len, uint64_t most,
	      struct buffer *out, struct frem_error *err);

/*
 * Opens an object that is a file on this machine, for threads that want to pread() it themselves:
 * the quickest way to a local store. *ret_source is its replica's bit, as in fetch_sources(); read
 * errors and wrong bytes are then a fetcher's business. -EOPNOTSUPP where no replica is local,
 * -ENOENT where no local one has it. The descriptor is the caller's.
 */
int store_open_file(struct store *s, const char *key, int *ret_fd, uint64_t *ret_size,
		    uint32_t *ret_source, struct frem_error *err);

/* Where the bytes of an upload come from. */
struct store_source {
	/* Gives up to n bytes: the number given, 0 at the end, or -errno with err filled, which
	 * aborts the upload and leaves no object. May block. */
	ssize_t (*read)(void *arg, void *data, size_t n, struct frem_error *err);
	void *arg;
	uint64_t size; /* STORE_WHOLE where it is not known beforehand */
	/* NULL, or starts over, so that an upload that broke can be tried again: 0 or -errno. */
	int (*rewind)(void *arg);
};

/*
 * Uploads an object. if_absent: fail with FREM_STORE and -EEXIST where the key is taken already.
 * On any failure there is no new object under the key.
 */
int store_put(struct store *s, const char *key, const struct store_source *source, bool if_absent,
	      struct frem_error *err);
int store_put_bytes(struct store *s, const char *key, const void *data, size_t n, bool if_absent,
		    struct frem_error *err);

struct store_object {
	char *key;
	uint64_t size;
	int64_t modified; /* seconds since 1970 */
};

struct store_list {
	struct store_object *objects; /* sorted by key */
	size_t n;
};

/* All objects whose key starts with prefix ("" for all). A store with none gives an empty list. */
int store_list(struct store *s, const char *prefix, struct store_list **ret,
	       struct frem_error *err);
void store_list_free(struct store_list *l);

/* Removes one object; a missing one is FREM_NOT_FOUND with -ENOENT. */
int store_remove(struct store *s, const char *key, struct frem_error *err);

/* ---- fetches under way at once ---- */

struct fetcher;
struct fetch; /* one fetch; valid until its done callback returns, or it is cancelled */

struct fetch_request {
	const char *key; /* copied */
	uint64_t offset;
	uint64_t len; /* STORE_WHOLE: to the end */
	/* NULL, or room for len bytes (not STORE_WHOLE), the caller's until done or cancelled: they
	 * are put there, and `data` is told where. Bytes behind those that it was told may be there
	 * too. */
	void *into;
	/* Bytes as they arrive, in order: exactly the range asked for, never more. A nonzero return
	 * ends the fetch: done is then called with that value. */
	int (*data)(void *arg, const void *data, size_t n);
	/* Called exactly once unless cancelled. r: 0 where the whole range arrived (an object that
	 * ends before the range does is FREM_DAMAGED, -ENODATA), or -errno with err filled.
	 * -ENOENT: no such object. The fetch is gone when it returns. New fetches may be started
	 * from within. */
	void (*done)(void *arg, int r, const struct frem_error *err);
	void *arg;
	/* A person or program waits for it: it overtakes all bulk, and meets at most the bulk that
	 * is on its way already, one bandwidth-delay product. */
	bool urgent;
	/* Replicas (of fetch_sources()) whose answer was wrong, as only the caller can know: they
	 * are asked again only where there is no other. */
	uint32_t avoid;
	/* Nothing behind this offset is asked for until fetcher_allow() moves it; 0: no such
	 * limit. */
	uint64_t limit;
	/* Where len is STORE_WHOLE: so many bytes are probably there, and are asked for at once,
	 * before the object's size is known; 0: it can be of any size. */
	uint64_t likely;
};

/*
 * A fetcher takes any number of fetches. It asks for urgent ones at once. Bulk it asks for in the
 * order in which it was started, in requests of a size of its own and only as much ahead as fills
 * the link; so whoever wants to change his mind late starts no more than fetcher_room() says.
 */
int fetcher_new(struct store *s, struct fetcher **ret, struct frem_error *err);
/* Cancels what is under way, without callbacks. Free it before its store. */
void fetcher_free(struct fetcher *f);
/* Starts a fetch. *ret may be NULL if the caller never cancels it. */
int fetcher_start(struct fetcher *f, const struct fetch_request *req, struct fetch **ret,
		  struct frem_error *err);
/* Its callbacks are not called any more. */
void fetcher_cancel(struct fetcher *f, struct fetch *fetch);
/* Of a fetch with a limit: bytes before this offset may be asked for now. */
void fetcher_allow(struct fetcher *f, struct fetch *fetch, uint64_t limit);
/* For data() and done(): which replicas the bytes so far came from, a bit each. For `avoid`. */
uint32_t fetch_sources(const struct fetcher *f, const struct fetch *fetch);
size_t fetcher_active(const struct fetcher *f);
/* Bytes of bulk that should be started now: those that fill the link, less those that were started
 * and are not here yet. 0 means: not now. Grows while fetcher_run() receives. */
uint64_t fetcher_room(const struct fetcher *f);
/*
 * Moves data and calls callbacks for at most timeout_ms (-1: without limit), returning early as
 * soon as one of the caller's own n descriptors is ready (revents are set) or a callback was
 * called. Returns 0 or -errno.
 */
int fetcher_run(struct fetcher *f, struct pollfd *fds, unsigned n, int timeout_ms,
		struct frem_error *err);

struct fetcher_lane_stats {
	uint64_t bytes;	    /* of bodies received */
	uint64_t in_flight; /* bytes asked for and not here */
};

struct fetcher_stats {
	uint64_t bytes;	  /* of bodies received */
	double rtt_ms;	  /* from a request to its first byte on an idle link, at first the connect
			     time; 0 where there is none */
	double rate;	  /* bytes a second that the link carries, of late; 0: not known yet */
	bool found;	  /* the rate is the link's: before, it still grows */
	uint64_t budget;  /* bytes of bulk that fill the link: a little more than rate times rtt */
	uint64_t request; /* bytes of one bulk request: what is smaller costs more than it needs */
	struct fetcher_lane_stats urgent, bulk;
	unsigned failures; /* requests that were made again, or elsewhere */
};

void fetcher_get_stats(const struct fetcher *f, struct fetcher_stats *ret);

FREM_CLEANUP(struct store *, cleanup_store, store_free)
FREM_CLEANUP(struct store_list *, cleanup_store_list, store_list_free)
FREM_CLEANUP(struct fetcher *, cleanup_fetcher, fetcher_free)
#define _cleanup_store_ _cleanup_(cleanup_store)
#define _cleanup_store_list_ _cleanup_(cleanup_store_list)
#define _cleanup_fetcher_ _cleanup_(cleanup_fetcher)

#endif

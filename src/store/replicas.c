/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "replicas.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"

#define BACKOFF_MIN_NS (100 * NSEC_PER_MSEC)
#define BACKOFF_MAX_NS (2 * NSEC_PER_SEC)
/* Trouble that nobody has met for so long is over: the next is a new one. */
#define TROUBLE_FORGOTTEN_NS (30 * NSEC_PER_SEC)
#define DOUBT_MIN_NS (500 * NSEC_PER_MSEC)
#define DOUBLINGS_MOST 7u
/* Nothing depends yet on a store that has never answered: the user hears of it soon. */
#define FIRST_CONTACT_MS 1000u
#define NAP_NS (100 * NSEC_PER_MSEC) /* between looks whether to go on waiting */
#define COMPARE_SIZE ((size_t)256 << 10)

/* ---- judging ---- */

enum replica_verdict replica_judge(const struct frem_error *err)
{
	static const int lasting[] = {EACCES, EPERM,  EINVAL, EEXIST,  EFBIG,
				      ENOSPC, EDQUOT, EROFS,  ENOTSUP, EKEYREJECTED};

	if (err->code == FREM_NOT_FOUND || err->code == FREM_DAMAGED)
		return REPLICA_CANNOT;
	if (err->code != FREM_STORE)
		return REPLICA_FINAL;
	for (size_t i = 0; i < sizeof(lasting) / sizeof(lasting[0]); i++)
		if (err->errnum == lasting[i])
			return REPLICA_CANNOT;
	return REPLICA_PASSING;
}

bool replica_says_more(const struct frem_error *a, const struct frem_error *b)
{
	return b->code == FREM_OK || a->code != FREM_NOT_FOUND || b->code == FREM_NOT_FOUND;
}

void replica_good(struct replicas *s, unsigned i)
{
	s->answered = true;
	s->trouble_ns = 0;
	s->of[i].strikes = 0;
	s->of[i].aside_until = 0;
}

void replica_strike(struct replicas *s, unsigned i)
{
	struct replica *p = &s->of[i];
	uint64_t ns = BACKOFF_MIN_NS << p->strikes, now = clock_ns();

	if (ns > BACKOFF_MAX_NS)
		ns = BACKOFF_MAX_NS;
	if (p->strikes < DOUBLINGS_MOST)
		p->strikes++;
	if (!s->trouble_ns || now - s->failed_ns > TROUBLE_FORGOTTEN_NS)
		s->trouble_ns = now;
	s->failed_ns = now;
	/* many clients of a store that comes back do not all come at once */
	s->random = s->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	p->aside_until = now + ns / 2 + (s->random >> 33) % (ns / 2);
}

uint64_t replicas_deadline(const struct replicas *s, uint64_t start_ns)
{
	uint64_t since = s->trouble_ns && s->trouble_ns < start_ns ? s->trouble_ns : start_ns;

	return since + replicas_patience_ns(s);
}

bool replicas_given_up(const struct replicas *s, uint64_t start_ns, uint64_t now)
{
	return now >= replicas_deadline(s, start_ns);
}

void replica_doubt(struct replicas *s, unsigned i)
{
	struct replica *p = &s->of[i];

	if (p->wrong < DOUBLINGS_MOST)
		p->wrong++;
	p->doubted_until = clock_ns() + (DOUBT_MIN_NS << p->wrong);
}

int replica_pick(const struct replicas *s, uint32_t out, uint64_t now)
{
	int best = -1, doubted = -1;

	for (unsigned i = 0; i < s->n; i++) {
		const struct replica *p = &s->of[i];

		if (out >> i & 1)
			continue;
		if (p->aside_until <= now && p->doubted_until <= now)
			return (int)i;
		if (p->aside_until <= now && doubted < 0)
			doubted = (int)i;
		if (best < 0 || p->aside_until < s->of[best].aside_until)
			best = (int)i;
	}
	return doubted >= 0 ? doubted : best;
}

uint64_t replicas_patience_ns(const struct replicas *s)
{
	unsigned ms = s->store.timeout_ms;

	if (!s->answered && !s->store.timeout_set && ms > FIRST_CONTACT_MS)
		ms = FIRST_CONTACT_MS;
	return ms * NSEC_PER_MSEC;
}

void replicas_settings(struct replicas *s)
{
	unsigned stall = s->store.stall_ms;

	if (s->store.timeout_ms && stall > s->store.timeout_ms)
		stall = s->store.timeout_ms;
	for (unsigned i = 0; i < s->n; i++) {
		s->of[i].store->stall_ms = stall;
		s->of[i].store->interrupted = s->store.interrupted;
	}
}

/* ---- one blocking call, as often as it takes ---- */

struct tries {
	struct replicas *s;
	uint64_t start;
	uint32_t out;	       /* replicas that are not asked any more */
	unsigned failed;       /* tries */
	struct frem_error why; /* what is told in the end */
	int r;
};

static void tries_begin(struct tries *t, struct replicas *s)
{
	*t = (struct tries){.s = s, .start = clock_ns()};
	replicas_settings(s);
}

static int nap_until(const struct replicas *s, uint64_t until, struct frem_error *err)
{
	for (;;) {
		uint64_t now = clock_ns(), left = until - now;
		struct timespec nap = {0};

		if (s->store.interrupted && s->store.interrupted())
			return frem_fail(err, FREM_FAILED, EINTR, "waiting for the store");
		if (now >= until)
			return 0;
		nap.tv_nsec = (long)(left < NAP_NS ? left : NAP_NS);
		nanosleep(&nap, NULL);
	}
}

static int give_up(const struct tries *t, struct frem_error *err)
{
	if (err)
		*err = t->why;
	return t->r;
}

/* The replica to try now, after a pause perhaps, the last time at the end of all patience; or
 * -errno. */
static int tries_next(struct tries *t, struct frem_error *err)
{
	uint64_t now = clock_ns(), deadline = replicas_deadline(t->s, t->start), until;
	int i = replica_pick(t->s, t->out, now), r;

	if (i < 0)
		return give_up(t, err);
	until = t->s->of[i].aside_until;
	if (until <= now)
		return i;
	/* another call may have put it aside: one try is everybody's */
	if (now >= deadline)
		return t->failed ? give_up(t, err) : i;
	r = nap_until(t->s, until < deadline ? until : deadline, err);
	return r < 0 ? r : i;
}

/* Returns 0 where it is worth going on, or r. */
static int tries_failed(struct tries *t, int i, int r, struct frem_error *err)
{
	enum replica_verdict verdict = replica_judge(err);

	t->failed++;
	if (t->s->n > 1)
		frem_context(err, r, "'%s'", t->s->of[i].store->url);
	if (verdict == REPLICA_FINAL)
		return r;
	if (replica_says_more(err, &t->why)) {
		t->why = *err;
		t->r = r;
	}
	if (verdict == REPLICA_CANNOT) {
		t->out |= UINT32_C(1) << i;
		return 0;
	}
	log_info("store '%s': %s: trying again", t->s->store.url, err->text);
	replica_strike(t->s, (unsigned)i);
	if (replicas_given_up(t->s, t->start, clock_ns()))
		return r;
	return 0;
}

static struct store *child(const struct replicas *s, int i)
{
	return s->of[i].store;
}

static int replicas_get(struct store *base, const char *key, uint64_t offset, uint64_t len,
			uint64_t most, struct buffer *out, struct frem_error *err)
{
	struct replicas *s = (struct replicas *)base;
	size_t start = out->len;
	struct frem_error why;
	struct tries t;
	int i;

	tries_begin(&t, s);
	while ((i = tries_next(&t, err)) >= 0) {
		int r;

		frem_error_reset(&why);
		r = child(s, i)->ops->get(child(s, i), key, offset, len, most, out, &why);
		if (r == 0) {
			replica_good(s, (unsigned)i);
			return 0;
		}
		out->len = start;
		r = tries_failed(&t, i, r, &why);
		if (r < 0) {
			if (err)
				*err = why;
			return r;
		}
	}
	return i;
}

/* ---- writing: to the first alone ---- */

struct counted_source {
	const struct store_source *source;
	bool read;
};

static ssize_t counted_read(void *arg, void *data, size_t n, struct frem_error *err)
{
	struct counted_source *c = arg;

	c->read = true;
	return c->source->read(c->source->arg, data, n, err);
}

/* Whether the source can give everything again. */
static bool can_repeat(struct counted_source *c)
{
	if (!c->read)
		return true;
	c->read = false;
	return c->source->rewind && c->source->rewind(c->source->arg) == 0;
}

static int same_chunk(struct store *s, const char *key, uint64_t at, const uint8_t *data, size_t n,
		      struct frem_error *err)
{
	_cleanup_buffer_ struct buffer b = {0};
	/* one byte more, to see the end */
	int r = s->ops->get(s, key, at, n + 1, n + 1, &b, err);

	if (r < 0)
		return r;
	return b.len >= n && (n == 0 || memcmp(b.data, data, n) == 0) &&
	       (n == COMPARE_SIZE || b.len == n);
}

/* Is the object that is there what we wanted to write? 1, 0 or -errno. */
static int is_ours(struct store *s, const char *key, const struct store_source *source,
		   struct frem_error *err)
{
	_cleanup_free_ uint8_t *data = malloc(COMPARE_SIZE);
	uint64_t at = 0;
	int same = 1;

	if (!data)
		return frem_oom(err);
	while (same > 0) {
		size_t n = 0;
		ssize_t got;

		do {
			got = source->read(source->arg, data + n, COMPARE_SIZE - n, err);
			if (got < 0)
				return (int)got;
			n += (size_t)got;
		} while (got && n < COMPARE_SIZE);
		same = same_chunk(s, key, at, data, n, err);
		at += n;
		if (n < COMPARE_SIZE)
			break;
	}
	return same;
}

static int replicas_put(struct store *base, const char *key, const struct store_source *source,
			bool if_absent, struct frem_error *err)
{
	struct replicas *s = (struct replicas *)base;
	struct counted_source c = {.source = source};
	struct store_source counted = {
		.read = counted_read, .arg = &c, .size = source->size, .rewind = source->rewind};
	struct frem_error why;
	struct tries t;
	int i, r;

	tries_begin(&t, s);
	t.out = ~UINT32_C(1);
	while ((i = tries_next(&t, err)) >= 0) {
		frem_error_reset(&why);
		r = child(s, 0)->ops->put(child(s, 0), key, &counted, if_absent, &why);
		/* an earlier try may have got through after all, unheard */
		if (r == -EEXIST && t.failed && can_repeat(&c) &&
		    is_ours(child(s, 0), key, source, &t.why) > 0)
			r = 0;
		if (r == 0) {
			replica_good(s, 0);
			return 0;
		}
		r = tries_failed(&t, 0, r, &why);
		if (r == 0 && !(t.out & 1) && !can_repeat(&c))
			r = t.r;
		if (r < 0) {
			if (err)
				*err = why;
			return r;
		}
	}
	return i;
}

/* ---- all of them ---- */

/* What is done with each replica: 0, or -errno. */
typedef int (*each_fn)(struct store *s, void *arg, bool again, struct frem_error *err);

/* Does it with one replica until it works, or is given up after so long at most. */
static int with_one(struct replicas *s, unsigned i, uint64_t most_ns, each_fn fn, void *arg,
		    struct frem_error *err)
{
	uint64_t start = clock_ns();

	for (bool again = false;; again = true) {
		uint64_t until;
		int r;

		frem_error_reset(err);
		r = fn(s->of[i].store, arg, again, err);
		if (r == 0) {
			replica_good(s, i);
			return 0;
		}
		if (s->n > 1)
			frem_context(err, r, "'%s'", s->of[i].store->url);
		if (replica_judge(err) != REPLICA_PASSING)
			return r;
		replica_strike(s, i);
		until = s->of[i].aside_until;
		if (replicas_given_up(s, start, until) || until - start > most_ns)
			return r;
		log_info("store '%s': %s: trying again", s->store.url, err->text);
		r = nap_until(s, until, err);
		if (r < 0)
			return r;
	}
}

struct union_list {
	const char *prefix;
	struct store_list one; /* of the replica at hand */
	struct store_list *all;
	size_t cap;
	unsigned answers;
};

static int list_one(struct store *s, void *arg, bool again, struct frem_error *err)
{
	struct union_list *u = arg;
	int r;

	(void)again;
	r = s->ops->list(s, u->prefix, &u->one, err);
	for (size_t i = 0; i < u->one.n && r == 0; i++) {
		const struct store_object *o = &u->one.objects[i];

		if (store_list_add(u->all, &u->cap, o->key, o->size, o->modified) < 0)
			r = frem_oom(err);
	}
	u->answers += r == 0;
	store_list_clear(&u->one);
	return r;
}

/* Of an object that several have, what the first of them says; the array is stable by that. */
static void drop_doubles(struct store_list *l)
{
	size_t n = 0;

	store_list_sort(l);
	for (size_t i = 0; i < l->n; i++) {
		if (n && strcmp(l->objects[n - 1].key, l->objects[i].key) == 0)
			free(l->objects[i].key);
		else
			l->objects[n++] = l->objects[i];
	}
	l->n = n;
}

/* What those have that answer: a checkpoint that one of them holds can be restarted from it. */
static int replicas_list(struct store *base, const char *prefix, struct store_list *out,
			 struct frem_error *err)
{
	struct replicas *s = (struct replicas *)base;
	struct union_list u = {.prefix = prefix, .all = out};
	uint64_t start = clock_ns();
	/* while one is down the others may answer */
	uint64_t each = s->n > 1 ? FIRST_CONTACT_MS * NSEC_PER_MSEC : UINT64_MAX;
	struct frem_error why[REPLICAS_MOST];
	bool passing;
	int r = 0;

	replicas_settings(s);
	do {
		passing = false;
		for (unsigned i = 0; i < s->n; i++) {
			r = with_one(s, i, each, list_one, &u, &why[i]);
			if (r < 0 && replica_judge(&why[i]) == REPLICA_FINAL)
				return give_up(&(struct tries){.why = why[i], .r = r}, err);
			passing |= r < 0 && replica_judge(&why[i]) == REPLICA_PASSING;
		}
	} while (u.answers == 0 && passing && !replicas_given_up(s, start, clock_ns()));
	if (u.answers == 0)
		return give_up(&(struct tries){.why = why[s->n - 1], .r = r}, err);
	for (unsigned i = 0; i < s->n; i++)
		if (why[i].code != FREM_OK)
			log_warning("listing without a replica, ignoring: %s", why[i].text);
	drop_doubles(out);
	return 0;
}

struct removal {
	const char *key;
	unsigned removed;
};

static int remove_one(struct store *s, void *arg, bool again, struct frem_error *err)
{
	struct removal *m = arg;
	int r = s->ops->remove(s, m->key, err);

	/* an earlier try may have got through after all, unheard */
	if (r == 0 || (r == -ENOENT && again))
		m->removed++;
	return r == -ENOENT ? 0 : r;
}

static int replicas_remove(struct store *base, const char *key, struct frem_error *err)
{
	struct replicas *s = (struct replicas *)base;
	struct removal m = {.key = key};
	struct frem_error why, first = {0};
	int failed = 0;

	replicas_settings(s);
	for (unsigned i = 0; i < s->n; i++) {
		int r = with_one(s, i, UINT64_MAX, remove_one, &m, &why);

		if (r < 0 && !failed) {
			first = why;
			failed = r;
		}
	}
	if (failed)
		return give_up(&(struct tries){.why = first, .r = failed}, err);
	return m.removed ? 0 : store_fail_missing(err);
}

static int replicas_open_file(struct store *base, const char *key, int *ret_fd, uint64_t *ret_size,
			      uint32_t *ret_source, struct frem_error *err)
{
	struct replicas *s = (struct replicas *)base;
	int r = store_fail(err, FREM_FAILED, EOPNOTSUPP, "no directory on this machine");

	for (unsigned i = 0; i < s->n; i++) {
		struct store *c = s->of[i].store;

		if (!c->ops->open_file)
			continue;
		r = c->ops->open_file(c, key, ret_fd, ret_size, ret_source, err);
		if (r == 0) {
			*ret_source = UINT32_C(1) << i;
			return 0;
		}
	}
	return r;
}

/* ---- making ---- */

static void replicas_free(struct store *base)
{
	struct replicas *s = (struct replicas *)base;

	for (unsigned i = 0; i < s->n; i++)
		store_free(s->of[i].store);
	free(s->of);
	free(s);
}

static const struct store_ops replicas_ops = {
	.free = replicas_free,
	.get = replicas_get,
	.put = replicas_put,
	.list = replicas_list,
	.remove = replicas_remove,
	.open_file = replicas_open_file,
	.fetcher_new = replica_fetcher_new,
};

static char *joined_urls(struct store **of, unsigned n)
{
	size_t size = 1;
	char *text, *p;

	for (unsigned i = 0; i < n; i++)
		size += strlen(of[i]->url) + 1;
	text = malloc(size);
	if (!text)
		return NULL;
	p = text;
	for (unsigned i = 0; i < n; i++)
		p += sprintf(p, "%s%s", i ? " " : "", of[i]->url);
	return text;
}

int replicas_new(struct store **of, unsigned n, struct store **ret, struct frem_error *err)
{
	struct replicas *s = calloc(1, sizeof(*s));

	if (s) {
		store_init(&s->store, &replicas_ops);
		s->of = calloc(n, sizeof(*s->of));
		s->store.url = joined_urls(of, n);
	}
	if (!s || !s->of || !s->store.url) {
		for (unsigned i = 0; i < n; i++)
			store_free(of[i]);
		if (s)
			store_free(&s->store);
		return frem_oom(err);
	}
	for (unsigned i = 0; i < n; i++)
		s->of[i].store = of[i];
	s->n = n;
	s->random = clock_ns() ^ (uint64_t)(uintptr_t)s;
	*ret = &s->store;
	return 0;
}

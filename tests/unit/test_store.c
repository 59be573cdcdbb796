/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Both kinds of store through the same tests. */
#include "store_world.h"

/* ---- blocking calls ---- */

static void objects_come_back(void **state)
{
	struct world *w = *state;
	_cleanup_buffer_ struct buffer b = {0};
	_cleanup_free_ uint8_t *big = pattern(BIG);

	put(w, "a/1/head", "hello", 5);
	put(w, "a/1/pages", big, BIG);
	put(w, "a/1/empty", "", 0);
	buffer_append(&b, "x", 1);
	assert_int_equal(store_get(w->store, "a/1/head", 0, STORE_WHOLE, 5, &b, &w->err), 0);
	assert_int_equal(b.len, 6);
	assert_memory_equal(b.data, "xhello", 6);
	b.len = 0;
	assert_int_equal(store_get(w->store, "a/1/pages", 0, STORE_WHOLE, BIG, &b, &w->err), 0);
	assert_int_equal(b.len, BIG);
	assert_memory_equal(b.data, big, BIG);
	b.len = 0;
	assert_int_equal(store_get(w->store, "a/1/empty", 0, STORE_WHOLE, 0, &b, &w->err), 0);
	assert_int_equal(b.len, 0);
	put(w, "a/1/head", "replaced", 8);
	assert_int_equal(store_get(w->store, "a/1/head", 0, STORE_WHOLE, 99, &b, &w->err), 0);
	assert_int_equal(b.len, 8);
	assert_memory_equal(b.data, "replaced", 8);
}

static void odd_keys_come_back(void **state)
{
	static const char key[] = "j\xc3\xb6 b%+?#&@~x;=/7/he ad%2f";
	_cleanup_store_list_ struct store_list *l = NULL;
	_cleanup_buffer_ struct buffer b = {0};
	struct world *w = *state;

	put(w, key, "v", 1);
	assert_int_equal(store_get(w->store, key, 0, STORE_WHOLE, 9, &b, &w->err), 0);
	assert_int_equal(b.len, 1);
	assert_int_equal(store_list(w->store, "j\xc3\xb6 b%+?#&", &l, &w->err), 0);
	assert_int_equal(l->n, 1);
	assert_string_equal(l->objects[0].key, key);
	assert_int_equal(store_remove(w->store, key, &w->err), 0);
}

static void ranges_are_exact(void **state)
{
	static const struct {
		uint64_t offset, len, most;
		const char *want;
	} cases[] = {
		{0, 3, 3, "012"},	   {3, 4, 4, "3456"},
		{8, 2, 9, "89"},	   {8, 100, 9, "89"},
		{9, STORE_WHOLE, 1, "9"},  {10, 5, 5, ""},
		{11, STORE_WHOLE, 5, ""},  {4, 0, 5, ""},
		{0, 10, 10, "0123456789"}, {0, 100, 10, "0123456789"},
	};
	struct world *w = *state;

	put(w, "a/1/x", "0123456789", 10);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		_cleanup_buffer_ struct buffer b = {0};

		assert_int_equal(store_get(w->store, "a/1/x", cases[i].offset, cases[i].len,
					   cases[i].most, &b, &w->err),
				 0);
		assert_int_equal(b.len, strlen(cases[i].want));
		if (b.len)
			assert_memory_equal(b.data, cases[i].want, b.len);
	}
}

static void too_large_is_refused(void **state)
{
	_cleanup_buffer_ struct buffer b = {0};
	struct world *w = *state;

	put(w, "a/1/x", "0123456789", 10);
	assert_int_equal(store_get(w->store, "a/1/x", 0, STORE_WHOLE, 9, &b, &w->err), -EFBIG);
	assert_int_equal(w->err.code, FREM_DAMAGED);
	assert_int_equal(store_get(w->store, "a/1/x", 2, 8, 7, &b, &w->err), -EFBIG);
	assert_int_equal(b.len, 0);
}

static void missing_is_not_found(void **state)
{
	_cleanup_buffer_ struct buffer b = {0};
	_cleanup_store_list_ struct store_list *l = NULL;
	struct world *w = *state;
	char text[1024];

	assert_int_equal(store_get(w->store, "a/1/x", 0, 4, 4, &b, &w->err), -ENOENT);
	assert_int_equal(w->err.code, FREM_NOT_FOUND);
	snprintf(text, sizeof(text), "store '%s': get 'a/1/x': no such object",
		 store_url(w->store));
	assert_string_equal(w->err.text, text);
	assert_int_equal(store_remove(w->store, "a/1/x", &w->err), -ENOENT);
	assert_int_equal(w->err.code, FREM_NOT_FOUND);
	put(w, "a/1/x", "", 0);
	assert_int_equal(store_get(w->store, "a/1", 0, 4, 4, &b, &w->err), -ENOENT);
	assert_int_equal(store_get(w->store, "a/1/x/y", 0, 4, 4, &b, &w->err), -ENOENT);
	assert_int_equal(store_remove(w->store, "a", &w->err), -ENOENT);
	assert_int_equal(store_list(w->store, "nothing/", &l, &w->err), 0);
	assert_int_equal(l->n, 0);
}

static void bad_keys_are_usage_errors(void **state)
{
	static const char *const keys[] = {"",	 "/a/1/x", "a//x",	 "a/../x",
					   "..", ".tmp-1", "a/.x",	 "a/1/\n",
					   "a/", "a/\xff", "a/\xc0\xaf", "1/2/3/4/5/6/7/8/9"};
	_cleanup_buffer_ struct buffer b = {0};
	struct world *w = *state;

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		assert_int_equal(store_put_bytes(w->store, keys[i], "x", 1, false, &w->err),
				 -EINVAL);
		assert_int_equal(w->err.code, FREM_USAGE);
		assert_int_equal(store_get(w->store, keys[i], 0, 1, 1, &b, &w->err), -EINVAL);
		assert_int_equal(store_remove(w->store, keys[i], &w->err), -EINVAL);
	}
}

static void if_absent_never_replaces(void **state)
{
	_cleanup_free_ uint8_t *big = pattern(BIG);
	_cleanup_buffer_ struct buffer b = {0};
	struct world *w = *state;

	assert_int_equal(store_put_bytes(w->store, "a/1/m", "first", 5, true, &w->err), 0);
	assert_int_equal(store_put_bytes(w->store, "a/1/m", "second", 6, true, &w->err), -EEXIST);
	assert_int_equal(w->err.code, FREM_STORE);
	assert_int_equal(store_put_bytes(w->store, "a/1/m", big, BIG, true, &w->err), -EEXIST);
	assert_int_equal(store_get(w->store, "a/1/m", 0, STORE_WHOLE, 9, &b, &w->err), 0);
	assert_int_equal(b.len, 5);
	assert_memory_equal(b.data, "first", 5);
}

static void listing_is_sorted(void **state)
{
	static const char *const keys[] = {"b/1/x", "a/10/x",  "a/2/x",	 "a/1/y",
					   "a/1/x", "a-b/1/x", "a b/1/x"};
	static const char *const sorted[] = {"a b/1/x", "a-b/1/x", "a/1/x", "a/1/y",
					     "a/10/x",	"a/2/x",   "b/1/x"};
	_cleanup_store_list_ struct store_list *all = NULL, *some = NULL, *one = NULL;
	struct world *w = *state;
	char junk[128];

	for (size_t i = 0; i < 7; i++)
		put(w, keys[i], "0123456789", i);
	snprintf(junk, sizeof(junk), "%s/a/\xff", w->root); /* no key: not an object */
	close(open(junk, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	assert_int_equal(store_list(w->store, "", &all, &w->err), 0);
	assert_int_equal(all->n, 7);
	for (size_t i = 0; i < 7; i++)
		assert_string_equal(all->objects[i].key, sorted[i]);
	assert_int_equal(all->objects[6].size, 0);
	assert_int_equal(all->objects[2].size, 4);
	assert_true(all->objects[0].modified > 1600000000);
	assert_int_equal(store_list(w->store, "a/1", &some, &w->err), 0);
	assert_int_equal(some->n, 3);
	assert_int_equal(store_list(w->store, "b/1/x", &one, &w->err), 0);
	assert_int_equal(one->n, 1);
}

static void listing_goes_on_behind_a_page(void **state)
{
	_cleanup_store_list_ struct store_list *l = NULL;
	struct world *w = *state;
	char path[128];

	put(w, "many/1/x", "", 0);
	for (int i = 0; i < 10050; i++) {
		snprintf(path, sizeof(path), "%s/many/1/o%d", w->root, i);
		close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	}
	assert_int_equal(store_list(w->store, "many/", &l, &w->err), 0);
	assert_int_equal(l->n, 10051);
	for (size_t i = 1; i < l->n; i++)
		assert_true(strcmp(l->objects[i - 1].key, l->objects[i].key) < 0);
}

static void removal_leaves_nothing(void **state)
{
	struct world *w = *state;
	char path[128];

	put(w, "a/1/x", "1", 1);
	put(w, "a/1/y", "1", 1);
	assert_int_equal(store_remove(w->store, "a/1/x", &w->err), 0);
	snprintf(path, sizeof(path), "%s/a", w->root);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(store_remove(w->store, "a/1/y", &w->err), 0);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(access(w->root, F_OK), 0);
}

/* ---- uploads from a source ---- */

static void sources_stream(void **state)
{
	const uint64_t sizes[] = {0, 1, 65536, 65537, BIG};
	struct world *w = *state;

	for (size_t i = 0; i < 10; i++) {
		_cleanup_store_list_ struct store_list *l = NULL;
		struct supply s = {.left = sizes[i / 2]};
		struct store_source source = {supply_to_end, &s, i % 2 ? STORE_WHOLE : sizes[i / 2],
					      NULL};

		if (store_put(w->store, "s/1/x", &source, false, &w->err) < 0)
			fail_msg("%s", w->err.text);
		assert_int_equal(store_list(w->store, "s/1/x", &l, &w->err), 0);
		assert_int_equal(l->n, 1);
		assert_int_equal(l->objects[0].size, sizes[i / 2]);
	}
}

static void a_failed_source_leaves_nothing(void **state)
{
	const uint64_t sizes[] = {1000, 1000, BIG, BIG};
	struct world *w = *state;

	for (size_t i = 0; i < 4; i++) {
		_cleanup_store_list_ struct store_list *l = NULL;
		struct supply s = {.left = sizes[i], .fail_at = sizes[i] / 2};
		struct store_source source = {supply_read, &s, i % 2 ? STORE_WHOLE : sizes[i],
					      NULL};

		assert_int_equal(store_put(w->store, "s/1/x", &source, true, &w->err), -EOWNERDEAD);
		assert_int_equal(w->err.code, FREM_REFUSED);
		assert_non_null(strstr(w->err.text, "put 's/1/x': the source is gone"));
		assert_int_equal(store_list(w->store, "", &l, &w->err), 0);
		assert_int_equal(l->n, 0);
	}
}

static void a_short_source_is_an_error(void **state)
{
	struct world *w = *state;

	for (size_t i = 0; i < 2; i++) {
		_cleanup_store_list_ struct store_list *l = NULL;
		struct supply s = {.left = i ? BIG - 1 : 99};
		struct store_source source = {supply_to_end, &s, i ? BIG : 100, NULL};

		assert_int_equal(store_put(w->store, "s/1/x", &source, false, &w->err), -ENODATA);
		assert_int_equal(store_list(w->store, "", &l, &w->err), 0);
		assert_int_equal(l->n, 0);
	}
}

/* ---- fetchers ---- */

static void fetches_are_exact(void **state)
{
	static const struct {
		const char *key;
		uint64_t offset, len;
		int r;
		enum fetch_code { OK, DAMAGED, MISSING } code;
	} cases[] = {
		{"f/1/x", 0, BIG, 0, OK},
		{"f/1/x", 7, 100000, 0, OK},
		{"f/1/x", 0, 5, 0, OK},
		{"f/1/x", 12345, STORE_WHOLE, 0, OK},
		{"f/1/x", 0, STORE_WHOLE, 0, OK},
		{"f/1/x", BIG, STORE_WHOLE, 0, OK},
		{"f/1/x", 100, 0, 0, OK},
		{"f/1/x", BIG - 1, 2, -ENODATA, DAMAGED},
		{"f/1/x", 0, BIG + 1, -ENODATA, DAMAGED},
		{"f/1/x", BIG, 1, -ENODATA, DAMAGED},
		{"f/1/x", BIG + 1, STORE_WHOLE, -ENODATA, DAMAGED},
		{"f/1/none", 0, 5, -ENOENT, MISSING},
		{"f/1/none", 0, 0, -ENOENT, MISSING},
	};
	static const enum frem_code codes[] = {FREM_OK, FREM_DAMAGED, FREM_NOT_FOUND};
	_cleanup_free_ uint8_t *big = pattern(BIG);
	_cleanup_fetcher_ struct fetcher *f = NULL;
	struct world *w = *state;
	struct sink s[13] = {0};

	put(w, "f/1/x", big, BIG);
	assert_int_equal(fetcher_new(w->store, &f, &w->err), 0);
	for (size_t i = 0; i < 13; i++)
		sink_start(f, &s[i], cases[i].key, cases[i].offset, cases[i].len, i & 1);
	assert_int_equal(fetcher_active(f), 13);
	run_all(f);
	for (size_t i = 0; i < 13; i++) {
		uint64_t n = cases[i].len == STORE_WHOLE ? BIG - cases[i].offset : cases[i].len;

		assert_int_equal(s[i].done, 1);
		assert_int_equal(s[i].r, cases[i].r);
		assert_int_equal(s[i].err.code, codes[cases[i].code]);
		assert_int_equal(s[i].b.len, s[i].r ? 0 : n);
		if (s[i].b.len)
			assert_memory_equal(s[i].b.data, big + cases[i].offset, n);
		buffer_done(&s[i].b);
	}
}

static void the_receiver_may_stop_a_fetch(void **state)
{
	_cleanup_free_ uint8_t *big = pattern(BIG);
	_cleanup_fetcher_ struct fetcher *f = NULL;
	struct sink a = {.say = -EBADMSG}, b = {.say = 7}, whole = {0};
	struct world *w = *state;

	put(w, "f/1/x", big, BIG);
	assert_int_equal(fetcher_new(w->store, &f, &w->err), 0);
	sink_start(f, &a, "f/1/x", 0, BIG, false);
	sink_start(f, &b, "f/1/x", 0, BIG, false);
	sink_start(f, &whole, "f/1/x", 0, BIG, false);
	run_all(f);
	assert_int_equal(a.r, -EBADMSG);
	assert_int_equal(b.r, 7);
	assert_true(a.b.len < BIG && b.b.len < BIG);
	assert_int_equal(whole.r, 0);
	assert_int_equal(whole.b.len, BIG);
	buffer_done(&a.b);
	buffer_done(&b.b);
	buffer_done(&whole.b);
}

static void fetches_can_be_cancelled(void **state)
{
	_cleanup_free_ uint8_t *big = pattern(BIG);
	struct sink self = {.act = CANCEL_SELF}, other = {.act = CANCEL_OTHER}, victim = {0};
	struct sink before = {0}, left = {0};
	struct world *w = *state;
	struct fetcher *f = NULL;
	int done;

	put(w, "f/1/x", big, BIG);
	assert_int_equal(fetcher_new(w->store, &f, &w->err), 0);
	fetcher_cancel(f, sink_start(f, &before, "f/1/x", 0, BIG, false));
	assert_int_equal(fetcher_active(f), 0);
	sink_start(f, &self, "f/1/x", 0, BIG, true);
	sink_start(f, &other, "f/1/x", 0, BIG, true);
	other.victim = &victim;
	other.other = sink_start(f, &victim, "f/1/x", 0, BIG, false);
	run_all(f);
	assert_int_equal(before.done + self.done, 0);
	assert_true(self.b.len < BIG);
	/* over a network it may be there before the other's first byte */
	assert_int_equal(victim.done, !other.cancelled);
	assert_true(other.cancelled || w->server);
	assert_int_equal(other.done, 1);
	assert_int_equal(other.b.len, BIG);
	sink_start(f, &left, "f/1/x", 0, BIG, false);
	fetcher_run(f, NULL, 0, 100, &w->err);
	done = left.done;
	fetcher_free(f);
	assert_int_equal(left.done, done);
	for (struct sink **s = (struct sink *[]){&self, &other, &victim, &left, NULL}; *s; s++)
		buffer_done(&(*s)->b);
}

static void done_may_start_another(void **state)
{
	_cleanup_fetcher_ struct fetcher *f = NULL;
	struct sink last = {0}, first = {.act = CHAIN, .next = &last};
	struct world *w = *state;

	put(w, "f/1/x", "0123", 4);
	assert_int_equal(fetcher_new(w->store, &f, &w->err), 0);
	sink_start(f, &first, "f/1/x", 0, 4, false);
	run_all(f);
	assert_int_equal(last.done, 1);
	assert_int_equal(last.b.len, 2);
	assert_memory_equal(last.b.data, "12", 2);
	buffer_done(&first.b);
	buffer_done(&last.b);
}

static void a_limit_holds_back(void **state)
{
	_cleanup_free_ uint8_t *big = pattern(BIG);
	_cleanup_fetcher_ struct fetcher *f = NULL;
	struct sink held = {.limit = 100000}, other = {0};
	struct world *w = *state;
	struct fetch *fetch;

	put(w, "f/1/x", big, BIG);
	assert_int_equal(fetcher_new(w->store, &f, &w->err), 0);
	fetch = sink_start(f, &held, "f/1/x", 0, STORE_WHOLE, false);
	sink_start(f, &other, "f/1/x", 0, BIG, false);
	while (held.b.len < 100000 || !other.done)
		assert_int_equal(fetcher_run(f, NULL, 0, 20000, &w->err), 0);
	assert_int_equal(held.b.len, 100000);
	assert_true(fetcher_room(f) > 0); /* for others */
	fetcher_allow(f, fetch, 150000);
	while (held.b.len < 150000)
		assert_int_equal(fetcher_run(f, NULL, 0, 20000, &w->err), 0);
	assert_int_equal(held.b.len, 150000);
	assert_int_equal(held.done, 0);
	fetcher_allow(f, fetch, UINT64_MAX);
	run_all(f);
	assert_int_equal(held.r, 0);
	assert_int_equal(held.b.len, BIG);
	assert_memory_equal(held.b.data, big, BIG);
	buffer_done(&held.b);
	buffer_done(&other.b);
}

static void urgent_overtakes_bulk(void **state)
{
	_cleanup_free_ uint8_t *big = pattern(BIG);
	_cleanup_fetcher_ struct fetcher *f = NULL;
	struct sink bulk[4] = {0}, urgent = {0};
	struct world *w = *state;
	int order = 0;

	put(w, "f/1/x", big, BIG);
	assert_int_equal(fetcher_new(w->store, &f, &w->err), 0);
	for (int i = 0; i < 4; i++) {
		bulk[i].order = &order;
		sink_start(f, &bulk[i], "f/1/x", 0, BIG, false);
	}
	while (bulk[0].b.len == 0)
		assert_int_equal(fetcher_run(f, NULL, 0, 20000, &w->err), 0);
	urgent.order = &order;
	sink_start(f, &urgent, "f/1/x", 1000, 4096, true);
	run_all(f);
	assert_int_equal(order, 5);
	assert_memory_equal(urgent.b.data, big + 1000, 4096);
	if (!w->server) /* over a network, the order is the network's as well */
		assert_int_equal(urgent.place, 1);
	for (int i = 0; i < 4; i++) {
		assert_memory_equal(bulk[i].b.data, big, BIG);
		buffer_done(&bulk[i].b);
	}
	buffer_done(&urgent.b);
}

static void the_callers_descriptor_ends_a_run(void **state)
{
	_cleanup_free_ uint8_t *big = pattern(BIG);
	_cleanup_fetcher_ struct fetcher *f = NULL;
	struct world *w = *state;
	struct sink s = {0};
	int ends[2];
	struct pollfd fd = {.events = POLLIN, .revents = 77};

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	fd.fd = ends[0];
	assert_int_equal(fetcher_new(w->store, &f, &w->err), 0);
	assert_int_equal(fetcher_run(f, &fd, 1, 1, &w->err), 0);
	assert_int_equal(fd.revents, 0);
	assert_int_equal(write(ends[1], "x", 1), 1);
	assert_int_equal(fetcher_run(f, &fd, 1, -1, &w->err), 0);
	assert_int_equal(fd.revents, POLLIN);
	/* a descriptor that is always ready must not keep a fetch from moving */
	put(w, "f/1/x", big, BIG);
	sink_start(f, &s, "f/1/x", 0, BIG, false);
	while (fetcher_active(f)) {
		assert_int_equal(fetcher_run(f, &fd, 1, -1, &w->err), 0);
		assert_int_equal(fd.revents, POLLIN);
	}
	assert_int_equal(s.b.len, BIG);
	buffer_done(&s.b);
	/* a hang-up is an event, too */
	assert_int_equal(read(ends[0], &(char){0}, 1), 1);
	close(ends[1]);
	assert_int_equal(fetcher_run(f, &fd, 1, -1, &w->err), 0);
	assert_int_equal(fd.revents, POLLHUP);
	close(ends[0]);
}

static void blocking_calls_leave_fetches_alone(void **state)
{
	_cleanup_free_ uint8_t *big = pattern(BIG);
	_cleanup_fetcher_ struct fetcher *f = NULL;
	_cleanup_buffer_ struct buffer b = {0};
	struct world *w = *state;
	struct sink s = {0};

	put(w, "f/1/x", big, BIG);
	assert_int_equal(fetcher_new(w->store, &f, &w->err), 0);
	sink_start(f, &s, "f/1/x", 0, BIG, false);
	for (int i = 0; i < 20; i++) {
		b.len = 0;
		assert_int_equal(store_get(w->store, "f/1/x", 0, BIG, BIG, &b, &w->err), 0);
		assert_int_equal(b.len, BIG);
	}
	assert_int_equal(s.b.len, 0);
	run_all(f);
	assert_int_equal(s.r, 0);
	assert_int_equal(s.b.len, BIG);
	assert_memory_equal(s.b.data, big, BIG);
	buffer_done(&s.b);
}

static void statistics_count(void **state)
{
	_cleanup_free_ uint8_t *big = pattern(BIG);
	_cleanup_fetcher_ struct fetcher *f = NULL;
	struct world *w = *state;
	struct fetcher_stats st;
	struct sink s = {0};

	put(w, "f/1/x", big, BIG);
	assert_int_equal(fetcher_new(w->store, &f, &w->err), 0);
	sink_start(f, &s, "f/1/x", 0, 100000, false);
	run_all(f);
	fetcher_get_stats(f, &st);
	assert_int_equal(st.bytes, 100000);
	assert_int_equal(st.rtt_ms > 0, w->server != NULL);
	buffer_done(&s.b);
}

#define BOTH(test)                                              \
	cmocka_unit_test_setup_teardown(test, start_dir, stop), \
	{                                                       \
#test " (http)", test, start_http, stop, NULL   \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(objects_come_back),
		BOTH(odd_keys_come_back),
		BOTH(ranges_are_exact),
		BOTH(too_large_is_refused),
		BOTH(missing_is_not_found),
		BOTH(bad_keys_are_usage_errors),
		BOTH(if_absent_never_replaces),
		BOTH(listing_is_sorted),
		BOTH(listing_goes_on_behind_a_page),
		BOTH(removal_leaves_nothing),
		BOTH(sources_stream),
		BOTH(a_failed_source_leaves_nothing),
		BOTH(a_short_source_is_an_error),
		BOTH(fetches_are_exact),
		BOTH(the_receiver_may_stop_a_fetch),
		BOTH(fetches_can_be_cancelled),
		BOTH(done_may_start_another),
		BOTH(a_limit_holds_back),
		BOTH(urgent_overtakes_bulk),
		BOTH(the_callers_descriptor_ends_a_run),
		BOTH(blocking_calls_leave_fetches_alone),
		BOTH(statistics_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Stores that fail for a while, for good, or give what is wrong: alone and as replicas. */
#include "store_world.h"

#include "base/clock.h"
#include "faulty_server.h"

#define SIZE ((size_t)1 << 20)
#define KEY "a/1/x"

struct trouble {
	uint8_t *bytes;
	struct faulty_server *server[2];
	struct store *one, *two; /* the first server alone; both */
	struct frem_error err;
};

static int set_up(void **state)
{
	struct trouble *t = calloc(1, sizeof(*t));
	char both[160];

	t->bytes = pattern(SIZE);
	for (int i = 0; i < 2; i++)
		t->server[i] = faulty_start(t->bytes, SIZE);
	snprintf(both, sizeof(both), "%s %s", t->server[0]->url, t->server[1]->url);
	*state = t;
	return store_open(t->server[0]->url, &t->one, &t->err) < 0 ||
	       store_open(both, &t->two, &t->err) < 0;
}

static int tear_down(void **state)
{
	struct trouble *t = *state;

	store_free(t->one);
	store_free(t->two);
	for (int i = 0; i < 2; i++)
		faulty_stop(t->server[i]);
	free(t->bytes);
	free(t);
	return 0;
}

/* Gets all of it with a blocking call; a negative result is expected to be that one. */
static void get_all(struct trouble *t, struct store *s, int r)
{
	_cleanup_buffer_ struct buffer b = {0};
	int got;

	frem_error_reset(&t->err);
	got = store_get(s, KEY, 0, STORE_WHOLE, SIZE, &b, &t->err);
	if (got != r)
		fail_msg("%d, not %d: %s", got, r, t->err.text);
	assert_int_equal(b.len, r ? 0 : SIZE);
	if (!r)
		assert_memory_equal(b.data, t->bytes, SIZE);
}

static void fetch_range(struct trouble *t, struct store *s, uint64_t offset, uint64_t len,
			bool urgent)
{
	_cleanup_fetcher_ struct fetcher *f = NULL;
	struct sink sink = {0};

	assert_int_equal(fetcher_new(s, &f, &t->err), 0);
	sink_start(f, &sink, KEY, offset, len, urgent);
	run_all(f);
	if (sink.r)
		fail_msg("%d: %s", sink.r, sink.err.text);
	assert_int_equal(sink.done, 1);
	assert_int_equal(sink.b.len, len == STORE_WHOLE ? SIZE - offset : len);
	assert_memory_equal(sink.b.data, t->bytes + offset, sink.b.len);
	buffer_done(&sink.b);
}

static const enum fault passing[] = {FAULT_RESET,   FAULT_503,	 FAULT_500,
				     FAULT_GARBAGE, FAULT_SHORT, FAULT_WRONG_RANGE};

#define N_PASSING (sizeof(passing) / sizeof(passing[0]))

static void passing_trouble_is_waited_out(void **state)
{
	struct trouble *t = *state;

	get_all(t, t->one, 0); /* from here on it is known to be of use */
	for (size_t i = 0; i < N_PASSING; i++) {
		faulty_set(t->server[0], passing[i], 2);
		get_all(t, t->one, 0);
		assert_true(t->server[0]->faults < 2);
		faulty_set(t->server[0], passing[i], 2);
		fetch_range(t, t->one, 0, STORE_WHOLE, false);
		assert_true(t->server[0]->faults < 2);
		faulty_set(t->server[0], passing[i], 2);
		fetch_range(t, t->one, 1000, 131072, true);
		assert_true(t->server[0]->faults < 2);
	}
}

static void another_replica_takes_over(void **state)
{
	struct trouble *t = *state;

	for (size_t i = 0; i < N_PASSING; i++) {
		uint64_t start = clock_ns();

		faulty_set(t->server[0], passing[i], -1);
		get_all(t, t->two, 0);
		fetch_range(t, t->two, 0, STORE_WHOLE, false);
		fetch_range(t, t->two, 77, 131072, true);
		assert_true(clock_ms_since(start) < 3000);
	}
	/* and is left again once the first one is well */
	faulty_set(t->server[0], FAULT_NONE, 0);
	for (int i = 0; i < 200 && !t->server[0]->requests; i++) {
		fetch_range(t, t->two, 0, 1000, true);
		usleep(20000);
	}
	assert_true(t->server[0]->requests > 0);
}

static void silence_is_noticed(void **state)
{
	struct trouble *t = *state;

	store_set_stall_limit(t->one, 150);
	store_set_stall_limit(t->two, 150);
	get_all(t, t->one, 0);
	faulty_set(t->server[0], FAULT_SILENT, 1);
	get_all(t, t->one, 0);
	faulty_set(t->server[0], FAULT_SILENT, 1);
	fetch_range(t, t->one, 0, STORE_WHOLE, false);
	faulty_set(t->server[0], FAULT_SILENT, -1);
	get_all(t, t->two, 0);
	fetch_range(t, t->two, 0, STORE_WHOLE, false);
}

/* One connection of many stands still: what is behind it does not wait for as long as it would take
 * to be noticed. */
static void what_stands_still_is_overtaken(void **state)
{
	struct trouble *t = *state;

	store_set_stall_limit(t->one, 60000);
	for (int i = 0; i < 3; i++) {
		uint64_t start = clock_ns();

		fetch_range(t, t->one, 0, STORE_WHOLE, false); /* the delay is known now */
		faulty_set(t->server[0], FAULT_STUCK, 1 + i);
		fetch_range(t, t->one, 0, STORE_WHOLE, false);
		assert_int_equal(t->server[0]->faults, 0);
		assert_true(clock_ms_since(start) < 10000);
	}
}

/* Nothing is behind it that could come. */
static void the_last_part_is_overtaken_too(void **state)
{
	_cleanup_fetcher_ struct fetcher *f = NULL;
	struct trouble *t = *state;
	struct sink first = {0}, last = {0};
	uint64_t start;

	store_set_stall_limit(t->one, 60000);
	assert_int_equal(fetcher_new(t->one, &f, &t->err), 0);
	sink_start(f, &first, KEY, 0, 1000, false);
	run_all(f);
	start = clock_ns();
	faulty_set(t->server[0], FAULT_STUCK, 1);
	sink_start(f, &last, KEY, SIZE - 5000, 5000, false);
	while (last.b.len < 2500)
		assert_true(fetcher_run(f, NULL, 0, 10, &t->err) >= 0);
	sink_start(f, &first, KEY, 1000, 1000, true);
	run_all(f);
	assert_int_equal(last.r, 0);
	assert_memory_equal(last.b.data, t->bytes + SIZE - 5000, 5000);
	assert_memory_equal(first.b.data, t->bytes, 2000);
	assert_true(clock_ms_since(start) < 10000);
	buffer_done(&first.b);
	buffer_done(&last.b);
}

/* It lets in a few connections and turns all others away: those few carry everything, and nothing
 * counts as a failure of the store. */
static void a_server_may_want_few_connections(void **state)
{
	static const enum fault ways[] = {FAULT_RESET, FAULT_503};
	struct trouble *t = *state;

	store_set_timeout(t->one, 3000);
	for (size_t i = 0; i < 2; i++) {
		_cleanup_fetcher_ struct fetcher *f = NULL;
		struct sink bulk = {0}, urgent = {0};
		struct fetcher_stats s;

		while (t->server[0]->inside) /* of the round before */
			usleep(1000);
		t->server[0]->crowded = ways[i];
		t->server[0]->room = 3;
		assert_int_equal(fetcher_new(t->one, &f, &t->err), 0);
		sink_start(f, &bulk, KEY, 0, STORE_WHOLE, false);
		sink_start(f, &urgent, KEY, 5, 100000, true);
		run_all(f);
		if (bulk.r || urgent.r)
			fail_msg("%s", bulk.r ? bulk.err.text : urgent.err.text);
		assert_int_equal(bulk.b.len, SIZE);
		assert_memory_equal(bulk.b.data, t->bytes, SIZE);
		assert_int_equal(urgent.b.len, 100000);
		assert_memory_equal(urgent.b.data, t->bytes + 5, 100000);
		fetcher_get_stats(f, &s);
		assert_int_equal(s.failures, 0);
		assert_true(atomic_exchange(&t->server[0]->turned_away, 0) > 0);
		buffer_done(&bulk.b);
		buffer_done(&urgent.b);
	}
}

/* What is urgent is asked for a second time before anything has failed. */
static void what_is_urgent_is_asked_for_twice(void **state)
{
	struct trouble *t = *state;
	uint64_t start;

	faulty_set(t->server[0], FAULT_SILENT, -1);
	start = clock_ns();
	fetch_range(t, t->two, 5, 4096, true);
	assert_true(clock_ms_since(start) < 3000);
	faulty_set(t->server[0], FAULT_SILENT, 1);
	start = clock_ns();
	fetch_range(t, t->one, 5, 4096, true);
	assert_true(clock_ms_since(start) < 3000);
}

static void refusals_are_final(void **state)
{
	static const struct {
		enum fault fault;
		int r;
		enum frem_code code;
	} cases[] = {{FAULT_401, -EACCES, FREM_STORE},
		     {FAULT_403, -EACCES, FREM_STORE},
		     {FAULT_404, -ENOENT, FREM_NOT_FOUND}};
	struct trouble *t = *state;

	for (size_t i = 0; i < 3; i++) {
		_cleanup_fetcher_ struct fetcher *f = NULL;
		struct sink sink = {0};

		faulty_set(t->server[0], cases[i].fault, -1);
		get_all(t, t->one, cases[i].r);
		assert_int_equal(t->err.code, cases[i].code);
		assert_int_equal(t->server[0]->requests, 1);
		assert_int_equal(fetcher_new(t->one, &f, &t->err), 0);
		sink_start(f, &sink, KEY, 0, 100, false);
		run_all(f);
		assert_int_equal(sink.r, cases[i].r);
		assert_int_equal(sink.err.code, cases[i].code);
		assert_int_equal(t->server[0]->requests, 2);
		/* of one replica, they are not */
		get_all(t, t->two, 0);
		fetch_range(t, t->two, 0, STORE_WHOLE, false);
		/* of all, they are; and a refusal says more than an absence */
		faulty_set(t->server[1], FAULT_404, -1);
		get_all(t, t->two, cases[i].r);
		faulty_set(t->server[1], FAULT_NONE, 0);
	}
}

static void a_wrong_answer_is_fetched_elsewhere(void **state)
{
	struct trouble *t = *state;
	_cleanup_fetcher_ struct fetcher *f = NULL;
	struct fetcher_stats stats;

	faulty_set(t->server[0], FAULT_CORRUPT, -1);
	assert_int_equal(fetcher_new(t->two, &f, &t->err), 0);
	for (int i = 0; i < 2; i++) {
		struct sink wrong = {0};

		sink_start(f, &wrong, KEY, 0, 1000, true);
		while (!wrong.done)
			fetcher_run(f, NULL, 0, -1, &t->err);
		assert_int_equal(wrong.r, 0);
		/* only the first time: the one that was wrong is no longer the first choice */
		assert_int_equal(memcmp(wrong.b.data, t->bytes, 1000) != 0, i == 0);
		assert_int_equal(wrong.sources, i == 0 ? 1 : 2);
		if (i == 0) {
			struct sink right = {.avoid = wrong.sources};

			sink_start(f, &right, KEY, 0, 1000, true);
			run_all(f);
			assert_memory_equal(right.b.data, t->bytes, 1000);
			buffer_done(&right.b);
		}
		buffer_done(&wrong.b);
	}
	fetcher_get_stats(f, &stats);
	assert_int_equal(stats.bytes, 3000);
}

static void patience_has_an_end(void **state)
{
	struct trouble *t = *state;
	_cleanup_fetcher_ struct fetcher *f = NULL;
	struct store_list *l = NULL;
	struct sink sink = {0};
	uint64_t start;

	get_all(t, t->one, 0);
	faulty_set(t->server[0], FAULT_503, -1);
	faulty_set(t->server[1], FAULT_RESET, -1);
	store_set_timeout(t->one, 600);
	store_set_timeout(t->two, 600);
	start = clock_ns();
	get_all(t, t->one, -EAGAIN);
	assert_int_equal(t->err.code, FREM_STORE);
	assert_true(clock_ms_since(start) >= 600 && clock_ms_since(start) < 3000);
	/* given up is given up: what comes next is not waited for again */
	start = clock_ns();
	assert_int_equal(store_put_bytes(t->one, KEY, "x", 1, false, &t->err), -EAGAIN);
	assert_int_equal(store_remove(t->one, KEY, &t->err), -EAGAIN);
	assert_int_equal(store_list(t->one, "", &l, &t->err), -EAGAIN);
	assert_true(clock_ms_since(start) < 3000);
	start = clock_ns();
	assert_int_equal(fetcher_new(t->two, &f, &t->err), 0);
	sink_start(f, &sink, KEY, 0, 100, true);
	run_all(f);
	assert_true(sink.r == -EAGAIN || sink.r == -ECONNRESET);
	assert_int_equal(sink.err.code, FREM_STORE);
	assert_true(clock_ms_since(start) > 300 && clock_ms_since(start) < 3000);
}

static void first_contact_fails_soon(void **state)
{
	struct trouble *t = *state;
	uint64_t start = clock_ns();

	faulty_set(t->server[0], FAULT_RESET, -1);
	assert_true(store_remove(t->one, KEY, &t->err) < 0);
	assert_int_equal(t->err.code, FREM_STORE);
	assert_true(clock_ms_since(start) < 4000);
	assert_true(t->server[0]->requests > 1);
}

static bool stop_waiting(void)
{
	return true;
}

static void waiting_can_be_interrupted(void **state)
{
	struct trouble *t = *state;
	uint64_t start = clock_ns();

	get_all(t, t->one, 0);
	faulty_set(t->server[0], FAULT_503, -1);
	store_set_interrupt(t->one, stop_waiting);
	get_all(t, t->one, -EINTR);
	assert_int_equal(t->err.code, FREM_FAILED);
	assert_true(clock_ms_since(start) < 3000);
}

/* The object was stored, but nobody heard of it: the second try finds it taken. */
static void a_lost_answer_is_no_failure(void **state)
{
	struct trouble *t = *state;
	_cleanup_buffer_ struct buffer b = {0};

	t->server[0]->present = false;
	faulty_set(t->server[0], FAULT_LOST, 1);
	if (store_put_bytes(t->one, KEY, "mine", 4, true, &t->err) < 0)
		fail_msg("%s", t->err.text);
	assert_int_equal(t->server[0]->requests, 3);
	assert_int_equal(store_put_bytes(t->one, KEY, "mine", 4, true, &t->err), -EEXIST);
	/* somebody else's */
	faulty_set(t->server[0], FAULT_503, 1);
	assert_int_equal(store_put_bytes(t->one, KEY, "your", 4, true, &t->err), -EEXIST);
	faulty_set(t->server[0], FAULT_503, 1);
	assert_int_equal(store_put_bytes(t->one, KEY, "min", 3, true, &t->err), -EEXIST);
	assert_int_equal(store_get(t->one, KEY, 0, STORE_WHOLE, 9, &b, &t->err), 0);
	assert_memory_equal(b.data, "mine", 4);
}

/* A source that cannot start over is not given twice. */
static void an_upload_is_repeated_only_if_it_can_be(void **state)
{
	struct trouble *t = *state;
	struct supply supply = {.left = SIZE};
	struct store_source source = {supply_to_end, &supply, SIZE, NULL};

	get_all(t, t->one, 0);
	faulty_set(t->server[0], FAULT_RESET, 1);
	assert_true(store_put(t->one, KEY, &source, false, &t->err) < 0 || supply.calls == 0 ||
		    t->server[0]->size == SIZE);
	faulty_set(t->server[0], FAULT_RESET, 1);
	assert_int_equal(store_put_bytes(t->one, KEY, t->bytes, SIZE / 2, false, &t->err), 0);
	assert_int_equal(t->server[0]->size, SIZE / 2);
	assert_memory_equal(t->server[0]->object, t->bytes, SIZE / 2);
}

static void a_receivers_room_is_filled(void **state)
{
	struct trouble *t = *state;
	struct store *stores[] = {t->one, t->two};

	for (size_t i = 0; i < 2; i++) {
		_cleanup_fetcher_ struct fetcher *f = NULL;
		_cleanup_free_ uint8_t *room = calloc(1, SIZE);
		struct sink sink = {.into = room};

		faulty_set(t->server[0], FAULT_SHORT, 2);
		assert_int_equal(fetcher_new(stores[i], &f, &t->err), 0);
		sink_start(f, &sink, KEY, 100, SIZE - 100, i == 0);
		run_all(f);
		assert_int_equal(sink.r, 0);
		assert_int_equal(sink.b.len, SIZE - 100);
		assert_memory_equal(sink.b.data, t->bytes + 100, SIZE - 100);
		assert_memory_equal(room, t->bytes + 100, SIZE - 100);
		buffer_done(&sink.b);
	}
}

/* ---- with the real server ---- */

struct comeback {
	struct world *w;
	struct server_options o;
};

static void *come_back(void *arg)
{
	struct comeback *c = arg;

	usleep(1500000);
	if (server_start(&c->o, &c->w->server, &c->w->err) < 0)
		abort();
	return NULL;
}

static void a_server_that_comes_back_is_waited_for(void **state)
{
	_cleanup_free_ uint8_t *big = pattern(BIG);
	_cleanup_fetcher_ struct fetcher *f = NULL;
	struct sink bulk = {0}, urgent = {0};
	struct world *w = *state;
	struct comeback c = {.w = w, .o = {.root = w->root}};
	char listen[64];
	pthread_t thread;

	put(w, KEY, big, BIG);
	snprintf(listen, sizeof(listen), "%s", server_url(w->server) + strlen("http://"));
	c.o.listen = listen;
	assert_int_equal(fetcher_new(w->store, &f, &w->err), 0);
	sink_start(f, &bulk, KEY, 0, STORE_WHOLE, false);
	while (bulk.b.len == 0)
		assert_int_equal(fetcher_run(f, NULL, 0, -1, &w->err), 0);
	server_free(w->server);
	w->server = NULL;
	assert_int_equal(pthread_create(&thread, NULL, come_back, &c), 0);
	sink_start(f, &urgent, KEY, 1, 1000, true);
	run_all(f);
	pthread_join(thread, NULL);
	assert_int_equal(bulk.r, 0);
	assert_int_equal(bulk.b.len, BIG);
	assert_memory_equal(bulk.b.data, big, BIG);
	assert_int_equal(urgent.r, 0);
	assert_memory_equal(urgent.b.data, big + 1, 1000);
	buffer_done(&bulk.b);
	buffer_done(&urgent.b);
}

/* ---- what is where ---- */

static void replicas_are_one_store(void **state)
{
	struct world *first = *state;
	_cleanup_store_list_ struct store_list *l = NULL, *left = NULL;
	_cleanup_buffer_ struct buffer b = {0};
	char root[] = "/tmp/frem-test-XXXXXX", url[200];
	struct store *second = NULL, *both = NULL;
	uint64_t size = 0;
	uint32_t source = 0;
	int fd = -1;

	assert_non_null(mkdtemp(root));
	assert_int_equal(store_open(root, &second, &first->err), 0);
	snprintf(url, sizeof(url), " %s\t%s ", server_url(first->server), root);
	assert_int_equal(store_open(url, &both, &first->err), 0);
	put(first, "a/1/x", "1", 1);
	put(first, "b/1/x", "1", 1);
	assert_int_equal(store_put_bytes(second, "b/1/x", "1", 1, false, &first->err), 0);
	assert_int_equal(store_put_bytes(second, "c/1/x", "333", 3, false, &first->err), 0);
	assert_int_equal(store_get(both, "c/1/x", 0, STORE_WHOLE, 9, &b, &first->err), 0);
	assert_int_equal(b.len, 3);
	assert_int_equal(store_list(both, "", &l, &first->err), 0);
	assert_int_equal(l->n, 3);
	assert_string_equal(l->objects[2].key, "c/1/x");
	/* what is a file here can be had as one */
	assert_int_equal(store_open_file(first->store, "a/1/x", &fd, &size, &source, &first->err),
			 -EOPNOTSUPP);
	assert_int_equal(store_open_file(both, "a/1/x", &fd, &size, &source, &first->err), -ENOENT);
	assert_int_equal(store_open_file(both, "c/1/x", &fd, &size, &source, &first->err), 0);
	assert_int_equal(size, 3);
	assert_int_equal(source, 2);
	close(fd);
	/* written to the first, removed from all */
	assert_int_equal(store_put_bytes(both, "d/1/x", "1", 1, true, &first->err), 0);
	assert_int_equal(store_get(second, "d/1/x", 0, 1, 1, &b, &first->err), -ENOENT);
	for (const char **key = (const char *[]){"a/1/x", "b/1/x", "c/1/x", "d/1/x", NULL}; *key;
	     key++)
		assert_int_equal(store_remove(both, *key, &first->err), 0);
	assert_int_equal(store_remove(both, "a/1/x", &first->err), -ENOENT);
	assert_int_equal(store_list(both, "", &left, &first->err), 0);
	assert_int_equal(left->n, 0);
	store_free(both);
	store_free(second);
	file_remove_tree(root);
}

#define TROUBLE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TROUBLE(passing_trouble_is_waited_out),
		TROUBLE(another_replica_takes_over),
		TROUBLE(silence_is_noticed),
		TROUBLE(what_stands_still_is_overtaken),
		TROUBLE(the_last_part_is_overtaken_too),
		TROUBLE(a_server_may_want_few_connections),
		TROUBLE(what_is_urgent_is_asked_for_twice),
		TROUBLE(refusals_are_final),
		TROUBLE(a_wrong_answer_is_fetched_elsewhere),
		TROUBLE(patience_has_an_end),
		TROUBLE(first_contact_fails_soon),
		TROUBLE(waiting_can_be_interrupted),
		TROUBLE(a_lost_answer_is_no_failure),
		TROUBLE(an_upload_is_repeated_only_if_it_can_be),
		TROUBLE(a_receivers_room_is_filled),
		cmocka_unit_test_setup_teardown(a_server_that_comes_back_is_waited_for, start_http,
						stop),
		cmocka_unit_test_setup_teardown(replicas_are_one_store, start_http, stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

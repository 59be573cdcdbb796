/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Workers claim frame numbers in order and fill the slots of a ring; the upload's read callback
 * empties them in the same order. The ring bounds how far the workers run ahead.
 */
#include "encode.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "interrupt.h"

#define ZSTD_LEVEL 1
#define RING_SLOTS 64u
#define WORKERS_MAX 16
/* the program itself runs on during an upload and comes first */
#define WORKER_NICE 10

struct slot {
	bool full;
	size_t frame;
	struct buffer payload;
};

struct page_encoder {
	struct page_source from;
	struct page_run *runs;
	uint64_t *starts; /* n_runs + 1: number of pages before each run */
	size_t n_runs;
	struct frame_index *index;

	pthread_t workers[WORKERS_MAX];
	int n_workers;
	pthread_mutex_t lock;
	pthread_cond_t filled, emptied;
	struct slot slots[RING_SLOTS];
	size_t next;	 /* frame number to claim */
	size_t consumed; /* frames fully given to the upload */
	size_t offset;	 /* bytes given of the current one */
	bool stop;
	struct frem_error err; /* of the first worker that failed */

	uint64_t size;
	struct digest_stream digest;
	struct progress *progress;
	const char *what;
};

/* The run that holds page i of the sequence. */
static size_t find_run(const struct page_encoder *e, uint64_t i)
{
	size_t low = 0, high = e->n_runs;

	while (high - low > 1) {
		size_t mid = low + (high - low) / 2;

		if (e->starts[mid] <= i)
			low = mid;
		else
			high = mid;
	}
	return low;
}

static int gather(const struct page_encoder *e, size_t frame, uint8_t *raw, struct frem_error *err)
{
	uint64_t at = (uint64_t)frame * FRAME_PAGES;
	unsigned left = frame_pages(e->index, frame);
	size_t run = find_run(e, at);

	while (left) {
		uint64_t skip = at - e->starts[run];
		uint64_t n = e->runs[run].pages - skip;
		int r;

		if (n > left)
			n = left;
		r = e->from.read(e->from.arg, e->runs[run].first + skip, n, raw, err);
		if (r < 0)
			return r;
		raw += n * PAGE_BYTES;
		at += n;
		left -= (unsigned)n;
		run++;
	}
	return 0;
}

/* Claims the next frame and waits for its slot; false when there is nothing left to do. */
static bool claim(struct page_encoder *e, size_t *ret)
{
	bool got;

	pthread_mutex_lock(&e->lock);
	*ret = e->next;
	got = !e->stop && e->next < e->index->frames;
	if (got)
		e->next++;
	while (got && *ret >= e->consumed + RING_SLOTS) {
		pthread_cond_wait(&e->emptied, &e->lock);
		got = !e->stop;
	}
	pthread_mutex_unlock(&e->lock);
	return got;
}

static int encode_one(struct page_encoder *e, struct frame_codec *codec, size_t frame, uint8_t *raw,
		      struct frem_error *err)
{
	struct slot *slot = &e->slots[frame % RING_SLOTS];
	int r = gather(e, frame, raw, err);

	if (r < 0)
		return r;
	slot->payload.len = 0;
	r = frame_encode(codec, raw, frame_pages(e->index, frame), &slot->payload,
			 &e->index->entries[frame], err);
	if (r < 0)
		return r;
	pthread_mutex_lock(&e->lock);
	slot->frame = frame;
	slot->full = true;
	pthread_cond_broadcast(&e->filled);
	pthread_mutex_unlock(&e->lock);
	return 0;
}

static void *worker(void *arg)
{
	_cleanup_frame_codec_ struct frame_codec *codec = NULL;
	_cleanup_free_ uint8_t *raw = malloc(FRAME_RAW_MAX);
	struct page_encoder *e = arg;
	struct frem_error err = {0};
	size_t frame;
	int r;

	setpriority(PRIO_PROCESS, (id_t)gettid(), WORKER_NICE);
	r = raw ? frame_codec_new(ZSTD_LEVEL, &codec, &err) : frem_oom(&err);
	while (r == 0 && claim(e, &frame))
		r = encode_one(e, codec, frame, raw, &err);
	if (r < 0) {
		pthread_mutex_lock(&e->lock);
		if (!e->err.errnum)
			e->err = err;
		e->err.errnum = -r;
		e->stop = true;
		pthread_cond_broadcast(&e->filled);
		pthread_cond_broadcast(&e->emptied);
		pthread_mutex_unlock(&e->lock);
	}
	return NULL;
}

static int copy_runs(struct page_encoder *e, const struct page_run *runs, size_t n,
		     struct frem_error *err)
{
	e->runs = calloc(n + 1, sizeof(*e->runs));
	e->starts = calloc(n + 1, sizeof(*e->starts));
	if (!e->runs || !e->starts)
		return frem_oom(err);
	if (n)
		memcpy(e->runs, runs, n * sizeof(*runs));
	e->n_runs = n;
	for (size_t i = 0; i < n; i++)
		e->starts[i + 1] = e->starts[i] + runs[i].pages;
	return 0;
}

static int start_workers(struct page_encoder *e, struct frem_error *err)
{
	int want = get_nprocs();

	if (want > WORKERS_MAX)
		want = WORKERS_MAX;
	while (e->n_workers < want) {
		int r = pthread_create(&e->workers[e->n_workers], NULL, worker, e);

		if (r && e->n_workers == 0)
			return frem_fail(err, FREM_FAILED, r, "starting a thread");
		if (r)
			break;
		e->n_workers++;
	}
	return 0;
}

int page_encoder_new(struct page_source from, const struct page_run *runs, size_t n_runs,
		     struct page_encoder **ret, struct frem_error *err)
{
	struct page_encoder *e = calloc(1, sizeof(*e));
	int r;

	if (!e)
		return frem_oom(err);
	e->from = from;
	pthread_mutex_init(&e->lock, NULL);
	pthread_cond_init(&e->filled, NULL);
	pthread_cond_init(&e->emptied, NULL);
	digest_start(&e->digest);
	r = copy_runs(e, runs, n_runs, err);
	if (r == 0)
		r = frame_index_new(e->starts[n_runs], &e->index, err);
	if (r == 0)
		r = start_workers(e, err);
	if (r < 0) {
		page_encoder_free(e);
		return r;
	}
	*ret = e;
	return 0;
}

void page_encoder_free(struct page_encoder *e)
{
	if (!e)
		return;
	pthread_mutex_lock(&e->lock);
	e->stop = true;
	pthread_cond_broadcast(&e->emptied);
	pthread_mutex_unlock(&e->lock);
	for (int i = 0; i < e->n_workers; i++)
		pthread_join(e->workers[i], NULL);
	for (size_t i = 0; i < RING_SLOTS; i++)
		buffer_done(&e->slots[i].payload);
	frame_index_free(e->index);
	free(e->runs);
	free(e->starts);
	pthread_cond_destroy(&e->filled);
	pthread_cond_destroy(&e->emptied);
	pthread_mutex_destroy(&e->lock);
	free(e);
}

/* Waits for the frame to be given next; NULL where a worker failed. */
static struct slot *wait_slot(struct page_encoder *e, struct frem_error *err)
{
	struct slot *slot = &e->slots[e->consumed % RING_SLOTS];
	bool ready;

	pthread_mutex_lock(&e->lock);
	while (!(ready = slot->full && slot->frame == e->consumed) && !e->stop)
		pthread_cond_wait(&e->filled, &e->lock);
	if (!ready && err)
		*err = e->err;
	pthread_mutex_unlock(&e->lock);
	return ready ? slot : NULL;
}

static void release_slot(struct page_encoder *e, struct slot *slot)
{
	uint64_t done;

	pthread_mutex_lock(&e->lock);
	slot->full = false;
	e->consumed++;
	pthread_cond_broadcast(&e->emptied);
	pthread_mutex_unlock(&e->lock);
	e->offset = 0;
	done = (uint64_t)e->consumed * FRAME_PAGES;
	if (done > e->index->pages)
		done = e->index->pages;
	progress_report(e->progress, e->what, done * PAGE_BYTES, e->index->pages * PAGE_BYTES);
}

static ssize_t read_payload(void *arg, void *data, size_t n, struct frem_error *err)
{
	struct page_encoder *e = arg;
	size_t given = 0;

	if (interrupted())
		return frem_fail(err, FREM_FAILED, EINTR, "encoding pages");
	while (given < n && e->consumed < e->index->frames) {
		struct slot *slot = wait_slot(e, err);
		size_t part;

		if (!slot)
			return e->err.errnum ? -e->err.errnum : -EIO;
		part = slot->payload.len - e->offset;
		if (part > n - given)
			part = n - given;
		memcpy((uint8_t *)data + given, slot->payload.data + e->offset, part);
		given += part;
		e->offset += part;
		if (e->offset == slot->payload.len)
			release_slot(e, slot);
	}
	digest_update(&e->digest, data, given);
	e->size += given;
	return (ssize_t)given;
}

struct store_source page_encoder_source(struct page_encoder *e, struct progress *progress,
					const char *what)
{
	e->progress = progress;
	e->what = what;
	return (struct store_source){.read = read_payload, .arg = e, .size = STORE_WHOLE};
}

const struct frame_index *page_encoder_index(struct page_encoder *e)
{
	frame_index_seal(e->index);
	return e->index;
}

void page_encoder_digest(struct page_encoder *e, uint64_t *ret_size, uint8_t out[DIGEST_SIZE])
{
	*ret_size = e->size;
	digest_finish(&e->digest, out);
}

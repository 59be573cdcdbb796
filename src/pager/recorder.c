/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "record_file.h"
#include "report.h"
#include "workers.h"

/* Batches put in place from the file before everything else is looked at again. */
#define BATCHES_A_STEP 64u

enum recorder_state {
	RECORDER_ON_TRIAL, /* whether to record is not known yet */
	RECORDER_OPEN,
	RECORDER_CLOSED,
};

struct recorder {
	struct record_file *file;
	enum recorder_state state;
	uint64_t touches;
	size_t next; /* closed: the first frame that may have pages to put in place */
	bool empty;  /* closed: there are none */
};

int recorder_start(struct engine *e, struct frem_error *err)
{
	struct recorder *r;
	int result;

	if (e->o->record == PAGER_RECORD_OFF || e->ends->recording < 0)
		return 0;
	r = calloc(1, sizeof(*r));
	if (!r)
		return frem_oom(err);
	result = record_file_new(e->ends->recording, e->loaded.map->lazy_pages, &r->file, err);
	if (result < 0) {
		recorder_free(r);
		return result;
	}
	e->recorder = r;
	return 0;
}

void recorder_free(struct recorder *r)
{
	if (!r)
		return;
	record_file_free(r->file);
	free(r);
}

bool recorder_keeps(const struct engine *e)
{
	return e->recorder && e->recorder->state != RECORDER_CLOSED;
}

bool recorder_has(const struct engine *e, uint64_t page)
{
	return e->recorder && record_file_has(e->recorder->file, page);
}

static double resumed_for_ms(const struct engine *e)
{
	uint64_t at = e->shared->resumed_ns;

	return at ? clock_ms_since(at) : 0;
}

static void publish(struct engine *e)
{
	e->stats->recorded_pages = e->recorder->touches;
	e->stats->recorded_ms = resumed_for_ms(e);
	e->shared->recording.touches = e->recorder->touches;
}

static void end_recording(struct engine *e)
{
	e->recorder->state = RECORDER_CLOSED;
	faults_look_again(e);
}

/* Nothing that was recorded counts. */
static void discard(struct engine *e)
{
	e->stats->recorded_pages = 0;
	e->stats->recorded_ms = 0;
	e->shared->recording.state = RECORDING_NONE;
	end_recording(e);
}

/* The file cannot take more: a full disk, most likely. */
static void give_up(struct engine *e, int r)
{
	struct frem_error why;
	char notice[512];

	frem_fail(&why, FREM_FAILED, -r, "recording this restart's first touches");
	snprintf(notice, sizeof(notice), "%.400s, ignoring: no touch set is made of them",
		 why.text);
	discard(e);
	report_event(PAGER_EVENT_NOTICE, notice, NULL);
}

static void close_window(struct engine *e, enum wire_recording_state how)
{
	int r = record_file_finish(e->recorder->file);

	if (r < 0) {
		give_up(e, r);
		return;
	}
	publish(e);
	log_info("recorded the first touches of %llu pages in %.0f ms",
		 (unsigned long long)e->recorder->touches, e->stats->recorded_ms);
	e->shared->recording.state = how;
	end_recording(e);
}

static int keep_pages(struct record_file *f, const struct batch *b)
{
	unsigned n;
	int r = 0;

	for (unsigned i = 0; i < b->n && r == 0; i += n) {
		bool zero = b->zero >> i & 1;

		n = 1;
		while (i + n < b->n && b->number[i + n] == b->number[i] + n &&
		       (b->zero >> (i + n) & 1) == zero)
			n++;
		r = record_file_keep(f, b->number[i], n,
				     zero ? NULL : b->raw + (size_t)i * PAGE_BYTES);
	}
	return r;
}

bool recorder_keep(struct engine *e, const struct batch *b)
{
	uint64_t start = clock_thread_cpu_ns();
	int r = keep_pages(e->recorder->file, b);

	e->shared->recording.cpu_ms += (double)(clock_thread_cpu_ns() - start) / NSEC_PER_MSEC;
	if (r < 0) {
		give_up(e, r);
		return false;
	}
	faults_look_at_kept(e);
	return true;
}

/* Whether the page is all zero: the frame's entry says so. */
static bool is_zero(const struct engine *e, uint64_t page)
{
	const struct frame_index *x = e->loaded.index;

	return x->entries[page / FRAME_PAGES].zero_mask >> page % FRAME_PAGES & 1;
}

static void note_touch(struct engine *e, uint64_t page, uint64_t ns)
{
	int r = record_file_touch(e->recorder->file, page, ns);

	if (r < 0)
		give_up(e, r);
	e->recorder->touches += r > 0;
	if (r > 0 && e->recorder->state == RECORDER_OPEN)
		publish(e);
}

/* Puts pages of the file in place. */
static int put_in_place(struct engine *e, struct member *m, struct batch *b, struct frem_error *err)
{
	uint64_t last = b->number[b->n - 1];
	int r = record_file_read(e->recorder->file, b->number[0], last - b->number[0] + 1,
				 e->opener.raw);

	if (r < 0)
		return frem_fail(err, FREM_FAILED, -r, "reading what the recording kept back");
	return m ? deliver_to(m, b, err) : deliver_to_all(e, b, err);
}

int recorder_answer(struct engine *e, struct member *m, uint64_t page, uint64_t ns,
		    struct frem_error *err)
{
	struct batch b = {.n = 1, .zero = is_zero(e, page), .raw = e->opener.raw};
	int r;

	b.number[0] = page;
	if (recorder_keeps(e))
		note_touch(e, page, ns);
	r = put_in_place(e, m, &b, err);
	return r < 0 ? r : 0;
}

/* ---- the window ---- */

/* Whether this restart is to be recorded: 1, 0, or -EAGAIN where that is not known yet. */
static int is_wanted(const struct engine *e)
{
	const struct touch_set *t = e->touch ? touch_stream_set(e->touch) : NULL;

	if (e->o->record == PAGER_RECORD_FOR)
		return 1;
	if (t)
		return e->o->mode == PAGER_NOW && t->info.restarts < TOUCH_RESTARTS_SETTLED;
	return e->touch && !touch_stream_ended(e->touch) ? -EAGAIN : 1;
}

static void decide(struct engine *e)
{
	int wanted = is_wanted(e);

	if (wanted == -EAGAIN)
		return;
	if (!wanted) {
		discard(e);
	} else if (!record_file_has_room(e->recorder->file)) {
		discard(e);
		report_event(PAGER_EVENT_NOTICE,
			     "this restart's first touches are not recorded: the image would take "
			     "more than half of the room where run directories are",
			     NULL);
	} else {
		e->recorder->state = RECORDER_OPEN;
		e->shared->recording.state = RECORDING_OPEN;
		publish(e);
	}
}

/* All that somebody wants is kept, or in place. */
static bool image_arrived(const struct engine *e)
{
	return e->finished && (!e->touch || touch_stream_ended(e->touch)) && e->lanes &&
	       lanes_idle(e->lanes) && TAILQ_EMPTY(&e->arrived) && workers_idle(e->workers);
}

/* Milliseconds until the window closes by the clock; -1: that does not depend on the clock. */
static int window_left(const struct engine *e)
{
	double gone = resumed_for_ms(e);
	unsigned end = RECORDER_MOST_MS;

	if (!e->shared->resumed_ns)
		return -1;
	if (e->o->record == PAGER_RECORD_FOR)
		end = e->o->record_ms;
	else if (image_arrived(e))
		end = RECORDER_LEAST_MS;
	return gone >= end ? 0 : (int)(end - gone) + 1;
}

static void step_window(struct engine *e)
{
	bool asked = e->o->record == PAGER_RECORD_FOR;

	if (e->recorder->state == RECORDER_ON_TRIAL)
		decide(e);
	if (e->recorder->state != RECORDER_OPEN)
		return;
	publish(e);
	if (e->caller_gone) /* nobody waits for more of it */
		close_window(e, RECORDING_JOB_ENDED);
	else if (window_left(e) == 0)
		close_window(e, asked ? RECORDING_ASKED : RECORDING_ARRIVED);
}

/* The pages of a frame that are here and still wanted by somebody. */
static void left_of_frame(const struct engine *e, size_t frame, struct batch *ret)
{
	uint64_t first = (uint64_t)frame * FRAME_PAGES;

	*ret = (struct batch){.raw = e->opener.raw};
	for (unsigned i = 0; i < frame_pages(e->loaded.index, frame); i++) {
		if (!recorder_has(e, first + i) || !engine_page_wanted(e, first + i))
			continue;
		/* read together, so that page and place in the buffer go together */
		if (ret->n && first + i != ret->number[ret->n - 1] + 1)
			break;
		ret->zero |= (uint32_t)is_zero(e, first + i) << ret->n;
		ret->number[ret->n++] = first + i;
	}
}

/* The next pages that are here and still wanted. Returns 1 where there may be more to do now, 0
 * where there is not, or -errno. */
static int put_back_some(struct engine *e, struct frem_error *err)
{
	struct recorder *rec = e->recorder;
	struct batch b = {0};
	int r;

	for (; rec->next < e->loaded.index->frames; rec->next++) {
		left_of_frame(e, rec->next, &b);
		if (b.n)
			break;
	}
	if (!b.n) {
		rec->empty = true;
		return 0;
	}
	r = put_in_place(e, NULL, &b, err);
	if (r >= 0)
		r = r == DELIVERED_ALL;
	return r;
}

static int put_back(struct engine *e, struct frem_error *err)
{
	int r = 1, polled;

	for (unsigned i = 0; i < BATCHES_A_STEP && r > 0; i++) {
		r = put_back_some(e, err);
		polled = engine_poll(e, 0, err);
		if (r >= 0 && polled < 0)
			r = polled;
	}
	return r < 0 ? r : 0;
}

static bool has_to_put_back(const struct engine *e)
{
	return e->recorder && e->recorder->state == RECORDER_CLOSED && !e->recorder->empty &&
	       e->finished;
}

int recorder_step(struct engine *e, struct frem_error *err)
{
	if (!e->recorder)
		return 0;
	step_window(e);
	return has_to_put_back(e) ? put_back(e, err) : 0;
}

static bool job_ended(const struct engine *e)
{
	for (size_t i = 0; i < e->n_members; i++)
		if (!e->members[i]->dead)
			return false;
	return true;
}

void recorder_drained(struct engine *e)
{
	if (e->recorder && e->recorder->state == RECORDER_OPEN)
		close_window(e, job_ended(e) ? RECORDING_JOB_ENDED : RECORDING_SATURATED);
}

int recorder_timeout(const struct engine *e)
{
	if (has_to_put_back(e))
		return e->busy ? -1 : 0;
	return e->recorder && e->recorder->state == RECORDER_OPEN ? window_left(e) : -1;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "pager/recording.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "pager_impl.h"
#include "record_file.h"

#define CLOSE_MS 5000 /* for the pager process to end a recording that is still under way */

bool pager_has_recording(const struct pager *p)
{
	return p->shared->recording.state != RECORDING_NONE && p->shared->recording.touches > 0;
}

static const char *why_ended(enum wire_recording_state how)
{
	switch (how) {
	case RECORDING_ARRIVED:
		return "image-arrived";
	case RECORDING_ASKED:
		return "asked";
	case RECORDING_SATURATED:
		return "saturated";
	case RECORDING_NONE:
	case RECORDING_OPEN:
	case RECORDING_JOB_ENDED:
		break;
	}
	return "program-ended";
}

static int by_time(const void *a, const void *b)
{
	const struct record_touch *x = a, *y = b;

	if (x->ns != y->ns)
		return x->ns < y->ns ? -1 : 1;
	return x->page < y->page ? -1 : x->page > y->page;
}

/* Faults are answered in another order than that in which they came. */
static int read_touches(const struct pager *p, struct pager_recording *r, struct frem_error *err)
{
	uint64_t resumed = p->shared->resumed_ns;
	_cleanup_free_ struct record_touch *t = calloc(r->n, sizeof(*t));
	int e;

	r->seen = calloc(r->n, sizeof(*r->seen));
	if (!t || !r->seen)
		return frem_oom(err);
	e = file_pread_all(r->fd, t, r->n * sizeof(*t), record_touch_offset(r->lazy_pages, 0));
	if (e < 0)
		return frem_fail(err, FREM_FAILED, -e, "reading the recorded touches");
	qsort(t, r->n, sizeof(*t), by_time);
	for (size_t i = 0; i < r->n; i++) {
		r->seen[i].page = t[i].page;
		/* what CRIU touched came first */
		if (t[i].ns > resumed)
			r->seen[i].ms = (uint32_t)((t[i].ns - resumed) / NSEC_PER_MSEC);
	}
	return 0;
}

static int read_map(struct pager_recording *r, struct frem_error *err)
{
	size_t words = record_map_words(r->lazy_pages);
	int e;

	r->map = calloc(words, sizeof(*r->map));
	if (!r->map)
		return frem_oom(err);
	e = file_pread_all(r->fd, r->map, words * sizeof(*r->map),
			   record_map_offset(r->lazy_pages));
	return e < 0 ? frem_fail(err, FREM_FAILED, -e, "reading what was recorded") : 0;
}

int pager_recording(const struct pager *p, struct pager_recording **ret, struct frem_error *err)
{
	_cleanup_pager_recording_ struct pager_recording *r = calloc(1, sizeof(*r));
	const struct wire_recording *w = &p->shared->recording;
	int e;

	if (!r)
		return frem_oom(err);
	for (unsigned i = 0; w->state == RECORDING_OPEN && i < CLOSE_MS; i++)
		usleep(1000);
	if (w->state == RECORDING_OPEN)
		return frem_fail(err, FREM_FAILED, ETIMEDOUT, "ending the recording");
	if (w->state == RECORDING_NONE)
		return frem_fail(err, FREM_FAILED, 0,
				 "the recording was lost: the pager process was killed");
	r->ended = why_ended(w->state);
	r->ms = (uint32_t)p->shared->stats.recorded_ms;
	r->cpu_ms = w->cpu_ms;
	r->n = w->touches;
	r->fd = p->recording;
	r->lazy_pages = p->shared->stats.pages_total;
	e = read_touches(p, r, err);
	if (e == 0)
		e = read_map(r, err);
	if (e < 0)
		return e;
	*ret = TAKE_PTR(r);
	return 0;
}

void pager_recording_free(struct pager_recording *r)
{
	if (!r)
		return;
	free(r->seen);
	free(r->map);
	free(r);
}

bool pager_recording_has(const struct pager_recording *r, uint64_t page)
{
	return page < r->lazy_pages && r->map[page / 64] >> page % 64 & 1;
}

int pager_recording_read(const struct pager_recording *r, uint64_t first, uint64_t pages, void *out,
			 struct frem_error *err)
{
	int e = file_pread_all(r->fd, out, (size_t)pages * PAGE_BYTES, first * PAGE_BYTES);

	return e < 0 ? frem_fail(err, FREM_FAILED, -e, "reading recorded pages") : 0;
}

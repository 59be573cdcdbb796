/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "meter.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "ui.h"

#define SAMPLE_NS (NSEC_PER_SEC / 2)

static void end_phase(struct meter *m, uint64_t now, char ended[METER_TEXT])
{
	char size[UNITS_SIZE], took[UNITS_SIZE], rate[UNITS_SIZE];
	uint64_t ns = now - m->start;

	if (m->ended || !m->what[0] || ns < METER_PATIENCE_NS)
		return;
	m->ended = true;
	units_bytes(m->done, size);
	units_duration((double)ns / NSEC_PER_MSEC, took);
	units_rate((double)(m->done - m->first_done) / ((double)ns / NSEC_PER_SEC), rate);
	if (m->done)
		snprintf(ended, METER_TEXT, "%s: %s in %s, %s", m->what, size, took, rate);
	else
		snprintf(ended, METER_TEXT, "%s: %s", m->what, took);
}

static void start_phase(struct meter *m, uint64_t now, const char *what, uint64_t done)
{
	if (!m->work_start)
		m->work_start = now;
	snprintf(m->what, sizeof(m->what), "%s", what);
	m->start = m->said = m->mark = now;
	m->first_done = m->mark_done = m->done = done;
	m->rate = 0;
	m->ended = false;
}

static void sample_rate(struct meter *m, uint64_t now)
{
	double now_rate;

	if (now - m->mark < SAMPLE_NS)
		return;
	now_rate = (double)(m->done - m->mark_done) * NSEC_PER_SEC / (double)(now - m->mark);
	m->rate = m->mark == m->start ? now_rate : 0.7 * m->rate + 0.3 * now_rate;
	m->mark = now;
	m->mark_done = m->done;
}

void meter_report(struct meter *m, uint64_t now, const char *what, uint64_t done, uint64_t total,
		  char update[METER_TEXT], char ended[METER_TEXT])
{
	bool fresh = strncmp(m->what, what, sizeof(m->what) - 1) != 0 || (!done && m->done);

	*update = *ended = '\0';
	if (fresh) {
		end_phase(m, now, ended);
		start_phase(m, now, what, done);
	}
	/* reports of several threads may overtake each other */
	if (done > m->done)
		m->done = done;
	m->total = total;
	sample_rate(m, now);
	if (total && m->done >= total) {
		if (!*ended)
			end_phase(m, now, ended);
		m->ended = true;
		return;
	}
	if (now - m->work_start < m->patience_ns || (!fresh && now - m->said < m->interval_ns))
		return;
	m->said = now;
	ui_progress_text(update, METER_TEXT, m->what, m->done, m->total, m->rate);
}

void meter_end(struct meter *m, uint64_t now, char ended[METER_TEXT])
{
	*ended = '\0';
	end_phase(m, now, ended);
	m->what[0] = '\0';
	m->done = 0;
	m->work_start = 0;
}

void ui_progress_text(char *out, size_t size, const char *what, uint64_t done, uint64_t total,
		      double rate)
{
	char is[UNITS_SIZE], all[UNITS_SIZE], share[UNITS_SIZE], speed[UNITS_SIZE],
		left[UNITS_SIZE];
	int n;

	units_bytes(done, is);
	units_bytes(total, all);
	units_share(done, total, share);
	if (total)
		n = snprintf(out, size, "%s: %s of %s (%s)", what, is, all, share);
	else if (done)
		n = snprintf(out, size, "%s: %s", what, is);
	else
		n = snprintf(out, size, "%s", what);
	if (n < 0 || (size_t)n >= size || !(rate > 0))
		return;
	units_rate(rate, speed);
	if (total > done) {
		units_duration((double)(total - done) / rate * 1000, left);
		snprintf(out + n, size - (size_t)n, ", %s, %s left", speed, left);
	} else {
		snprintf(out + n, size - (size_t)n, ", %s", speed);
	}
}

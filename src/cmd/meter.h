/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Turns a stream of "so many bytes of so many" into what there is to say and when. A phase is a run
 * of reports of one name; done falling back to 0 starts another. No I/O, no clock of its own. Not
 * thread-safe.
 */
#ifndef FREM_CMD_METER_H
#define FREM_CMD_METER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define METER_PATIENCE_NS UINT64_C(1000000000) /* shorter work is not worth a word */
#define METER_TEXT 256

struct meter {
	uint64_t interval_ns; /* between two updates; set by the user, the rest is the meter's */
	uint64_t patience_ns; /* from the start of the work to the first update */
	uint64_t work_start;  /* ns; 0: no work is under way */
	uint64_t start;	      /* of the phase */
	uint64_t said;	      /* last update */
	char what[96];
	uint64_t done, total, first_done;
	uint64_t mark, mark_done; /* where the current rate sample began */
	double rate;		  /* bytes a second, smoothed */
	bool ended;		  /* the end of this phase has been told */
};

/*
 * Takes a report at `now` (ns). update: the text of an update that is due, else "". ended: what is
 * to be said about a phase that this report ended, if it took long enough, else "".
 */
void meter_report(struct meter *m, uint64_t now, const char *what, uint64_t done, uint64_t total,
		  char update[METER_TEXT], char ended[METER_TEXT]);
/* Ends phase and work. */
void meter_end(struct meter *m, uint64_t now, char ended[METER_TEXT]);

#endif

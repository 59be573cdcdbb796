/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a fast restart gains and what it costs over the life of a job that is checkpointed again and
 * again and fails now and then: derived, with sources, in docs/plan.md. Pure computation. Times are
 * seconds throughout.
 *
 * A job makes progress in segments: `interval` of work, then a checkpoint that costs it `pause`
 * and, with frem, `tracking`. Failures are a Poisson process; one of any process is one of the job.
 * It throws the segment away and a restart follows, which may fail, too.
 */
#ifndef FREM_CMD_PLAN_MODEL_H
#define FREM_CMD_PLAN_MODEL_H

struct plan_numbers {
	double mtbf;	     /* of one process; above 0 */
	double processes;    /* that fail and are restarted together; at least 1 */
	double interval;     /* above 0 */
	double pause;	     /* above 0 */
	double tracking;     /* at least 0 */
	double restart_full; /* from the failure until the job works again: the classic restart, */
	double restart_fast; /* and frem's, with what the overlap then costs the job */
};

/* One way to restart. */
struct plan_side {
	double availability; /* share of time that goes into work that is kept, 0 to 1 */
	double best;	     /* the interval at which that is highest, */
	double best_availability;
	double young, daly; /* and what the usual approximations say it is */
};

struct plan {
	double mtbf;	    /* of the job */
	double checkpoints; /* mean number between two restarts, by the interval with frem */
	double gain;	    /* E_gain: time that a restart is shorter */
	double overhead;    /* E_overhead: tracking time between two restarts */
	double net;	    /* gain - overhead; negative where frem does not pay */
	struct plan_side without, with;
};

void plan_compute(const struct plan_numbers *n, struct plan *ret);

#endif

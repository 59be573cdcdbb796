/* SPDX-License-Identifier: GPL-2.0-or-later */
/* frem plan: what fast restarts gain a job, from a checkpoint's own measurements or given numbers.
 */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "cmd.h"
#include "find_checkpoint.h"
#include "inventory.h"
#include "options.h"
#include "plan_model.h"
#include "ui.h"

#define PROCESSES_MOST 100000000u
#define DUMP_BYTES_PER_S 1e9 /* what a local disk takes, where --pause does not say better */
#define ROUND_TRIPS 2	     /* connect and request: until the first byte of an image is there */
#define UNKNOWN (-1.0)

/* Seconds, bytes, and bytes a second; UNKNOWN until given or measured. */
struct inputs {
	double mtbf, interval, rate, rtt, processes;
	double image, touch; /* to be fetched by a classic restart, and at first by a fast one */
	double tracking, pause, overlap, downtime;
};

static int above_zero(const char *option, double v, struct frem_error *err)
{
	return v > 0 ? 0 : frem_fail(err, FREM_USAGE, 0, "--%s: has to be above 0", option);
}

static int parse_seconds(const char *text, double *ret, struct frem_error *err)
{
	uint64_t ms;
	int r = units_parse_duration(text, &ms, err);

	if (r == 0)
		*ret = (double)ms / 1e3;
	return r;
}

static int parse_size(const char *text, double *ret, struct frem_error *err)
{
	uint64_t bytes;
	int r = units_parse_size(text, &bytes, err);

	if (r == 0)
		*ret = (double)bytes;
	return r;
}

static int parse_processes(const char *text, double *ret, struct frem_error *err)
{
	uint64_t n;
	int r = units_parse_number(text, "number", 1, PROCESSES_MOST, &n, err);

	if (r == 0)
		*ret = (double)n;
	return r;
}

/* RATE[,RTT] */
static int parse_link(const char *text, struct inputs *in, struct frem_error *err)
{
	size_t n = strcspn(text, ",");
	char rate[UNITS_SIZE] = "";
	uint64_t bytes;
	int r;

	if (n < sizeof(rate))
		memcpy(rate, text, n);
	r = units_parse_rate(n < sizeof(rate) ? rate : text, &bytes, err);
	if (r == 0 && text[n])
		r = parse_seconds(text + n + 1, &in->rtt, err);
	if (r == 0)
		in->rate = (double)bytes;
	return r;
}

static int parse_value(int id, const char *value, struct inputs *in, struct frem_error *err)
{
	switch (id) {
	case OPT_MTBF:
		return parse_seconds(value, &in->mtbf, err);
	case OPT_INTERVAL:
		return parse_seconds(value, &in->interval, err);
	case OPT_LINK:
		return parse_link(value, in, err);
	case OPT_PARALLEL:
		return parse_processes(value, &in->processes, err);
	case OPT_IMAGE:
		return parse_size(value, &in->image, err);
	case OPT_TOUCH:
		return parse_size(value, &in->touch, err);
	case OPT_TRACKING:
		return parse_seconds(value, &in->tracking, err);
	case OPT_PAUSE:
		return parse_seconds(value, &in->pause, err);
	case OPT_OVERLAP:
		return parse_seconds(value, &in->overlap, err);
	default:
		return parse_seconds(value, &in->downtime, err);
	}
}

static int take_option(const struct option_row *row, const char *value, void *arg,
		       struct frem_error *err)
{
	int r = parse_value(row->id, value, arg, err);

	return r < 0 ? frem_context(err, r, "--%s", row->name) : 0;
}

static int missing(const char *option, struct frem_error *err)
{
	frem_fail(err, FREM_USAGE, 0, "no --%s given", option);
	return frem_hint(err, -EINVAL, "'frem plan --help' says how it is used");
}

/* What has to be told by the user in any case. */
static int check_given(const struct inputs *in, struct frem_error *err)
{
	const struct {
		const char *option;
		double value;
	} needed[] = {{"mtbf", in->mtbf}, {"interval", in->interval}, {"link", in->rate}};
	int r = 0;

	for (size_t i = 0; r == 0 && i < sizeof(needed) / sizeof(*needed); i++)
		r = needed[i].value == UNKNOWN ? missing(needed[i].option, err)
					       : above_zero(needed[i].option, needed[i].value, err);
	return r;
}

/* ---- what a checkpoint says ---- */

static void take_if_unknown(double *value, double measured)
{
	if (*value == UNKNOWN)
		*value = measured;
}

/* The pages of the touch set follow its descriptor, and a restart takes both. */
static int measure_touch(struct store *s, const struct checkpoint_name *id,
			 const struct manifest *m, const uint8_t digest[DIGEST_SIZE],
			 struct inputs *in, struct frem_error *err)
{
	_cleanup_inventory_ struct inventory *v = NULL;
	_cleanup_touch_set_ struct touch_set *touch = NULL;
	int r;

	if (in->touch != UNKNOWN && in->tracking != UNKNOWN)
		return 0;
	r = checkpoint_touch(s, id, m, digest, &touch, err);
	if (r == 0)
		r = inventory_read(s, id, &v, err);
	if (r != 0 || !touch || !v->n || v->entries[0].touch == INVENTORY_NONE)
		return r;
	take_if_unknown(&in->touch, (double)(m->head.size + v->entries[0].touch));
	take_if_unknown(&in->tracking, touch->info.overhead_ms / 1e3);
	return 0;
}

static int measure(struct store *s, struct checkpoint_name *id, struct inputs *in,
		   struct frem_error *err)
{
	_cleanup_manifest_ struct manifest *m = NULL;
	uint8_t digest[DIGEST_SIZE];
	int r = checkpoint_latest(s, id, err);

	if (r == 0)
		r = checkpoint_manifest(s, id, &m, digest, err);
	if (r != 0)
		return r;
	take_if_unknown(&in->image, (double)(m->head.size + m->pages.size));
	take_if_unknown(&in->pause, (double)m->image_bytes / DUMP_BYTES_PER_S);
	return measure_touch(s, id, m, digest, in, err);
}

static int measure_named(const struct cmd_context *c, const char *name, char *ret_text,
			 struct inputs *in, struct frem_error *err)
{
	_cleanup_store_ struct store *s = NULL;
	struct checkpoint_name id;
	int r = name_parse(name, &id, err);

	if (r == 0)
		r = checkpoint_open_store(c, &s, err);
	if (r == 0)
		r = measure(s, &id, in, err);
	if (r != 0)
		return r;
	checkpoint_text(&id, ret_text);
	if (in->touch == UNKNOWN || in->tracking == UNKNOWN)
		return frem_hint(err,
				 frem_fail(err, FREM_FAILED, 0, "checkpoint '%s' has no touch set",
					   ret_text),
				 "--touch and --tracking say what it would be");
	return 0;
}

/* Without a checkpoint. */
static int settle_given(struct inputs *in, struct frem_error *err)
{
	if (in->image == UNKNOWN || in->touch == UNKNOWN)
		return missing(in->image == UNKNOWN ? "image, and no checkpoint," : "touch", err);
	take_if_unknown(&in->pause, in->image / DUMP_BYTES_PER_S);
	take_if_unknown(&in->tracking, 0);
	return 0;
}

/* ---- the answer ---- */

static double restart_seconds(const struct inputs *in, double bytes)
{
	return in->downtime + ROUND_TRIPS * in->rtt + bytes / in->rate;
}

static struct plan_numbers numbers_of(const struct inputs *in)
{
	return (struct plan_numbers){
		.mtbf = in->mtbf,
		.processes = in->processes,
		.interval = in->interval,
		.pause = in->pause,
		.tracking = in->tracking,
		.restart_full = restart_seconds(in, in->image),
		.restart_fast = restart_seconds(in, in->touch) + in->overlap,
	};
}

static json_t *side_json(const struct plan_side *s, double restart)
{
	return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f}", "restart_ms", restart * 1e3,
			 "availability", s->availability, "best_interval_ms", s->best * 1e3,
			 "best_availability", s->best_availability, "young_interval_ms",
			 s->young * 1e3, "daly_interval_ms", s->daly * 1e3);
}

static json_t *inputs_json(const struct inputs *in)
{
	return json_pack("{s:f, s:I, s:f, s:I, s:f, s:I, s:I, s:f, s:f, s:f, s:f}", "mtbf_ms",
			 in->mtbf * 1e3, "parallel", (json_int_t)in->processes, "interval_ms",
			 in->interval * 1e3, "link_bps", (json_int_t)in->rate, "rtt_ms",
			 in->rtt * 1e3, "fetched_bytes", (json_int_t)in->image,
			 "fetched_first_bytes", (json_int_t)in->touch, "tracking_ms",
			 in->tracking * 1e3, "pause_ms", in->pause * 1e3, "overlap_ms",
			 in->overlap * 1e3, "downtime_ms", in->downtime * 1e3);
}

static int answer_plan(const char *name, const struct inputs *in, const struct plan_numbers *n,
		       const struct plan *p, struct frem_error *err)
{
	json_t *all =
		json_pack("{s:o, s:o, s:f, s:f, s:f, s:f, s:f, s:o, s:o}", "checkpoint",
			  *name ? ui_json_string(name) : json_null(), "inputs", inputs_json(in),
			  "mtbf_ms", p->mtbf * 1e3, "checkpoints", p->checkpoints, "gain_ms",
			  p->gain * 1e3, "overhead_ms", p->overhead * 1e3, "net_gain_ms",
			  p->net * 1e3, "without_frem", side_json(&p->without, n->restart_full),
			  "with_frem", side_json(&p->with, n->restart_fast));

	return ui_answer(all, err);
}

static void time_cells(struct ui_table *t, const char *what, double without, double with)
{
	char text[UNITS_SIZE];

	ui_table_cell(t, "%s", what);
	units_duration(without * 1e3, text);
	ui_table_cell(t, "%s", text);
	units_duration(with * 1e3, text);
	ui_table_cell(t, "%s", text);
}

/* Availabilities are near 1: as many digits as tell them apart. */
static void share_cells(struct ui_table *t, const char *what, double without, double with)
{
	ui_table_cell(t, "%s", what);
	ui_table_cell(t, "%.4f %%", without * 100);
	ui_table_cell(t, "%.4f %%", with * 100);
}

static void print_time(const char *what, double s)
{
	char text[UNITS_SIZE];

	units_duration(fabs(s) * 1e3, text);
	ui_print("%-20s %s%s\n", what, s < 0 ? "-" : "", text);
}

static void print_inputs(const char *name, const struct inputs *in, const struct plan *p)
{
	char image[UNITS_SIZE], touch[UNITS_SIZE], pause[UNITS_SIZE], tracking[UNITS_SIZE],
		mtbf[UNITS_SIZE];

	units_bytes((uint64_t)in->image, image);
	units_bytes((uint64_t)in->touch, touch);
	units_duration(in->pause * 1e3, pause);
	units_duration(in->tracking * 1e3, tracking);
	units_duration(p->mtbf * 1e3, mtbf);
	ui_print("%s%s%s to fetch, %s of it first; a checkpoint stops the job for %s, tracking "
		 "takes %s; a failure every %s\n\n",
		 name, *name ? ": " : "", image, touch, pause, tracking, mtbf);
}

static int print_plan(const char *name, const struct inputs *in, const struct plan_numbers *n,
		      const struct plan *p, struct frem_error *err)
{
	static const char *const titles[] = {"", ">WITHOUT FREM", ">WITH FREM"};
	const struct plan_side *a = &p->without, *b = &p->with;
	_cleanup_ui_table_ struct ui_table *t = NULL;
	int r = ui_table_new(titles, 3, &t, err);

	if (r < 0)
		return r;
	print_inputs(name, in, p);
	time_cells(t, "restart", n->restart_full, n->restart_fast);
	share_cells(t, "availability", a->availability, b->availability);
	time_cells(t, "best interval", a->best, b->best);
	time_cells(t, "  by Young", a->young, b->young);
	time_cells(t, "  by Daly", a->daly, b->daly);
	share_cells(t, "availability there", a->best_availability, b->best_availability);
	r = ui_table_print(t, err);
	if (r < 0)
		return r;
	ui_print("\nbetween two restarts\n%-20s %.1f\n", "checkpoints", p->checkpoints);
	print_time("gain", p->gain);
	print_time("overhead", p->overhead);
	print_time("net gain", p->net);
	return 0;
}

int cmd_plan(struct cmd_context *c, int argc, char **argv, struct frem_error *err)
{
	struct inputs in = {.mtbf = UNKNOWN,
			    .interval = UNKNOWN,
			    .rate = UNKNOWN,
			    .processes = 1,
			    .image = UNKNOWN,
			    .touch = UNKNOWN,
			    .tracking = UNKNOWN,
			    .pause = UNKNOWN};
	char name[CHECKPOINT_TEXT_SIZE] = "";
	struct plan_numbers n;
	struct plan p;
	int r = options_parse(argc, argv, options_plan, take_option, &in, err);

	if (r == 0)
		r = options_operands(argc, argv, 0, 1, "NAME", err);
	if (r == 0)
		r = check_given(&in, err);
	if (r == 0)
		r = optind < argc ? measure_named(c, argv[optind], name, &in, err)
				  : settle_given(&in, err);
	if (r == 0)
		r = above_zero("pause", in.pause, err);
	if (r < 0)
		return r;
	n = numbers_of(&in);
	plan_compute(&n, &p);
	return c->json ? answer_plan(name, &in, &n, &p, err) : print_plan(name, &in, &n, &p, err);
}

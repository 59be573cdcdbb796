/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "touch_report.h"

#include <langinfo.h>
#include <locale.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "touch_curve.h"
#include "touch_map.h"
#include "ui.h"

#define WIDTH_USUAL 80
#define MAP_LABEL 10 /* columns for a pid and the two ends of a row */
#define MAP_LEAST 16
#define MAP_ROWS 24 /* processes that are shown */

static double share_of(double part, double whole)
{
	return whole > 0 ? part / whole : 0;
}

/* ---- JSON ---- */

static json_t *curve_json(const struct touch_set *t)
{
	struct touch_point points[TOUCH_CURVE_MAX];
	json_t *curve = json_array();
	size_t n = 0;

	if (touch_curve(t, points, &n, NULL) < 0)
		n = 0;
	for (size_t i = 0; i < n; i++)
		json_array_append_new(curve, json_pack("{s:I, s:I}", "ms", (json_int_t)points[i].ms,
						       "pages", (json_int_t)points[i].pages));
	return curve;
}

json_t *touch_set_json(const struct touch_set *t, uint64_t lazy_pages)
{
	const struct touch_info *i = &t->info;
	uint64_t pages = 0;
	size_t runs = touch_set_touched(t, &pages);
	uint64_t bytes = pages * PAGE_BYTES;
	json_t *touch = json_pack(
		"{s:I, s:I, s:f, s:I, s:I, s:I, s:I, s:o, s:o}", "pages", (json_int_t)pages,
		"bytes", (json_int_t)bytes, "share", share_of((double)pages, (double)lazy_pages),
		"runs", (json_int_t)runs, "window_ms", (json_int_t)i->window_ms, "scans",
		(json_int_t)i->scans, "restarts", (json_int_t)i->restarts, "backend",
		ui_json_string(i->backend), "ended", ui_json_string(i->ended));
	json_t *costs =
		json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "prepare_ms", i->prepare_ms,
			  "frozen_ms", i->frozen_ms, "scan_ms", i->scan_ms, "insert_ms",
			  i->insert_ms, "descriptor_ms", i->descriptor_ms, "overhead_ms",
			  i->overhead_ms, "overhead_share", share_of(i->overhead_ms, i->window_ms));

	json_object_update(touch, costs);
	json_decref(costs);
	json_object_set_new(touch, "curve", curve_json(t));
	return touch;
}

/* ---- text ---- */

static bool locale_is_utf8(void)
{
	locale_t l = newlocale(LC_CTYPE_MASK, "", (locale_t)0);
	bool utf8;

	if (l == (locale_t)0)
		return false;
	utf8 = strcmp(nl_langinfo_l(CODESET, l), "UTF-8") == 0;
	freelocale(l);
	return utf8;
}

static const char *ended_text(const char *ended)
{
	static const struct {
		const char *ended, *text;
	} known[] = {
		{"image-arrived", "until the whole image could have arrived"},
		{"saturated", "until nearly all of it had been touched"},
		{"asked", "as long as asked for"},
		{"program-ended", "until the program ended"},
		{"next-checkpoint", "until the next checkpoint began"},
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (strcmp(known[i].ended, ended) == 0)
			return known[i].text;
	return ended;
}

static int print_curve(const struct touch_set *t, struct frem_error *err)
{
	char blocks[TOUCH_PICTURE_SIZE], times[TOUCH_PICTURE_SIZE];
	struct touch_point points[TOUCH_CURVE_MAX];
	size_t n = 0;
	int r = touch_curve(t, points, &n, err);

	if (r < 0)
		return r;
	touch_curve_picture(points, n, locale_is_utf8(), blocks, times);
	ui_print("  touched     %s\n              %s\n", blocks, times);
	return 0;
}

static void print_recorder(const struct touch_info *i)
{
	const char *restarts = i->restarts == 1 ? "restart" : "restarts";

	ui_print("  backend     %s", i->backend);
	if (i->scans)
		ui_print(", %u scans", i->scans);
	if (i->restarts)
		ui_print(", %u recorded %s", i->restarts, restarts);
	ui_print("\n");
}

static void print_costs(const struct touch_info *i)
{
	char share[UNITS_SIZE] = "";

	if (i->window_ms)
		snprintf(share, sizeof(share), ", %.2g %% of the window",
			 100 * i->overhead_ms / i->window_ms);
	ui_print("  cost        %.2f ms of processor time%s\n", i->overhead_ms, share);
	ui_print("              prepare %.2f, frozen %.2f, scans %.2f, insertion %.2f, descriptor "
		 "%.2f ms\n",
		 i->prepare_ms, i->frozen_ms, i->scan_ms, i->insert_ms, i->descriptor_ms);
}

int touch_set_print(const struct touch_set *t, uint64_t lazy_pages, uint64_t stored,
		    struct frem_error *err)
{
	char size[UNITS_SIZE], stored_size[UNITS_SIZE], share[UNITS_SIZE], window[UNITS_SIZE];
	const struct touch_info *i = &t->info;
	uint64_t pages = 0;
	size_t runs = touch_set_touched(t, &pages);
	int r;

	units_bytes(pages * PAGE_BYTES, size);
	units_bytes(stored, stored_size);
	units_share(pages, lazy_pages, share);
	units_duration(i->window_ms, window);
	ui_print("touch set     %llu pages, %s, %s of the lazy ones; %s stored, %zu runs\n",
		 (unsigned long long)pages, size, share, stored_size, runs);
	r = print_curve(t, err);
	if (r < 0)
		return r;
	ui_print("  window      %s, %s\n", window, ended_text(i->ended));
	print_recorder(i);
	print_costs(i);
	return 0;
}

/* ---- where it lies ---- */

/* As wide as the reader sees at once; what is piped somewhere is as wide as a plain terminal. */
static unsigned output_width(void)
{
	struct winsize w;

	return ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col ? w.ws_col : WIDTH_USUAL;
}

void touch_set_print_map(const struct touch_set *t, const struct manifest *m)
{
	unsigned width = output_width();
	bool utf8 = locale_is_utf8();
	char row[TOUCH_MAP_ROW_SIZE];
	uint64_t first = 0;
	size_t shown = 0, left = 0;

	width = width > MAP_LABEL + MAP_LEAST ? width - MAP_LABEL : MAP_LEAST;
	ui_print("\ntouched, by address\n");
	for (size_t i = 0; i < m->n_tasks; first += m->tasks[i++].lazy_pages) {
		if (!m->tasks[i].lazy_pages)
			continue;
		if (shown == MAP_ROWS) {
			left++;
			continue;
		}
		touch_map_row(t, first, m->tasks[i].lazy_pages, width, utf8, row);
		ui_print("%7d |%s|\n", m->tasks[i].pid, row);
		shown++;
	}
	if (left)
		ui_print("        and %zu more\n", left);
}

/* ---- by task ---- */

/* The first task whose lazy pages end behind `page`; they are numbered task by task. */
static size_t task_of(const uint64_t *ends, size_t n, uint64_t page)
{
	size_t low = 0;

	while (n > 0) {
		size_t half = n / 2;

		if (ends[low + half] <= page) {
			low += half + 1;
			n -= half + 1;
		} else {
			n = half;
		}
	}
	return low;
}

int touch_set_by_task(const struct touch_set *t, const struct manifest *m, uint64_t *out,
		      struct frem_error *err)
{
	_cleanup_free_ uint64_t *ends = calloc(m->n_tasks + 1, sizeof(*ends));
	uint64_t end = 0, pages = 0;
	size_t runs = touch_set_touched(t, &pages);

	if (!ends)
		return frem_oom(err);
	for (size_t k = 0; k < m->n_tasks; k++) {
		ends[k] = end += m->tasks[k].lazy_pages;
		out[k] = 0;
	}
	for (size_t i = 0; i < runs; i++) {
		uint64_t page = t->runs[i].first, behind = page + t->runs[i].pages;

		for (size_t k = task_of(ends, m->n_tasks, page); k < m->n_tasks && page < behind;
		     k++) {
			uint64_t to = ends[k] < behind ? ends[k] : behind;

			out[k] += to - page;
			page = to;
		}
	}
	return 0;
}

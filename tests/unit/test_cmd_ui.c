/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <pty.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "meter.h"
#include "options.h"
#include "stores.h"
#include "ui.h"
#include "ui_stderr.h"
#include "units.h"

static void sizes_have_three_digits(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} cases[] = {
		{0, "0 B"},
		{999, "999 B"},
		{1000, "1.00 kB"},
		{9994, "9.99 kB"},
		{9996, "10.0 kB"},
		{99960, "100 kB"},
		{999499, "999 kB"},
		{999500, "1.00 MB"},
		{500000000, "500 MB"},
		{UINT64_C(1234567890123), "1.23 TB"},
		{UINT64_MAX, "18.4 EB"},
	};
	char out[UNITS_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		units_bytes(cases[i].bytes, out);
		assert_string_equal(out, cases[i].text);
	}
	units_rate(7e6, out);
	assert_string_equal(out, "7.00 MB/s");
	units_rate(-1, out);
	assert_string_equal(out, "0 B/s");
	units_rate(0.0 / 0.0, out);
	assert_string_equal(out, "0 B/s");
}

static void durations_read_well(void **state)
{
	static const struct {
		double ms;
		const char *text;
	} cases[] = {
		{-5, "0 ms"},
		{55.4, "55 ms"},
		{999.6, "1.00 s"},
		{22500, "22.5 s"},
		{59900, "59.9 s"},
		{59990, "1 min 00 s"},
		{125000, "2 min 05 s"},
		{3599600, "1 h 00 min"},
		{4000000, "1 h 06 min"},
		{3 * 86400e3, "3 d 00 h"},
	};
	char out[UNITS_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		units_duration(cases[i].ms, out);
		assert_string_equal(out, cases[i].text);
	}
	units_duration(1e300, out); /* absurd, but in bounds */
	units_share(1, 8, out);
	assert_string_equal(out, "12.5 %");
	units_share(5, 5, out);
	assert_string_equal(out, "100 %");
	units_share(5, 0, out);
	assert_string_equal(out, "0 %");
}

static void durations_are_parsed_strictly(void **state)
{
	static const struct {
		const char *text;
		uint64_t ms;
	} good[] = {
		{"10s", 10000},
		{"500ms", 500},
		{"2m", 120000},
		{"1h", 3600000},
		{"7", 7000},
		{"1.5s", 1500},
		{"0.25", 250},
		{"0", 0},
		{"0s", 0},
		{"0010s", 10000},
		{"87600h", 315360000000},
	};
	static const char *const bad[] = {"",	  "s",	 " 1s",		 "1s ",
					  "1 s",  "-1s", "+1s",		 "1e3s",
					  "0x1s", "1.s", ".5s",		 "1,5s",
					  "1S",	  "1d",	 "1ss",		 "1min",
					  "inf",  "nan", "99999999999h", "1000000000000000000000s",
					  "1..5s"};
	struct frem_error err = {0};
	uint64_t ms = 42;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_true(units_parse_duration(bad[i], &ms, &err) < 0);
		assert_int_equal(err.code, FREM_USAGE);
		assert_int_equal(ms, 42);
	}
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		assert_int_equal(units_parse_duration(good[i].text, &ms, &err), 0);
		assert_int_equal(ms, good[i].ms);
	}
}

static void rates_are_parsed_strictly(void **state)
{
	static const struct {
		const char *text;
		uint64_t rate;
	} good[] = {
		{"7MB/s", 7000000},	 {"32MB", 32000000},	{"1Gbit", 125000000},
		{"200Mbit/s", 25000000}, {"1.5kB/s", 1500},	{"8bit/s", 1},
		{"100B", 100},		 {"1MiB/s", 1048576},	{"10KB", 10000},
		{"64kbit", 8000},	 {"1GB/s", 1000000000},
	};
	static const char *const bad[] = {"",	       "7",	  "7000000",	 "MB/s", "0MB",
					  "-7MB",      "7Mb/s",	  "7mb",	 "7 MB", "7MB/",
					  "7MB/m",     "7MB/s/s", "7MBs",	 "1bit", "/s",
					  "9999999GB", "7MB/sx",  "1TBpersecond"};
	struct frem_error err = {0};
	uint64_t rate = 42;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_true(units_parse_rate(bad[i], &rate, &err) < 0);
		assert_int_equal(err.code, FREM_USAGE);
		assert_int_equal(rate, 42);
	}
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		assert_int_equal(units_parse_rate(good[i].text, &rate, &err), 0);
		assert_int_equal(rate, good[i].rate);
	}
}

static void sizes_are_parsed_strictly(void **state)
{
	static const char *const bad[] = {"",	 "7",	 "7MB/s", "-7MB",
					  "7Mb", "7 MB", "1Gbit", "9999999999GB"};
	struct frem_error err = {0};
	uint64_t size = 42;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_true(units_parse_size(bad[i], &size, &err) < 0);
		assert_int_equal(err.code, FREM_USAGE);
		assert_int_equal(size, 42);
	}
	assert_int_equal(units_parse_size("1.5GiB", &size, &err), 0);
	assert_int_equal(size, UINT64_C(1610612736));
	assert_int_equal(units_parse_size("0B", &size, &err), 0);
	assert_int_equal(size, 0);
}

static void numbers_are_parsed_strictly(void **state)
{
	static const char *const bad[] = {
		"", "0", "-1", "+1", " 1", "1 ", "1x", "101", "99999999999999999999999"};
	struct frem_error err = {0};
	uint64_t v = 42;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_true(units_parse_number(bad[i], "--pid", 1, 100, &v, &err) < 0);
		assert_int_equal(err.code, FREM_USAGE);
		assert_int_equal(v, 42);
	}
	assert_string_equal(err.text, "bad --pid '99999999999999999999999': not a whole number "
				      "from 1 to 100");
	assert_int_equal(units_parse_number("100", "--pid", 1, 100, &v, &err), 0);
	assert_int_equal(v, 100);
}

/* ---- options ---- */

/* Splits line, which is changed, at its blanks. */
static int split(char *line, char *argv[16])
{
	int n = 0;

	for (char *word = strtok(line, " "); word && n < 15; word = strtok(NULL, " "))
		argv[n++] = word;
	argv[n] = NULL;
	return n;
}

static void global_options_stand_anywhere_before_two_dashes(void **state)
{
	char line[] =
		"frem -v --store a show --json x --store=b --store-timeout 5s -vv --keep -- --json -v";
	char *argv[16];
	int argc = split(line, argv);
	struct frem_error err = {0};
	struct globals g = {0};

	(void)state;
	assert_int_equal(options_globals(&argc, argv, &g, &err), 0);
	assert_int_equal(g.n_stores, 2);
	assert_string_equal(g.stores[0], "a");
	assert_string_equal(g.stores[1], "b");
	assert_string_equal(g.store_timeout, "5s");
	assert_true(g.json);
	assert_int_equal(g.verbose, 3);
	assert_false(g.help);
	assert_int_equal(argc, 7);
	assert_string_equal(argv[1], "show");
	assert_string_equal(argv[2], "x");
	assert_string_equal(argv[3], "--keep");
	assert_string_equal(argv[4], "--");
	assert_string_equal(argv[5], "--json");
	assert_string_equal(argv[6], "-v");
	assert_null(argv[7]);
}

static void check_stores(const struct globals *g, const char *env, const char *expected)
{
	_cleanup_free_ char *text = NULL;
	struct frem_error err = {0};

	assert_int_equal(stores_text(g, env, &text, &err), 0);
	if (expected)
		assert_string_equal(text, expected);
	else
		assert_null(text);
}

static void stores_become_one_text(void **state)
{
	const struct globals none = {0};
	const struct globals two = {.stores = {"/a b%", "http://h:1"}, .n_stores = 2};
	const struct globals bad = {.stores = {"http://h/a b"}, .n_stores = 1};
	_cleanup_free_ char *cwd = get_current_dir_name(), *relative = NULL, *text = NULL;
	const struct globals here = {.stores = {"x"}, .n_stores = 1};
	struct frem_error err = {0};

	(void)state;
	check_stores(&none, NULL, NULL);
	check_stores(&none, " \t", NULL);
	check_stores(&none, " /a\thttp://h:1 ", "/a http://h:1");
	check_stores(&two, "/ignored", "file:///a%20b%25 http://h:1");
	assert_true(asprintf(&relative, "%s/x", cwd) > 0);
	check_stores(&here, NULL, relative);
	assert_true(stores_text(&bad, NULL, &text, &err) < 0);
	assert_int_equal(err.code, FREM_USAGE);
}

static void json_is_known_although_the_line_is_wrong(void **state)
{
	char line[] = "frem --what list --json --store";
	char *argv[16];
	int argc = split(line, argv);
	struct frem_error err = {0};
	struct globals g = {0};

	(void)state;
	assert_true(options_globals(&argc, argv, &g, &err) < 0);
	assert_true(g.json);
	assert_int_equal(err.code, FREM_USAGE);
	assert_string_equal(err.text, "unknown option '--what'");
}

static int verb_options(int argc, char **argv, struct frem_error *err)
{
	static const struct option longs[] = {
		{"all", no_argument, NULL, 256},
		{"name", required_argument, NULL, 257},
		{NULL, 0, NULL, 0},
	};
	int o;

	frem_error_reset(err);
	options_start();
	while ((o = options_next(argc, argv, "k:", longs, err)) > 0)
		;
	return o;
}

static void bad_verb_options_are_named(void **state)
{
	static const char *const cases[][2] = {
		{"x a --nope", "unknown option '--nope'"},
		{"x --nope=1 a", "unknown option '--nope=1'"},
		{"x -q a", "unknown option '-q'"},
		{"x --all=1", "option '--all=1' takes no value"},
		{"x a --name", "option '--name' needs a value"},
		{"x -k", "option '-k' needs a value"},
	};
	struct frem_error err = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char line[64], *argv[16];

		snprintf(line, sizeof(line), "%s", cases[i][0]);
		assert_true(verb_options(split(line, argv), argv, &err) < 0);
		assert_int_equal(err.code, FREM_USAGE);
		assert_string_equal(err.text, cases[i][1]);
		assert_string_equal(err.hint, "'frem x --help' says how it is used");
	}
}

static int take_row(const struct option_row *row, const char *value, void *arg,
		    struct frem_error *err)
{
	char *seen = arg;

	(void)err;
	snprintf(seen + strlen(seen), 128 - strlen(seen), "%s=%s ", row->name,
		 value ? value : "off");
	return 0;
}

static void rows_say_how_a_verb_is_parsed(void **state)
{
	static const struct option_row rows[] = {
		{OPT_DAEMON, 'd', "daemon", ARG_NONE, NULL, NULL, ""},
		{OPT_WORK_DIR, 'W', "work-dir", ARG_DIR, "DIR", NULL, ""},
		{OPT_NAME, 0, "name", ARG_NAME, "NAME", NULL, ""},
		{0, 0, NULL, ARG_NONE, NULL, NULL, NULL},
	};
	char line[] = "x -d a -Wb -dW c --name=n --no-daemon --work-dir d -- --name";
	char bad[] = "x --no-name", *argv[16];
	int argc = split(line, argv);
	struct frem_error err = {0};
	char seen[128] = "";

	(void)state;
	assert_int_equal(options_parse(argc, argv, rows, take_row, seen, &err), 0);
	assert_string_equal(seen, "daemon= work-dir=b daemon= work-dir=c name=n daemon=off "
				  "work-dir=d ");
	assert_int_equal(options_operands(argc, argv, 2, 2, "NAME", &err), 0);
	argc = split(bad, argv);
	assert_true(options_parse(argc, argv, rows, take_row, seen, &err) < 0);
	assert_string_equal(err.text, "unknown option '--no-name'");
}

static void operands_are_counted(void **state)
{
	char line[] = "x a --all b", *argv[16];
	int argc = split(line, argv);
	struct frem_error err = {0};

	(void)state;
	assert_int_equal(verb_options(argc, argv, &err), 0);
	assert_int_equal(options_operands(argc, argv, 1, 2, "NAME", &err), 0);
	assert_true(options_operands(argc, argv, 1, 1, "NAME", &err) < 0);
	assert_string_equal(err.text, "unexpected argument 'b'");
	frem_error_reset(&err);
	assert_true(options_operands(argc, argv, 3, 3, "NAME", &err) < 0);
	assert_string_equal(err.text, "no NAME given");
}

/* ---- progress ---- */

static void progress_says_what_is_known(void **state)
{
	char text[METER_TEXT];

	(void)state;
	ui_progress_text(text, sizeof(text), "uploading", 125000000, 500000000, 7e6);
	assert_string_equal(text, "uploading: 125 MB of 500 MB (25.0 %), 7.00 MB/s, 53.6 s left");
	ui_progress_text(text, sizeof(text), "tracking", 5000000, 0, 1e6);
	assert_string_equal(text, "tracking: 5.00 MB, 1.00 MB/s");
	ui_progress_text(text, sizeof(text), "dumping", 0, 0, 0);
	assert_string_equal(text, "dumping");
	memset(text, 'x', sizeof(text));
	ui_progress_text(text, 12, "a long name of a phase", 1, 2, 1);
	assert_string_equal(text, "a long name");
}

static void short_work_is_silent(void **state)
{
	struct meter m = {.interval_ns = NSEC_PER_SEC / 10, .patience_ns = METER_PATIENCE_NS};
	char update[METER_TEXT], ended[METER_TEXT];

	(void)state;
	for (uint64_t ms = 1; ms < 900; ms += 10) {
		meter_report(&m, ms * NSEC_PER_MSEC, "short", ms, 1000, update, ended);
		assert_string_equal(update, "");
		assert_string_equal(ended, "");
	}
	meter_report(&m, 900 * NSEC_PER_MSEC, "short", 1000, 1000, update, ended);
	assert_string_equal(update, "");
	assert_string_equal(ended, "");
	meter_end(&m, 910 * NSEC_PER_MSEC, ended);
	assert_string_equal(ended, "");
}

static void long_work_is_told_at_intervals_and_once_at_its_end(void **state)
{
	struct meter m = {.interval_ns = 10 * NSEC_PER_SEC, .patience_ns = 10 * NSEC_PER_SEC};
	char update[METER_TEXT], ended[METER_TEXT];
	unsigned updates = 0, ends = 0;

	(void)state;
	/* 72 s at 7 MB/s, reported every 100 ms; then the last report once more */
	for (uint64_t i = 0; i <= 721; i++) {
		uint64_t t = i < 720 ? i : 720;

		meter_report(&m, NSEC_PER_SEC + t * NSEC_PER_SEC / 10, "uploading", t * 700000,
			     504000000, update, ended);
		if (*update) {
			updates++;
			assert_non_null(strstr(update, "7.00 MB/s, "));
			assert_non_null(strstr(update, " left"));
		}
		if (*ended) {
			ends++;
			assert_string_equal(ended, "uploading: 504 MB in 1 min 12 s, 7.00 MB/s");
		}
	}
	assert_int_equal(updates, 7);
	assert_int_equal(ends, 1);
	meter_end(&m, 80 * NSEC_PER_SEC, ended);
	assert_string_equal(ended, "");
}

static void the_next_phase_ends_the_one_before(void **state)
{
	struct meter m = {.interval_ns = NSEC_PER_SEC / 10, .patience_ns = METER_PATIENCE_NS};
	char update[METER_TEXT], ended[METER_TEXT];

	(void)state;
	meter_report(&m, 5 * NSEC_PER_SEC, "dumping", 0, 0, update, ended);
	meter_report(&m, 8 * NSEC_PER_SEC, "uploading", 0, 100, update, ended);
	assert_string_equal(ended, "dumping: 3.00 s");
	/* the work has taken over a second: the new phase shows at once */
	assert_string_equal(update, "uploading: 0 B of 100 B (0 %)");
	meter_report(&m, 9 * NSEC_PER_SEC, "uploading", 50, 100, update, ended);
	/* overtaken by the report before it: never backwards */
	meter_report(&m, 10 * NSEC_PER_SEC, "uploading", 40, 100, update, ended);
	assert_non_null(strstr(update, "50 B of 100 B"));
	meter_end(&m, 11 * NSEC_PER_SEC, ended);
	assert_string_equal(ended, "uploading: 50 B in 3.00 s, 17 B/s");
}

/* ---- what is shown ---- */

static void control_characters_do_not_reach_a_terminal(void **state)
{
	char text[] = "a\033[2Jb\nc\x7f\xc2\x9b\xc3\xa4", kept[] = "a\nb\r";

	(void)state;
	make_visible(text, false);
	assert_string_equal(text, "a?[2Jb?c???\xc3\xa4");
	make_visible(kept, true);
	assert_string_equal(kept, "a\nb?");
	assert_int_equal(text_width("\xc3\xa4"
				    "bc"),
			 3);
}

static void json_strings_take_any_bytes(void **state)
{
	json_t *s = ui_json_string("ok \xc3\xa4 \xff\xc3(");

	(void)state;
	assert_non_null(s);
	assert_string_equal(json_string_value(s), "ok \xc3\xa4 ?\?(");
	json_decref(s);
}

/* Runs what prints with stdout and stderr going to one pipe each, and reads them back. */
struct captured {
	char out[4096];
	char err[4096];
};

static void read_back(int fd, char *out, size_t size)
{
	size_t used = 0;
	ssize_t n;

	while ((n = read(fd, out + used, size - 1 - used)) > 0)
		used += (size_t)n;
	out[used] = '\0';
	close(fd);
}

static int capture(int (*run)(void), struct captured *ret)
{
	int out[2], err[2], saved[2], r;

	fflush(stdout);
	assert_int_equal(pipe(out), 0);
	assert_int_equal(pipe(err), 0);
	saved[0] = dup(STDOUT_FILENO);
	saved[1] = dup(STDERR_FILENO);
	dup2(out[1], STDOUT_FILENO);
	dup2(err[1], STDERR_FILENO);
	close(out[1]);
	close(err[1]);
	r = run();
	fflush(stdout);
	dup2(saved[0], STDOUT_FILENO);
	dup2(saved[1], STDERR_FILENO);
	close(saved[0]);
	close(saved[1]);
	read_back(out[0], ret->out, sizeof(ret->out));
	read_back(err[0], ret->err, sizeof(ret->err));
	return r;
}

static int print_table(void)
{
	static const char *const titles[] = {"NAME", ">SIZE", "REST"};
	struct ui_table *t = NULL;
	int r;

	assert_int_equal(ui_table_new(titles, 3, &t, NULL), 0);
	assert_int_equal(ui_table_print(t, NULL), 0); /* no rows: nothing */
	for (int i = 0; i < 2; i++) {
		ui_table_cell(t, "%s", i ? "longer" : "\xc3\xa4");
		ui_table_cell(t, "%d", i ? 7 : 12345);
		ui_table_cell(t, "r\n%d", i);
	}
	r = ui_table_print(t, NULL);
	ui_table_free(t);
	return r;
}

static void tables_line_up(void **state)
{
	struct captured c;

	(void)state;
	assert_int_equal(capture(print_table, &c), 0);
	assert_string_equal(c.out, "NAME     SIZE  REST\n"
				   "\xc3\xa4       12345  r?0\n"
				   "longer      7  r?1\n");
}

static int finish_with_error(void)
{
	struct frem_error err = {0};

	ui_init(0, UI_COLOURS_AUTO);
	ui_answer(json_pack("{s:i}", "kept", 1), &err);
	frem_fail(&err, FREM_REFUSED, 0, "dumping: CRIU refused");
	frem_detail(&err, "Error (a.c:1): one");
	frem_detail(&err, "Error (b.c:2): two");
	frem_hint(&err, 0, "stop it first");
	return ui_finish(-EIO, true, &err);
}

static void errors_are_shown_once_and_answered(void **state)
{
	struct captured c;
	json_t *answer, *error;

	(void)state;
	assert_int_equal(capture(finish_with_error, &c), FREM_REFUSED);
	assert_string_equal(c.err, "frem: dumping: CRIU refused\n"
				   "  Error (a.c:1): one\n"
				   "  Error (b.c:2): two\n"
				   "hint: stop it first\n");
	answer = json_loads(c.out, 0, NULL);
	assert_int_equal(json_integer_value(json_object_get(answer, "kept")), 1);
	error = json_object_get(answer, "error");
	assert_int_equal(json_integer_value(json_object_get(error, "code")), 7);
	assert_string_equal(json_string_value(json_object_get(error, "text")),
			    "dumping: CRIU refused");
	assert_string_equal(json_string_value(json_object_get(error, "hint")), "stop it first");
	assert_int_equal(json_array_size(json_object_get(error, "detail")), 2);
	json_decref(answer);
}

static int finish_with_status(void)
{
	struct frem_error err = {0};

	return ui_finish(42, false, &err);
}

static int warn(void)
{
	ui_init(0, UI_COLOURS_AUTO);
	log_warning("careful\033[31m");
	log_info("not shown");
	return 0;
}

static void statuses_and_warnings_pass(void **state)
{
	struct captured c;

	(void)state;
	assert_int_equal(capture(finish_with_status, &c), 42);
	assert_string_equal(c.out, "");
	assert_string_equal(c.err, "");
	capture(warn, &c);
	assert_string_equal(c.err, "frem: careful?[31m\n");
}

/* ---- the status line of a terminal ---- */

static int show_status(void)
{
	stderr_init(UI_COLOURS_AUTO);
	stderr_status("half way, and much more than fits");
	stderr_line(LINE_WARNING, "frem: ", "careful");
	stderr_status(NULL);
	stderr_status(NULL); /* nothing to take away */
	stderr_line(LINE_PLAIN, "frem: ", "done");
	return 0;
}

/* What show_status() writes to a terminal of 19 columns. */
static void on_terminal(const char *no_color, char *out, size_t size)
{
	struct winsize columns = {.ws_row = 24, .ws_col = 19};
	int terminal, end, saved = dup(STDERR_FILENO);
	size_t have = 0;
	ssize_t n;

	assert_int_equal(openpty(&terminal, &end, NULL, NULL, &columns), 0);
	setenv("TERM", "xterm", 1);
	setenv("NO_COLOR", no_color, 1);
	dup2(end, STDERR_FILENO);
	show_status();
	dup2(saved, STDERR_FILENO);
	close(saved);
	/* the other end is still open; what was written comes in pieces */
	out[0] = '\0';
	while (!strstr(out, "done\r\n") && (n = read(terminal, out + have, size - 1 - have)) > 0) {
		have += (size_t)n;
		out[have] = '\0';
	}
	close(end);
	close(terminal);
	stderr_init(UI_COLOURS_AUTO);
}

static void log_lines_pass_above_the_status_line(void **state)
{
	char out[1024];

	(void)state;
	on_terminal("", out, sizeof(out));
	assert_string_equal(out, "\r\033[Khalf way, and much"
				 "\r\033[K\033[33mfrem: \033[0mcareful\r\nhalf way, and much"
				 "\r\033[K"
				 "frem: done\r\n");
	on_terminal("1", out, sizeof(out));
	assert_null(strstr(out, "\033[33m"));
	assert_non_null(strstr(out, "\r\033[Kfrem: careful\r\nhalf way"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_have_three_digits),
		cmocka_unit_test(durations_read_well),
		cmocka_unit_test(durations_are_parsed_strictly),
		cmocka_unit_test(rates_are_parsed_strictly),
		cmocka_unit_test(sizes_are_parsed_strictly),
		cmocka_unit_test(numbers_are_parsed_strictly),
		cmocka_unit_test(global_options_stand_anywhere_before_two_dashes),
		cmocka_unit_test(stores_become_one_text),
		cmocka_unit_test(json_is_known_although_the_line_is_wrong),
		cmocka_unit_test(bad_verb_options_are_named),
		cmocka_unit_test(rows_say_how_a_verb_is_parsed),
		cmocka_unit_test(operands_are_counted),
		cmocka_unit_test(progress_says_what_is_known),
		cmocka_unit_test(short_work_is_silent),
		cmocka_unit_test(long_work_is_told_at_intervals_and_once_at_its_end),
		cmocka_unit_test(the_next_phase_ends_the_one_before),
		cmocka_unit_test(control_characters_do_not_reach_a_terminal),
		cmocka_unit_test(json_strings_take_any_bytes),
		cmocka_unit_test(tables_line_up),
		cmocka_unit_test(errors_are_shown_once_and_answered),
		cmocka_unit_test(statuses_and_warnings_pass),
		cmocka_unit_test(log_lines_pass_above_the_status_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "format/name.h"
#include "text.h"

#define TEN "0123456789"
#define HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN

static void good_names(void **state)
{
	static const char *const good[] = {
		"a",   "redis", "a.b-c_d", "with space", "größe", "\xf0\x9f\x9a\x80",
		"a..", "1",	HUNDRED,
	};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		assert_int_equal(name_check(good[i], NULL), 0);
}

static void bad_names_say_why(void **state)
{
	static const struct {
		const char *name, *message;
	} bad[] = {
		{"", "name '' is empty"},
		{".", "name '.' starts with '.'"},
		{"..", "name '..' starts with '.'"},
		{".hidden", "name '.hidden' starts with '.'"},
		{"-v", "name '-v' starts with '-'"},
		{"a/b", "name 'a/b' holds a '/'"},
		{"../a", "name '../a' starts with '.'"},
		{"a@b", "name 'a@b' holds a '@'"},
		{"a\nb", "name 'a\\x0ab' holds a control character"},
		{"\033[2J", "name '\\x1b[2J' holds a control character"},
		{"a\x7f", "name 'a\\x7f' holds a control character"},
		{"a\xc2\x85", "name 'a\\xc2\\x85' holds a control character"},
		{"a\xff", "name 'a\\xff' is not valid UTF-8"},
		{"a\xc3", "name 'a\\xc3' is not valid UTF-8"},
		{"\xc0\xaf", "name '\\xc0\\xaf' is not valid UTF-8"},
		{"\xe0\x80\xaf", "name '\\xe0\\x80\\xaf' is not valid UTF-8"},
		{"\xed\xa0\x80", "name '\\xed\\xa0\\x80' is not valid UTF-8"},
		{"\xf4\x90\x80\x80", "name '\\xf4\\x90\\x80\\x80' is not valid UTF-8"},
		{"\x80", "name '\\x80' is not valid UTF-8"},
		{HUNDRED "x", "name '" HUNDRED "x' is longer than 100 bytes"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct frem_error err = {0};

		assert_int_equal(name_check(bad[i].name, &err), -EINVAL);
		assert_int_equal(err.code, FREM_USAGE);
		assert_string_equal(err.text, bad[i].message);
	}
}

static void checkpoints_are_parsed(void **state)
{
	struct checkpoint_name n = {"untouched", 7};

	(void)state;
	assert_int_equal(name_parse("redis@1", &n, NULL), 0);
	assert_string_equal(n.name, "redis");
	assert_int_equal(n.seq, 1);
	assert_int_equal(name_parse(HUNDRED "@999999999", &n, NULL), 0);
	assert_string_equal(n.name, HUNDRED);
	assert_int_equal(n.seq, 999999999);
	assert_int_equal(name_parse("redis", &n, NULL), 0);
	assert_int_equal(n.seq, 0);
}

static void bad_checkpoints_are_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"@",
		"@1",
		"a@",
		"a@0",
		"a@01",
		"a@-1",
		"a@+1",
		"a@1 ",
		"a@ 1",
		"a@1x",
		"a@b@1",
		"a@1@2",
		"a@1000000000",
		"a/b@1",
		"-a@1",
		"a@\xd9\xa1",
		"a@99999999999999999999",
		"a@0x1",
		"a@1.0",
		HUNDRED "x@1",
	};
	struct checkpoint_name n = {"untouched", 7};
	struct frem_error err = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		frem_error_reset(&err);
		assert_int_equal(name_parse(bad[i], &n, &err), -EINVAL);
		assert_int_equal(err.code, FREM_USAGE);
		assert_string_equal(n.name, "untouched");
	}
	name_parse("a@1\n", &n, &err);
	assert_string_equal(err.text, "checkpoint 'a@1\\x0a': what follows '@' is not a number "
				      "from 1 to 999999999");
}

static void keys_round_trip(void **state)
{
	struct checkpoint_name n = {HUNDRED, NAME_SEQ_MAX}, back = {0};
	char key[NAME_KEY_SIZE];
	const char *object;

	(void)state;
	name_key(&n, OBJECT_MANIFEST, key);
	assert_string_equal(key, HUNDRED "/999999999/manifest");
	assert_int_equal(name_split_key(key, &back, &object), 0);
	assert_string_equal(back.name, n.name);
	assert_int_equal(back.seq, n.seq);
	assert_string_equal(object, "manifest");
	/* an object of a later version */
	assert_int_equal(name_split_key("a/1/new-object-2", &back, &object), 0);
	assert_string_equal(object, "new-object-2");
}

static void strange_keys_are_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"a",
		"a/1",
		"a/1/",
		"a/0/head",
		"a/01/head",
		"a/x/head",
		"/1/head",
		"a//head",
		"../1/head",
		"a/1/head/x",
		"a/1/../head",
		"a/1/.tmp",
		"a/1/head.tmp",
		"a@1/1/head",
		"a/1/HEAD",
		"a/1000000000/head",
		"a\n/1/head",
		"a/1/an-object-of-over-twenty",
	};
	struct checkpoint_name n = {"untouched", 7};
	const char *object = NULL;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(name_split_key(bad[i], &n, &object), -EINVAL);
	assert_string_equal(n.name, "untouched");
	assert_null(object);
}

static void quoted_text_is_cut(void **state)
{
	char long_text[1000], out[TEXT_QUOTED_SIZE];
	size_t n;

	(void)state;
	memset(long_text, 1, sizeof(long_text));
	text_quote(long_text, sizeof(long_text), out);
	n = strlen(out);
	assert_in_range(n, TEXT_QUOTED_SIZE - 8, TEXT_QUOTED_SIZE - 1);
	assert_string_equal(out + n - 4, "...'");
	memset(long_text, 'x', sizeof(long_text));
	text_quote(long_text, sizeof(long_text), out);
	assert_in_range(strlen(out), TEXT_QUOTED_SIZE - 8, TEXT_QUOTED_SIZE - 1);
	text_quote("a\0b", 3, out);
	assert_string_equal(out, "'a\\x00b'");
}

static void text_is_made_plain(void **state)
{
	char text[] = "ok \xc3\xa4 \x01\xff\xc2\x85 \xe2\x82";

	(void)state;
	text_make_plain(text);
	assert_string_equal(text, "ok \xc3\xa4 ????"
				  " ??");
	assert_true(text_is_plain(text, strlen(text)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_names),
		cmocka_unit_test(bad_names_say_why),
		cmocka_unit_test(checkpoints_are_parsed),
		cmocka_unit_test(bad_checkpoints_are_refused),
		cmocka_unit_test(keys_round_trip),
		cmocka_unit_test(strange_keys_are_refused),
		cmocka_unit_test(quoted_text_is_cut),
		cmocka_unit_test(text_is_made_plain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "base/bytes.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/file.h"
#include "base/rundir.h"

static void errors_read_from_the_outside_in(void **state)
{
	struct frem_error err = {0};

	(void)state;
	assert_int_equal(frem_fail(&err, FREM_STORE, ECONNREFUSED, "connecting to '%s'", "h"),
			 -ECONNREFUSED);
	assert_int_equal(frem_context(&err, -5, "restart"), -5);
	assert_string_equal(err.text, "restart: connecting to 'h': Connection refused");
	assert_int_equal(err.code, FREM_STORE);
	frem_hint(&err, 0, "first");
	frem_hint(&err, 0, "second");
	assert_string_equal(err.hint, "first");
	frem_detail(&err, "Error (x)\n");
	assert_string_equal(err.detail, "Error (x)\n");
}

static void long_errors_are_cut(void **state)
{
	struct frem_error err = {0};
	char big[4000];

	(void)state;
	memset(big, 'a', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	frem_fail(&err, FREM_FAILED, EIO, "%s", big);
	frem_context(&err, -1, "%s", big);
	frem_detail(&err, big);
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
	assert_string_equal(err.detail, "");
	assert_int_equal(frem_fail(NULL, FREM_FAILED, 0, "x"), -EIO);
}

static void buffers_grow(void **state)
{
	struct buffer b = {0};

	(void)state;
	for (int i = 0; i < 1000; i++)
		assert_int_equal(buffer_append(&b, "abc", 3), 0);
	assert_int_equal(b.len, 3000);
	assert_memory_equal(b.data + 2997, "abc", 3);
	assert_int_equal(buffer_append(&b, NULL, 2), 0);
	assert_int_equal(b.data[3001], 0);
	assert_int_equal(buffer_reserve(&b, SIZE_MAX), -ENOMEM);
	buffer_done(&b);
	assert_null(b.data);
}

static void integers_are_little_endian(void **state)
{
	uint8_t p[8];

	(void)state;
	put_le64(p, 0x0102030405060708);
	assert_int_equal(p[0], 8);
	assert_int_equal(get_le32(p + 4), 0x01020304);
	assert_int_equal(get_le16(p), 0x0708);
}

static void digests_round_trip(void **state)
{
	uint8_t a[DIGEST_SIZE], b[DIGEST_SIZE];
	struct digest_stream s;
	char hex[DIGEST_HEX_SIZE];

	(void)state;
	digest_of("hello", 5, a, sizeof(a));
	digest_start(&s);
	digest_update(&s, "he", 2);
	digest_update(&s, "llo", 3);
	digest_finish(&s, b);
	assert_true(digest_equal(a, b, sizeof(a)));
	digest_to_hex(a, hex);
	/* BLAKE3 of "hello", from the b3sum utility */
	assert_string_equal(hex,
			    "ea8f163db38682925e4491c5e58d4bb3506ef8c14eb78a86e908c5624a67200f");
	assert_int_equal(digest_from_hex(hex, b), 0);
	hex[0] = 'X';
	assert_int_equal(digest_from_hex(hex, b), -EINVAL);
	assert_int_equal(digest_from_hex("12", b), -EINVAL);
}

static void run_directory_goes_with_its_user(void **state)
{
	struct frem_error err = {0};
	struct rundir *d = NULL;
	char path[4096];
	int fd = -1, status;
	pid_t pid;

	(void)state;
	assert_int_equal(rundir_new("/tmp", &d, &err), 0);
	snprintf(path, sizeof(path), "%s", rundir_path(d));
	assert_int_equal(rundir_subdir(d, "img", &fd, &err), 0);
	close(openat(fd, "file", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	close(fd);
	rundir_free(d);
	assert_int_equal(access(path, F_OK), -1);

	/* killed without a chance to clean up */
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	pid = fork();
	if (pid == 0) {
		if (rundir_new("/tmp", &d, &err) < 0)
			_exit(1);
		if (write(ends[1], rundir_path(d), strlen(rundir_path(d)) + 1) < 0)
			_exit(1);
		pause();
	}
	assert_true(read(ends[0], path, sizeof(path)) > 0);
	assert_int_equal(access(path, F_OK), 0);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	for (int i = 0; i < 2000 && access(path, F_OK) == 0; i++)
		usleep(1000);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(rundir_new("/nonexistent", &d, &err), -ENOENT);
	close(ends[0]);
	close(ends[1]);
}

static void count_directory(void *arg, int dir_fd)
{
	assert_true(dir_fd >= 0);
	++*(int *)arg;
}

static void run_directories_find_each_other(void **state)
{
	char parent[] = "/tmp/frem-test-XXXXXX", file[64];
	struct rundir *one = NULL, *two = NULL;
	struct frem_error err = {0};
	int n = 0;

	(void)state;
	assert_non_null(mkdtemp(parent));
	snprintf(file, sizeof(file), "%s/frem-notdir", parent);
	close(open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	assert_int_equal(rundir_new(parent, &one, &err), 0);
	rundir_others(one, count_directory, &n);
	assert_int_equal(n, 0);
	assert_int_equal(rundir_new(parent, &two, &err), 0);
	rundir_others(one, count_directory, &n);
	assert_int_equal(n, 1);
	rundir_free(one);
	rundir_free(two);
	assert_int_equal(unlink(file), 0);
	assert_int_equal(rmdir(parent), 0);
}

static void run_directory_without_a_janitor_is_swept(void **state)
{
	char parent[] = "/tmp/frem-test-XXXXXX", stale[64];
	struct rundir *used = NULL, *next = NULL;
	struct frem_error err = {0};

	(void)state;
	assert_non_null(mkdtemp(parent));
	snprintf(stale, sizeof(stale), "%s/frem-abcdef", parent);
	assert_int_equal(mkdir(stale, 0700), 0);
	assert_int_equal(rundir_new(parent, &used, &err), 0);
	assert_int_equal(access(stale, F_OK), -1);
	/* one that is in use is not */
	assert_int_equal(rundir_new(parent, &next, &err), 0);
	assert_int_equal(access(rundir_path(used), F_OK), 0);
	rundir_free(used);
	rundir_free(next);
	assert_int_equal(rmdir(parent), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(errors_read_from_the_outside_in),
		cmocka_unit_test(long_errors_are_cut),
		cmocka_unit_test(buffers_grow),
		cmocka_unit_test(integers_are_little_endian),
		cmocka_unit_test(digests_round_trip),
		cmocka_unit_test(run_directory_goes_with_its_user),
		cmocka_unit_test(run_directories_find_each_other),
		cmocka_unit_test(run_directory_without_a_janitor_is_swept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

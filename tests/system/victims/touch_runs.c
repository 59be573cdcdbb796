/* SPDX-License-Identifier: GPL-2.0-or-later */
/* touch_runs LAZY-PAGES < TOUCH: the runs of a touch object, one a line: first, pages, ms, misses.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "format/touch.h"

static int decode(uint64_t lazy_pages, struct touch_set **ret, struct frem_error *err)
{
	_cleanup_buffer_ struct buffer b = {0};
	uint8_t header[TOUCH_HEADER_SIZE];
	uint64_t size;
	int r = file_pread_all(STDIN_FILENO, header, sizeof(header), 0);

	if (r < 0)
		return frem_fail(err, FREM_FAILED, -r, "reading the header");
	r = touch_measure(header, sizeof(header), &size, err);
	if (r < 0)
		return r;
	if (buffer_append(&b, NULL, (size_t)size) < 0)
		return frem_oom(err);
	r = file_pread_all(STDIN_FILENO, b.data, b.len, 0);
	if (r < 0)
		return frem_fail(err, FREM_FAILED, -r, "reading the descriptor");
	return touch_decode(b.data, b.len, lazy_pages, ret, err);
}

int main(int argc, char **argv)
{
	_cleanup_touch_set_ struct touch_set *t = NULL;
	struct frem_error err = {0};

	if (argc != 2)
		return 2;
	if (decode(strtoull(argv[1], NULL, 10), &t, &err) < 0) {
		fprintf(stderr, "touch_runs: %s\n", err.text);
		return 1;
	}
	for (size_t i = 0; i < t->n_runs; i++)
		printf("%" PRIu64 " %" PRIu32 " %" PRIu32 " %" PRIu32 "\n", t->runs[i].first,
		       t->runs[i].pages, t->runs[i].ms, t->runs[i].misses);
	return 0;
}

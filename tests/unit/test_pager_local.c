/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Frames read from a plain image directory. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "format/frame.h"
#include "local.h"

#define FILE_PAGES 64

/* Places in the files, in the order of the lazy page numbers: 20, 0, 21 and 6 pages. */
static struct image_extent first[] = {
	{.address = 0x10000, .pages = 8, .first = 0, .file_offset = 3 * PAGE_BYTES},
	{.address = 0x40000, .pages = 7, .first = 8, .file_offset = 11 * PAGE_BYTES},
	{.address = 0x80000, .pages = 5, .first = 15, .file_offset = 40 * PAGE_BYTES},
};
static struct image_extent third[] = {
	{.address = 0x10000, .pages = 21, .first = 20, .file_offset = 0},
};
static struct image_extent fourth[] = {
	{.address = 0x10000, .pages = 6, .first = 41, .file_offset = 58 * PAGE_BYTES},
};
static struct image_task tasks[] = {
	{.pid = 1, .alive = 1, .pages_id = 7, .lazy_pages = 20, .extents = first, .n_extents = 3},
	{.pid = 2, .alive = 0, .first = 20},
	{.pid = 3,
	 .alive = 1,
	 .pages_id = 8,
	 .first = 20,
	 .lazy_pages = 21,
	 .extents = third,
	 .n_extents = 1},
	{.pid = 4,
	 .alive = 1,
	 .pages_id = 9,
	 .first = 41,
	 .lazy_pages = 6,
	 .extents = fourth,
	 .n_extents = 1},
};
static const struct image_map map = {.tasks = tasks, .n_tasks = 4, .lazy_pages = 47};

struct directory {
	char path[64];
	int fd;
	struct local *local;
	struct frem_error err;
};

static void fill(uint8_t *page, unsigned id, uint64_t place)
{
	memset(page, (int)(id * FILE_PAGES + place) & 0xff, PAGE_BYTES);
	page[0] = (uint8_t)id;
	page[1] = (uint8_t)place;
}

static void write_pages(struct directory *d, unsigned id)
{
	uint8_t page[PAGE_BYTES];
	char name[32];
	int fd;

	snprintf(name, sizeof(name), "pages-%u.img", id);
	fd = openat(d->fd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	for (uint64_t i = 0; i < FILE_PAGES; i++) {
		fill(page, id, i);
		assert_int_equal(file_write_all(fd, page, sizeof(page)), 0);
	}
	close(fd);
}

static int setup(void **state)
{
	struct directory *d = calloc(1, sizeof(*d));

	strcpy(d->path, "/tmp/frem-local-XXXXXX");
	assert_non_null(mkdtemp(d->path));
	d->fd = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (unsigned id = 7; id < 10; id++)
		write_pages(d, id);
	assert_int_equal(local_open_images(d->fd, &map, &d->local, &d->err), 0);
	*state = d;
	return 0;
}

static int teardown(void **state)
{
	struct directory *d = *state;

	local_free(d->local);
	close(d->fd);
	file_remove_tree(d->path);
	free(d);
	return 0;
}

static void assert_page(const uint8_t *raw, uint64_t number)
{
	const struct image_extent *x;
	const struct image_task *t;
	uint8_t want[PAGE_BYTES];

	image_map_locate(&map, number, &t, &x);
	fill(want, t->pages_id, x->file_offset / PAGE_BYTES + number - x->first);
	assert_memory_equal(raw, want, PAGE_BYTES);
}

static void every_page_is_its_own(void **state)
{
	struct directory *d = *state;
	uint8_t *raw = malloc(FRAME_RAW_MAX);
	uint32_t zero = 1;

	for (size_t frame = 0; frame < 2; frame++) {
		assert_int_equal(local_read(d->local, frame, raw, &zero, &d->err), 0);
		assert_int_equal(zero, 0);
		for (uint64_t i = 0; i < FRAME_PAGES && frame * FRAME_PAGES + i < 47; i++)
			assert_page(raw + i * PAGE_BYTES, frame * FRAME_PAGES + i);
	}
	free(raw);
}

/* What is missing is never taken for zeros. */
static void a_file_that_ends_early(void **state)
{
	struct directory *d = *state;
	uint8_t *raw = malloc(FRAME_RAW_MAX);
	int fd = openat(d->fd, "pages-9.img", O_WRONLY | O_CLOEXEC);
	uint32_t zero;

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 63 * PAGE_BYTES + 7), 0);
	close(fd);
	assert_int_equal(local_read(d->local, 0, raw, &zero, &d->err), 0);
	assert_true(local_read(d->local, 1, raw, &zero, &d->err) < 0);
	assert_int_equal(d->err.code, FREM_DAMAGED);
	assert_non_null(strstr(d->err.text, "'pages-9.img'"));
	free(raw);
}

static void a_file_that_is_not_there(void **state)
{
	struct directory *d = *state;
	struct local *l = NULL;

	assert_int_equal(unlinkat(d->fd, "pages-8.img", 0), 0);
	assert_true(local_open_images(d->fd, &map, &l, &d->err) < 0);
	assert_null(l);
	assert_non_null(strstr(d->err.text, "'pages-8.img'"));
}

#define LOCAL_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LOCAL_TEST(every_page_is_its_own),
		LOCAL_TEST(a_file_that_ends_early),
		LOCAL_TEST(a_file_that_is_not_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

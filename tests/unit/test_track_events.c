/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What becomes of pages within the window: each kind of change, page by page. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "track_scene.h"

static int skip_without_root(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	return 0;
}

/* One function in the program, then what is expected. */
#define SCENE(setup, act, ...)                     \
	do {                                       \
		struct scene s;                    \
		scene_start(&s, setup);            \
		scene_do(&s, act);                 \
		scene_end(&s);                     \
		scene_expect(&s, __VA_ARGS__, -1); \
		scene_free(&s);                    \
	} while (0)

static void *page(const struct scene *s, unsigned i)
{
	return (void *)(s->c.memory + i * PAGE);
}

/* ---- removed ---- */

static void unmap(const struct scene *s)
{
	read_pages(s, 10, 20);
	unmap_pages(s, 10, 30);
	map_pages(s, 10, 30);
	write_pages(s, 12, 28);
	read_pages(s, 40, 45);
	/* and a second time: these are not image pages any more */
	unmap_pages(s, 12, 28);
	map_pages(s, 12, 28);
	write_pages(s, 12, 28);
}

static void test_unmap(void **state)
{
	(void)state;
	SCENE(NULL, unmap, 10, 20, 40, 45);
}

static void map_over(const struct scene *s)
{
	write_pages(s, 10, 14);
	MUST(mmap(page(s, 8), 16 * PAGE, PROT_READ | PROT_WRITE,
		  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == page(s, 8));
	write_pages(s, 8, 24);
	/* refused: nothing is replaced */
	MUST(mmap(page(s, 50), PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
		  -1, 0) == MAP_FAILED);
	read_pages(s, 50, 52);
}

static void test_map_over(void **state)
{
	(void)state;
	SCENE(NULL, map_over, 10, 14, 50, 52);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_unmap, skip_without_root),
		cmocka_unit_test_setup(test_map_over, skip_without_root),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What becomes of pages within the window: each kind of change, page by page. */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
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

#define HEAP_PAGES 64u

static void grow_heap(const struct scene *s)
{
	uint8_t *end = sbrk(0);

	MUST(!brk(end + (PAGE - (uintptr_t)end % PAGE) % PAGE)); /* to a page border */
	end = sbrk((intptr_t)(HEAP_PAGES * PAGE));
	MUST(end != (void *)-1);
	for (unsigned i = 0; i < HEAP_PAGES; i++)
		end[i * PAGE] = 1;
	s->numbers[0] = (uintptr_t)end;
}

static void shrink_heap(const struct scene *s)
{
	volatile uint8_t *heap = (uint8_t *)s->numbers[0];

	for (unsigned i = 30; i < 50; i++)
		(void)heap[i * PAGE];
	MUST(!brk((void *)(heap + 32 * PAGE - 100)));
	MUST(!brk((void *)(heap + HEAP_PAGES * PAGE)));
	for (unsigned i = 32; i < HEAP_PAGES; i++)
		heap[i * PAGE] = 2;
}

static void test_brk(void **state)
{
	struct scene s;

	(void)state;
	scene_start(&s, grow_heap);
	scene_do(&s, shrink_heap);
	s.start = s.numbers[0];
	scene_end(&s);
	scene_expect(&s, 30, 50, -1);
	scene_free(&s);
}

static void discard(const struct scene *s)
{
	int self = pidfd_open(getpid(), 0);
	struct iovec ranges[2] = {{page(s, 60), 8 * PAGE}, {page(s, 80), 8 * PAGE}};

	MUST(self >= 0);
	read_pages(s, 10, 12);
	MUST(!madvise(page(s, 10), 10 * PAGE, MADV_DONTNEED));
	write_pages(s, 10, 20);
	read_pages(s, 30, 32);
	MUST(!madvise(page(s, 30), 10 * PAGE, MADV_FREE));
	write_pages(s, 30, 40);
	/* this one discards nothing */
	MUST(!madvise(page(s, 50), 2 * PAGE, MADV_PAGEOUT));
	read_pages(s, 50, 52);
	read_pages(s, 60, 61);
	read_pages(s, 87, 88);
	/* before Linux 6.13 it is refused */
	s->numbers[0] = process_madvise(self, ranges, 2, MADV_DONTNEED, 0) < 0;
	write_pages(s, 60, 68);
	write_pages(s, 80, 88);
	close(self);
}

static void test_discard(void **state)
{
	struct scene s;

	(void)state;
	scene_start(&s, NULL);
	scene_do(&s, discard);
	scene_end(&s);
	if (s.numbers[0])
		print_message("process_madvise discards nothing here\n");
	else
		scene_expect(&s, 10, 12, 30, 32, 50, 52, 60, 61, 87, 88, -1);
	scene_free(&s);
}

/* Many small holes: as many stretches as there are pages left. */
static void riddle(const struct scene *s)
{
	for (unsigned i = 0; i < SCENE_PAGES; i += 2) {
		if (i < 128)
			read_pages(s, i, i + 1);
		MUST(!madvise(page(s, i), PAGE, MADV_DONTNEED));
	}
	write_pages(s, 100, 156);
}

static void test_holes(void **state)
{
	struct scene s;
	bool found[SCENE_PAGES];

	(void)state;
	scene_start(&s, NULL);
	scene_do(&s, riddle);
	scene_end(&s);
	scene_found(&s, found);
	for (unsigned i = 0; i < SCENE_PAGES; i++)
		assert_int_equal(found[i], i % 2 ? i >= 100 && i < 156 : i < 128);
	scene_free(&s);
}

/* ---- moved ---- */

static uint8_t *move(const struct scene *s, unsigned first, unsigned pages, unsigned new_pages,
		     int flags, uint8_t *to)
{
	uint8_t *at = mremap(page(s, first), pages * PAGE, new_pages * PAGE, flags, to);

	MUST(at != MAP_FAILED);
	return at;
}

static void move_around(const struct scene *s)
{
	volatile uint8_t *at;

	MUST(!munmap(s->elsewhere, SCENE_PAGES * PAGE));
	/* to a given place; there 3 is touched, and 1 was before; 8 is another page by then */
	read_pages(s, 1, 2);
	at = move(s, 0, 16, 16, MREMAP_MAYMOVE | MREMAP_FIXED, s->elsewhere);
	(void)at[3 * PAGE];
	map_pages(s, 0, 16);
	write_pages(s, 8, 9);
	/* and on: 5 is touched in the third place */
	at = mremap((void *)at, 16 * PAGE, 16 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
		    s->elsewhere + 100 * PAGE);
	MUST(at == s->elsewhere + 100 * PAGE);
	at[5 * PAGE] = 1;
	/* where it is removed from there, 6 is touched before and 7 after it was replaced */
	(void)at[6 * PAGE];
	MUST(!munmap((void *)(at + 6 * PAGE), 2 * PAGE));
	MUST(mmap((void *)(at + 6 * PAGE), 2 * PAGE, PROT_READ | PROT_WRITE,
		  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == at + 6 * PAGE);
	at[7 * PAGE] = 1;
	/* it grows, for which there is no room */
	at = move(s, 32, 16, 64, MREMAP_MAYMOVE, NULL);
	MUST(at != page(s, 32));
	(void)at[7 * PAGE];
	at[40 * PAGE] = 1; /* new */
	/* it shrinks: 71 is touched before, 70 after it was replaced */
	read_pages(s, 71, 72);
	at = move(s, 64, 16, 6, 0, NULL);
	MUST(at == page(s, 64));
	map_pages(s, 70, 80);
	write_pages(s, 70, 71);
	read_pages(s, 65, 66);
	/* the old place stays mapped, with nothing in it */
	at = move(s, 96, 16, 16, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
	at[2 * PAGE] = 1;
	write_pages(s, 103, 104);
	/* over other pages, of which 130 was touched */
	read_pages(s, 130, 131);
	at = move(s, 140, 16, 16, MREMAP_MAYMOVE | MREMAP_FIXED, page(s, 120));
	at[9 * PAGE] = 1;
}

static void test_move(void **state)
{
	(void)state;
	SCENE(NULL, move_around, 1, 2, 3, 4, 5, 7, 39, 40, 65, 66, 71, 72, 98, 99, 130, 131, 149,
	      150);
}

/* ---- several threads ---- */

#define THREADS 4u

struct worker {
	const struct scene *scene;
	unsigned first;
	pthread_t thread;
};

/* Touches and unmaps its share of the pages, one by one, and a lot of other memory. */
static void *unmap_one_by_one(void *arg)
{
	const struct worker *w = arg;
	size_t size = 64 * PAGE;

	for (unsigned i = 0; i < SCENE_PAGES / THREADS; i++) {
		volatile uint8_t *other = mmap(NULL, size, PROT_READ | PROT_WRITE,
					       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		MUST(other != MAP_FAILED);
		other[i % 64 * PAGE] = 1;
		read_pages(w->scene, w->first + i, w->first + i + 1);
		unmap_pages(w->scene, w->first + i, w->first + i + 1);
		MUST(!munmap((void *)other, size));
	}
	return NULL;
}

static void unmap_by_threads(const struct scene *s)
{
	struct worker w[THREADS];

	for (unsigned i = 0; i < THREADS; i++) {
		w[i] = (struct worker){.scene = s, .first = i * SCENE_PAGES / THREADS};
		MUST(!pthread_create(&w[i].thread, NULL, unmap_one_by_one, &w[i]));
	}
	for (unsigned i = 0; i < THREADS; i++)
		MUST(!pthread_join(w[i].thread, NULL));
}

static void test_threads(void **state)
{
	(void)state;
	SCENE(NULL, unmap_by_threads, 0, (int)SCENE_PAGES);
}

/* ---- others ---- */

static void read_some(const struct scene *s)
{
	read_pages(s, 20, 30);
}

static void unmap_all(const struct scene *s)
{
	unmap_pages(s, 0, SCENE_PAGES);
}

/* An untracked process has the same addresses, and does away with them. */
static void test_untracked(void **state)
{
	struct scene s;
	int status;
	pid_t pid;

	(void)state;
	scene_start(&s, NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		read_pages(&s, 50, 60);
		unmap_all(&s);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	scene_do(&s, read_some);
	scene_end(&s);
	scene_expect(&s, 20, 30, -1);
	scene_free(&s);
}

/* How many BPF links of this process are attached to tracepoints. */
static unsigned attached(void)
{
	DIR *d = opendir("/proc/self/fdinfo");
	struct dirent *e;
	unsigned n = 0;

	assert_non_null(d);
	while ((e = readdir(d))) {
		char text[512] = "";
		int fd = openat(dirfd(d), e->d_name, O_RDONLY | O_CLOEXEC);

		if (fd < 0)
			continue;
		if (read(fd, text, sizeof(text) - 1) > 0)
			n += strstr(text, "link_type:\traw_tracepoint") ||
			     strstr(text, "link_type:\tperf");
		close(fd);
	}
	closedir(d);
	return n;
}

static void test_detached(void **state)
{
	struct scene s;

	(void)state;
	scene_start(&s, NULL);
	assert_true(attached() >= 6);
	scene_do(&s, read_some);
	scene_end(&s);
	assert_int_equal(attached(), 0);
	scene_expect(&s, 20, 30, -1);
	scene_free(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_unmap, skip_without_root),
		cmocka_unit_test_setup(test_map_over, skip_without_root),
		cmocka_unit_test_setup(test_brk, skip_without_root),
		cmocka_unit_test_setup(test_discard, skip_without_root),
		cmocka_unit_test_setup(test_holes, skip_without_root),
		cmocka_unit_test_setup(test_move, skip_without_root),
		cmocka_unit_test_setup(test_threads, skip_without_root),
		cmocka_unit_test_setup(test_untracked, skip_without_root),
		cmocka_unit_test_setup(test_detached, skip_without_root),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

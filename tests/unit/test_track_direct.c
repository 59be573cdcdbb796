/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pages that a device or the kernel uses within the window, without an access by the processor. */
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/io_uring.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cmocka.h>

#include "track_scene.h"

#define FILE_PAGES 16u

static int file = -1; /* of the program */

static int skip_without_root(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	return 0;
}

/* In the directory that the tests run in; tmpfs and others have no direct I/O. */
static int open_direct(void)
{
	return open(".", O_TMPFILE | O_RDWR | O_DIRECT | O_CLOEXEC, 0600);
}

static int skip_without_direct_io(void **state)
{
	int fd;

	skip_without_root(state);
	fd = open_direct();
	if (fd < 0) {
		print_message("no direct I/O here: %s\n", strerror(errno));
		skip();
	}
	close(fd);
	return 0;
}

static void make_file(const struct scene *s)
{
	void *text = mmap(NULL, FILE_PAGES * PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)s;
	MUST(text != MAP_FAILED);
	memset(text, 'x', FILE_PAGES * PAGE);
	file = open_direct();
	MUST(file >= 0);
	MUST(pwrite(file, text, FILE_PAGES * PAGE, 0) == (ssize_t)(FILE_PAGES * PAGE));
}

static void *page(const struct scene *s, unsigned i)
{
	return (void *)(s->c.memory + i * PAGE);
}

static void run(scene_function act, struct scene *s)
{
	scene_start(s, make_file);
	scene_do(s, act);
	scene_end(s);
}

/* ---- system calls ---- */

static void read_and_write(const struct scene *s)
{
	struct iovec parts[2] = {{page(s, 30), PAGE}, {page(s, 40), 2 * PAGE}};

	MUST(pread(file, page(s, 10), 2 * PAGE, 0) == 2 * PAGE);
	MUST(pwrite(file, page(s, 20), 3 * PAGE, PAGE) == 3 * PAGE);
	MUST(preadv(file, parts, 2, 0) == 3 * PAGE);
	MUST(lseek(file, 0, SEEK_SET) == 0);
	/* a part of a page, and parts of two */
	MUST(read(file, (char *)page(s, 50) + PAGE / 2, PAGE / 2) == PAGE / 2);
	/* not the image's page any more */
	unmap_pages(s, 60, 64);
	map_pages(s, 60, 64);
	MUST(pread(file, page(s, 59), 3 * PAGE, 0) == 3 * PAGE);
	/* at the end of the file there is less than asked for, but all of it may be used */
	MUST(pread(file, page(s, 70), 2 * PAGE, (FILE_PAGES - 1) * PAGE) == PAGE);
}

static void test_read_and_write(void **state)
{
	struct scene s;

	(void)state;
	run(read_and_write, &s);
	scene_expect(&s, 10, 12, 20, 23, 30, 31, 40, 42, 50, 51, 59, 60, 70, 72, -1);
	scene_free(&s);
}

static void submit_aio(const struct scene *s)
{
	struct iocb read = {.aio_lio_opcode = IOCB_CMD_PREAD,
			    .aio_fildes = (uint32_t)file,
			    .aio_buf = (uintptr_t)page(s, 10),
			    .aio_nbytes = UINT64_C(2) * PAGE};
	struct iocb write = {.aio_lio_opcode = IOCB_CMD_PWRITE,
			     .aio_fildes = (uint32_t)file,
			     .aio_buf = (uintptr_t)page(s, 20),
			     .aio_nbytes = PAGE,
			     .aio_offset = PAGE};
	struct iocb *list[2] = {&read, &write};
	struct io_event done[2];
	aio_context_t context = 0;

	MUST(!syscall(SYS_io_setup, 2, &context));
	MUST(syscall(SYS_io_submit, context, 2, list) == 2);
	MUST(syscall(SYS_io_getevents, context, 2, 2, done, NULL) == 2);
	MUST(done[0].res > 0 && done[1].res > 0);
	MUST(!syscall(SYS_io_destroy, context));
}

static void test_aio(void **state)
{
	struct scene s;

	(void)state;
	run(submit_aio, &s);
	scene_expect(&s, 10, 12, 20, 21, -1);
	scene_free(&s);
}

/* ---- io_uring ---- */

struct uring {
	int fd;
	uint8_t *submit, *complete;
	struct io_uring_sqe *entries;
	struct io_uring_params p;
};

static void *map_ring(const struct uring *u, size_t size, uint64_t offset)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, u->fd, (off_t)offset);

	MUST(p != MAP_FAILED);
	return p;
}

static void open_uring(struct uring *u)
{
	u->fd = (int)syscall(SYS_io_uring_setup, 4, &u->p);
	MUST(u->fd >= 0);
	u->submit = map_ring(u, u->p.sq_off.array + u->p.sq_entries * sizeof(uint32_t),
			     IORING_OFF_SQ_RING);
	u->complete = map_ring(u, u->p.cq_off.cqes + u->p.cq_entries * sizeof(struct io_uring_cqe),
			       IORING_OFF_CQ_RING);
	u->entries = map_ring(u, u->p.sq_entries * sizeof(*u->entries), IORING_OFF_SQES);
}

/* Submits one read and waits for it. */
static void read_by_uring(struct uring *u, uint8_t operation, void *to, uint32_t size)
{
	uint32_t *tail = (uint32_t *)(u->submit + u->p.sq_off.tail);
	uint32_t *head = (uint32_t *)(u->complete + u->p.cq_off.head);
	uint32_t i = *tail & (u->p.sq_entries - 1);
	const struct io_uring_cqe *done = (struct io_uring_cqe *)(u->complete + u->p.cq_off.cqes) +
					  (*head & (u->p.cq_entries - 1));

	u->entries[i] = (struct io_uring_sqe){
		.opcode = operation, .fd = file, .addr = (uintptr_t)to, .len = size};
	((uint32_t *)(u->submit + u->p.sq_off.array))[i] = i;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	MUST(syscall(SYS_io_uring_enter, u->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) == 1);
	MUST(done->res == (int)size);
	__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
}

static void use_uring(const struct scene *s)
{
	struct iovec buffers[2] = {{page(s, 30), 2 * PAGE}, {page(s, 40), PAGE}};
	struct uring u = {};

	open_uring(&u);
	read_by_uring(&u, IORING_OP_READ, page(s, 10), 2 * PAGE);
	/* registered buffers are used when they are registered: they are pinned in memory then */
	MUST(!syscall(SYS_io_uring_register, u.fd, IORING_REGISTER_BUFFERS, buffers, 2));
	read_by_uring(&u, IORING_OP_READ_FIXED, page(s, 30), 2 * PAGE);
	close(u.fd);
}

static void test_uring(void **state)
{
	struct io_uring_params p = {};
	int fd = (int)syscall(SYS_io_uring_setup, 1, &p);
	struct scene s;

	(void)state;
	if (fd < 0) {
		print_message("no io_uring here: %s\n", strerror(errno));
		skip();
	}
	close(fd);
	run(use_uring, &s);
	scene_expect(&s, 10, 12, 30, 32, 40, 41, -1);
	scene_free(&s);
}

/* ---- pages lent to a pipe ---- */

static void lend_to_pipe(const struct scene *s)
{
	struct iovec parts[2] = {{page(s, 10), PAGE}, {page(s, 20), 2 * PAGE}};
	int ends[2];

	MUST(!pipe(ends));
	MUST(vmsplice(ends[1], parts, 2, 0) == 3 * PAGE);
	close(ends[0]);
	close(ends[1]);
}

static void test_vmsplice(void **state)
{
	struct scene s;

	(void)state;
	scene_start(&s, NULL);
	scene_do(&s, lend_to_pipe);
	scene_end(&s);
	scene_expect(&s, 10, 11, 20, 22, -1);
	scene_free(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_read_and_write, skip_without_direct_io),
		cmocka_unit_test_setup(test_aio, skip_without_direct_io),
		cmocka_unit_test_setup(test_uring, skip_without_direct_io),
		cmocka_unit_test_setup(test_vmsplice, skip_without_root),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "pager_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/file.h"
#include "criu/image_dir.h"
#include "format/manifest.h"
#include "format/touch.h"
#include "pager_server.h"
#include "store/store.h"

#define PID(task) (100 + (int)(task)) /* as in the image */
#define RESTORE_FINISHED 0x52535446
#define OK(call)                                                \
	do {                                                    \
		if ((call) < 0)                                 \
			fail_msg("%s: %s", #call, f->err.text); \
	} while (0)

/* ---- content ---- */

void page_content(uint64_t number, void *out)
{
	uint64_t *word = out, x = number * UINT64_C(0x9e3779b97f4a7c15) + 1;
	bool compressible = number / FRAME_PAGES % 64 == 40;

	for (size_t i = 0; i < PAGE_BYTES / sizeof(*word); i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		word[i] = number % 13 == 0 ? 0 : compressible && i % 8 ? number : x;
	}
}

uint64_t touch_page(const struct fixture *f, uint64_t place)
{
	uint64_t all = f->tasks * f->pages;

	return (place * 7919) % all; /* a prime: a permutation of all pages */
}

/* ---- CRIU's image files, by hand ---- */

static void add_varint(struct buffer *b, uint64_t v)
{
	do {
		uint8_t byte = (uint8_t)((v & 127) | (v > 127 ? 128 : 0));

		buffer_append(b, &byte, 1);
		v >>= 7;
	} while (v);
}

static void add_number(struct buffer *b, unsigned field, uint64_t v)
{
	add_varint(b, field << 3);
	add_varint(b, v);
}

static void add_bytes(struct buffer *b, unsigned field, const void *data, size_t n)
{
	add_varint(b, field << 3 | 2);
	add_varint(b, n);
	buffer_append(b, data, n);
}

static void add_entry(struct buffer *file, struct buffer *entry)
{
	uint8_t size[4];

	put_le32(size, (uint32_t)entry->len);
	buffer_append(file, size, 4);
	buffer_append(file, entry->data, entry->len);
	buffer_done(entry);
}

static void start_file(struct buffer *file, uint32_t magic)
{
	uint8_t bytes[8];

	put_le32(bytes, 0x54564319);
	put_le32(bytes + 4, magic);
	buffer_append(file, bytes, 8);
}

static void write_file(int dirfd, const char *name, const struct buffer *b)
{
	int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(file_write_all(fd, b->data, b->len), 0);
	close(fd);
}

static void write_inventory(int dirfd)
{
	_cleanup_buffer_ struct buffer file = {0};
	struct buffer entry = {0};
	uint8_t magic[4];

	put_le32(magic, 0x58313116);
	buffer_append(&file, magic, 4);
	add_number(&entry, 1, 2);
	add_entry(&file, &entry);
	write_file(dirfd, "inventory.img", &file);
}

static void write_pstree(int dirfd, unsigned tasks)
{
	_cleanup_buffer_ struct buffer file = {0};

	start_file(&file, 0x50273030);
	for (unsigned i = 0; i < tasks; i++) {
		struct buffer entry = {0};

		add_number(&entry, 1, (uint64_t)PID(i));
		add_number(&entry, 2, i ? (uint64_t)PID(0) : 0);
		add_number(&entry, 5, (uint64_t)PID(i));
		add_entry(&file, &entry);
	}
	write_file(dirfd, "pstree.img", &file);
}

static void write_core(int dirfd, unsigned task)
{
	_cleanup_buffer_ struct buffer file = {0};
	struct buffer entry = {0}, core = {0};
	char name[32];

	add_number(&core, 1, 1);
	add_bytes(&core, 6, "task", 4);
	add_bytes(&entry, 3, core.data, core.len);
	buffer_done(&core);
	start_file(&file, 0x55053847);
	add_entry(&file, &entry);
	snprintf(name, sizeof(name), "core-%d.img", PID(task));
	write_file(dirfd, name, &file);
}

/* One eager page first, so that file offsets and page numbers differ; then the lazy ones in two
 * extents that lie side by side in address, with a hole of one page in the file. */
static void write_pagemap(int dirfd, unsigned task, uint64_t pages)
{
	_cleanup_buffer_ struct buffer file = {0};
	struct buffer entry = {0};
	char name[32];
	int fd;

	start_file(&file, 0x56084025);
	add_number(&entry, 1, task + 1);
	add_entry(&file, &entry);
	for (int i = 0; i < 3; i++) {
		static const uint64_t flags[] = {4, 6, 6};
		uint64_t first = i < 2 ? 0 : pages / 2;
		uint64_t n = i == 0 ? 1 : i == 1 ? pages / 2 : pages - pages / 2;

		add_number(&entry, 1,
			   i == 0 ? ADDRESS(task) - PAGE_BYTES
				  : ADDRESS(task) + (HOLE + first) * PAGE_BYTES);
		add_number(&entry, 4, flags[i]);
		add_number(&entry, 5, n);
		add_entry(&file, &entry);
	}
	snprintf(name, sizeof(name), "pagemap-%d.img", PID(task));
	write_file(dirfd, name, &file);
	snprintf(name, sizeof(name), "pages-%u.img", task + 1);
	fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(ftruncate(fd, (off_t)((pages + 1) * PAGE_BYTES)), 0);
	close(fd);
}

/* ---- the objects ---- */

static void encode(struct fixture *f, uint64_t pages, bool touch, struct frame_index **ret,
		   struct buffer *out)
{
	struct frame_codec *codec;
	uint8_t *raw = malloc(FRAME_RAW_MAX);

	OK(frame_codec_new(1, &codec, &f->err));
	OK(frame_index_new(pages, ret, &f->err));
	for (size_t i = 0; i < (*ret)->frames; i++) {
		unsigned n = frame_pages(*ret, i);

		for (unsigned k = 0; k < n; k++)
			page_content(touch ? touch_page(f, i * FRAME_PAGES + k)
					   : i * FRAME_PAGES + k,
				     raw + (size_t)k * PAGE_BYTES);
		OK(frame_encode(codec, raw, n, out, &(*ret)->entries[i], &f->err));
	}
	frame_index_seal(*ret);
	frame_codec_free(codec);
	free(raw);
}

static void put_object(struct fixture *f, const char *object, const struct buffer *b)
{
	char key[NAME_KEY_SIZE];
	struct store *s;

	name_key(&f->id, object, key);
	OK(store_open(f->store, &s, &f->err));
	OK(store_put_bytes(s, key, b->data, b->len, false, &f->err));
	store_free(s);
}

static void make_touch(struct fixture *f, uint64_t pages, const struct buffer *manifest)
{
	_cleanup_buffer_ struct buffer frames = {0}, object = {0};
	struct touch_set *t = calloc(1, sizeof(*t));

	t->pages = pages;
	t->n_runs = (size_t)pages;
	t->runs = calloc((size_t)pages, sizeof(*t->runs));
	for (uint64_t i = 0; i < pages; i++)
		t->runs[i] = (struct touch_run){.first = touch_page(f, i), .pages = 1};
	for (uint64_t i = pages - f->untouched; i < pages; i++)
		t->runs[i].ms = TOUCH_NEVER;
	t->info.restarts = f->restarts;
	strcpy(t->info.backend, "made-up");
	strcpy(t->info.ended, "asked");
	manifest_digest(manifest->data, manifest->len, t->manifest);
	encode(f, pages, true, &t->index, &frames);
	OK(touch_encode(t, &object, &f->err));
	buffer_append(&object, frames.data, frames.len);
	put_object(f, OBJECT_TOUCH, &object);
	touch_set_free(t);
}

static void make_manifest(struct fixture *f, const struct image_map *map, const struct buffer *head,
			  const struct buffer *pages, struct buffer *out)
{
	struct manifest_task tasks[MAX_TASKS] = {0};
	struct manifest m = {.id = f->id,
			     .created = 1,
			     .frem_version = "1",
			     .criu_version = "4.2",
			     .kernel = "6",
			     .arch = "x86_64",
			     .image_bytes = (map->lazy_pages + map->eager_pages) * PAGE_BYTES,
			     .lazy_pages = map->lazy_pages,
			     .eager_pages = map->eager_pages,
			     .head.size = head->len,
			     .pages.size = pages->len,
			     .tasks = tasks,
			     .n_tasks = map->n_tasks};

	digest_of(head->data, head->len, m.head.digest, DIGEST_SIZE);
	digest_of(pages->data, pages->len, m.pages.digest, DIGEST_SIZE);
	for (size_t i = 0; i < map->n_tasks; i++)
		tasks[i] = (struct manifest_task){.pid = map->tasks[i].pid,
						  .ppid = map->tasks[i].ppid,
						  .comm = "task",
						  .threads = 1,
						  .lazy_pages = map->tasks[i].lazy_pages};
	OK(manifest_encode(&m, out, &f->err));
}

void make_checkpoint(struct fixture *f, unsigned tasks, uint64_t pages, uint64_t touch)
{
	_cleanup_buffer_ struct buffer head = {0}, data = {0}, manifest = {0};
	_cleanup_image_map_ struct image_map *map = NULL;
	_cleanup_frame_index_ struct frame_index *index = NULL;
	char path[160];
	int dump;

	f->tasks = tasks;
	f->pages = pages;
	snprintf(path, sizeof(path), "%.64s/dump", f->dir);
	assert_int_equal(mkdir(path, 0700), 0);
	dump = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	write_inventory(dump);
	write_pstree(dump, tasks);
	for (unsigned i = 0; i < tasks; i++) {
		write_core(dump, i);
		write_pagemap(dump, i, pages);
	}
	OK(image_map_read(dump, &map, &f->err));
	encode(f, tasks * pages, false, &index, &data);
	OK(image_dir_pack(dump, map, index, &head, &f->err));
	make_manifest(f, map, &head, &data, &manifest);
	put_object(f, OBJECT_PAGES, &data);
	put_object(f, OBJECT_HEAD, &head);
	put_object(f, OBJECT_MANIFEST, &manifest);
	if (touch)
		make_touch(f, touch, &manifest);
	close(dump);
}

char *object_path(const struct fixture *f, const char *object, char out[160])
{
	char key[NAME_KEY_SIZE];

	name_key(&f->id, object, key);
	if (snprintf(out, 160, "%s/%s", f->store, key) >= 160)
		fail_msg("'%s' is too long", key);
	return out;
}

/* ---- the fixture ---- */

static int open_dir(const struct fixture *f, const char *name)
{
	char path[160];

	snprintf(path, sizeof(path), "%.64s/%.32s", f->dir, name);
	assert_int_equal(mkdir(path, 0700), 0);
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static bool killed; /* the test has killed some process */

int fixture_setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	killed = false;
	strcpy(f->dir, "/tmp/frem-pager-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->store, sizeof(f->store), "%s/store", f->dir);
	close(open_dir(f, "store"));
	f->images = open_dir(f, "images");
	f->work = open_dir(f, "work");
	f->criu = -1;
	f->id = (struct checkpoint_name){.name = "job", .seq = 1};
	f->control = mmap(NULL, sizeof(*f->control), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	f->control->pages_open = f->control->touch_open = -1;
	f->server = pager_server_start(f->store, f->control, f->url);
	*state = f;
	return 0;
}

int fixture_teardown(void **state)
{
	struct fixture *f = *state;

	pager_free(f->pager);
	for (unsigned i = 0; i < MAX_TASKS; i++) {
		if (f->task[i] > 0) {
			kill(f->task[i], SIGKILL);
			waitpid(f->task[i], NULL, 0);
		}
	}
	kill(f->server, SIGKILL);
	waitpid(f->server, NULL, 0);
	cleanup_close(&f->criu);
	close(f->images);
	close(f->work);
	munmap(f->control, sizeof(*f->control));
	file_remove_tree(f->dir);
	free(f);
	return 0;
}

void start_pager(struct fixture *f, enum pager_mode mode)
{
	struct pager_options o = {.store = f->local ? f->store : f->url,
				  .store_timeout_set = f->store_timeout_ms > 0,
				  .store_timeout_ms = f->store_timeout_ms,
				  .id = f->id,
				  .mode = mode,
				  .record = f->record,
				  .record_ms = f->record_ms,
				  .images_fd = f->images,
				  .work_fd = f->work};

	OK(pager_start(&o, &f->pager, &f->err));
}

bool event_within(struct fixture *f, int ms, struct pager_event *ret)
{
	if (pager_next_event(f->pager, ms, ret) != 1)
		return false;
	if (ret->type == PAGER_EVENT_NOTICE && strstr(ret->notice, "was killed") && !killed)
		fail_msg("the pager process crashed: %s", ret->notice);
	return true;
}

void expect_event(struct fixture *f, enum pager_event_type type, struct pager_event *ret)
{
	struct pager_event e;

	do {
		if (!event_within(f, WAIT_MS, &e))
			fail_msg("event %d did not come", type);
	} while (e.type == PAGER_EVENT_NOTICE && type != PAGER_EVENT_NOTICE);
	if (e.type != type)
		fail_msg("event %d instead of %d: %s%s", e.type, type, e.err.text, e.notice);
	if (ret)
		*ret = e;
}

/* ---- tasks ---- */

static void connect_as_criu(struct fixture *f)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};

	if (f->criu >= 0)
		return;
	snprintf(a.sun_path, sizeof(a.sun_path), "%s/work/lazy-pages.socket", f->dir);
	f->criu = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(f->criu, (struct sockaddr *)&a, sizeof(a)), 0);
}

static void send_fd(int sock, int fd)
{
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	char filler = 0;
	struct iovec iov = {.iov_base = &filler, .iov_len = 1};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control.space,
			   .msg_controllen = sizeof(control.space)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	if (sendmsg(sock, &m, MSG_NOSIGNAL) != 1)
		_exit(90);
}

/* What CRIU and its restorer do for a task: the descriptor goes out first, the ranges are
 * registered later, and the task's own descriptor is closed. */
static void become_restored(struct fixture *f, unsigned task)
{
	struct uffdio_api api = {.api = UFFD_API,
				 .features = UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_EVENT_REMAP |
					     UFFD_FEATURE_EVENT_UNMAP | UFFD_FEATURE_EVENT_REMOVE};
	uint64_t len = (f->pages + 2 * HOLE) * PAGE_BYTES;
	struct uffdio_register reg = {.range = {.start = ADDRESS(task), .len = len},
				      .mode = UFFDIO_REGISTER_MODE_MISSING};
	int32_t pid = PID(task);
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) < 0)
		_exit(91);
	if (send(f->criu, &pid, sizeof(pid), MSG_NOSIGNAL) != sizeof(pid))
		_exit(92);
	send_fd(f->criu, fd);
	if (mmap((void *)ADDRESS(task), len, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED)
		_exit(93);
	madvise((void *)ADDRESS(task), len, MADV_NOHUGEPAGE);
	if (ioctl(fd, UFFDIO_REGISTER, &reg) < 0)
		_exit(94);
	close(fd);
}

/* A restored task has no descriptor of frem's. */
static void keep_only(int a, int b)
{
	for (int fd = 3; fd < 256; fd++)
		if (fd != a && fd != b)
			close(fd);
}

void start_task(struct fixture *f, unsigned i, int (*body)(struct fixture *f))
{
	int ready[2];
	char byte;

	connect_as_criu(f);
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	f->task[i] = fork();
	if (f->task[i] == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		keep_only(f->criu, ready[1]);
		become_restored(f, i);
		if (write(ready[1], "", 1) != 1)
			_exit(95);
		while (!f->control->go)
			usleep(500);
		_exit(body(f));
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
}

void say_restored(struct fixture *f)
{
	uint32_t word = RESTORE_FINISHED;

	assert_int_equal(send(f->criu, &word, sizeof(word), MSG_NOSIGNAL), sizeof(word));
	OK(pager_restored(f->pager, f->task[0], &f->err));
}

void let_run(struct fixture *f)
{
	pager_resumed(f->pager);
	f->control->go = 1;
}

void finish_restore(struct fixture *f)
{
	say_restored(f);
	let_run(f);
}

void restore_all(struct fixture *f, enum pager_mode mode, int (*body)(struct fixture *f))
{
	start_pager(f, mode);
	expect_event(f, PAGER_EVENT_READY, NULL);
	for (unsigned i = 0; i < f->tasks; i++)
		start_task(f, i, body);
	finish_restore(f);
}

int task_status(struct fixture *f, unsigned i)
{
	uint64_t start = clock_ns();
	int status;

	while (waitpid(f->task[i], &status, WNOHANG) == 0) {
		if (clock_ms_since(start) > WAIT_MS)
			fail_msg("task %u does not end; a wrong page: %d, step %d", i,
				 f->control->bad - 1, f->control->step);
		usleep(1000);
	}
	f->task[i] = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void expect_all_right(struct fixture *f)
{
	expect_event(f, PAGER_EVENT_TOUCHED, NULL);
	expect_event(f, PAGER_EVENT_DRAINED, NULL);
	assert_int_equal(task_status(f, 0), 0);
}

uint8_t *page_at(unsigned task, uint64_t page)
{
	return (uint8_t *)ADDRESS(task) + (HOLE + page) * PAGE_BYTES;
}

bool right_at(struct fixture *f, const void *at, unsigned task, uint64_t page)
{
	uint64_t number = task * f->pages + page;
	uint8_t want[PAGE_BYTES];

	page_content(number, want);
	if (memcmp(at, want, PAGE_BYTES) == 0)
		return true;
	f->control->bad = (int)number + 1;
	return false;
}

bool right(struct fixture *f, unsigned task, uint64_t page)
{
	return right_at(f, page_at(task, page), task, page);
}

bool all_right(struct fixture *f, unsigned task, uint64_t from, uint64_t to)
{
	for (uint64_t i = from; i < to; i++)
		if (!right(f, task, i))
			return false;
	return true;
}

bool is_zero(const void *at)
{
	static const uint8_t zero[PAGE_BYTES];

	return memcmp(at, zero, PAGE_BYTES) == 0;
}

void wait_step(struct fixture *f, int step)
{
	uint64_t start = clock_ns();

	while (f->control->step < step && clock_ms_since(start) < WAIT_MS)
		usleep(200);
}

/* ---- the pager's processes ---- */

static pid_t child_named(pid_t parent, const char *name)
{
	char path[64], comm[32], word[16];
	FILE *children;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", parent, parent);
	children = fopen(path, "re");
	while (children && fscanf(children, "%15s", word) == 1) {
		pid_t pid = (pid_t)strtol(word, NULL, 10);
		FILE *c;

		snprintf(path, sizeof(path), "/proc/%d/comm", pid);
		c = fopen(path, "re");
		if (c && fscanf(c, "%31s", comm) == 1 && strcmp(comm, name) == 0) {
			fclose(c);
			fclose(children);
			return pid;
		}
		if (c)
			fclose(c);
	}
	if (children)
		fclose(children);
	return 0;
}

pid_t keeper_pid(void)
{
	return child_named(getpid(), "frem-keeper");
}

pid_t pager_pid(void)
{
	return child_named(keeper_pid(), "frem-pager");
}

pid_t next_holder(pid_t old)
{
	uint64_t start = clock_ns();
	pid_t pid;

	while ((pid = child_named(keeper_pid(), "memory-holder")) <= 1 || pid == old) {
		if (clock_ms_since(start) > WAIT_MS)
			fail_msg("no other holder is there");
		usleep(200);
	}
	return pid;
}

pid_t await_pager(void)
{
	uint64_t start = clock_ns();
	pid_t pid;

	/* one that was just made has not got its name yet */
	while ((pid = pager_pid()) <= 1 && clock_ms_since(start) < 10000)
		usleep(1000);
	return pid;
}

bool try_kill(pid_t pid)
{
	killed = true;
	return kill(pid, SIGKILL) == 0;
}

void kill_process(pid_t pid)
{
	assert_true(pid > 1);
	assert_true(try_kill(pid));
}

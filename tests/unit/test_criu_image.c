/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Readers of CRIU's images, given images that are made up here, good and hostile; finding CRIU. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/file.h"
#include "criu/criu.h"
#include "criu/image_dir.h"
#include "criu/image_files.h"
#include "criu/image_map.h"

#define LAZY 2
#define PRESENT 4
#define PARENT 1

/* A protobuf message, written by hand so that wrong ones can be, too. */
static void put_varint(struct buffer *b, uint64_t v)
{
	do {
		uint8_t c = (uint8_t)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));

		assert_int_equal(buffer_append(b, &c, 1), 0);
		v >>= 7;
	} while (v);
}

static void put_number(struct buffer *b, unsigned field, uint64_t v)
{
	put_varint(b, field << 3);
	put_varint(b, v);
}

static void put_bytes(struct buffer *b, unsigned field, const void *data, size_t n)
{
	put_varint(b, field << 3 | 2);
	put_varint(b, n);
	assert_int_equal(buffer_append(b, data, n), 0);
}

static void put_text(struct buffer *b, unsigned field, const char *text)
{
	put_bytes(b, field, text, strlen(text));
}

static void put_message(struct buffer *b, unsigned field, struct buffer *inner)
{
	put_bytes(b, field, inner->data, inner->len);
	buffer_done(inner);
}

static void put_magic(struct buffer *b, uint32_t magic)
{
	uint8_t bytes[8];

	put_le32(bytes, 0x54564319);
	put_le32(bytes + 4, magic);
	assert_int_equal(buffer_append(b, bytes, 8), 0);
}

/* Adds an entry to an image file, and empties it. */
static void put_entry(struct buffer *file, struct buffer *entry)
{
	uint8_t size[4];

	put_le32(size, (uint32_t)entry->len);
	assert_int_equal(buffer_append(file, size, 4), 0);
	assert_int_equal(buffer_append(file, entry->data, entry->len), 0);
	buffer_done(entry);
}

struct image {
	char dir[64];
	int fd;
	struct image_map *map;
	struct frem_error err;
};

static void write_file(struct image *im, const char *name, struct buffer *data)
{
	int fd = openat(im->fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(file_write_all(fd, data->data, data->len), 0);
	close(fd);
	buffer_done(data);
}

static void write_inventory(struct image *im, unsigned version)
{
	struct buffer file = {0}, entry = {0};
	uint8_t magic[4];

	put_le32(magic, 0x58313116);
	assert_int_equal(buffer_append(&file, magic, 4), 0);
	put_number(&entry, 1, version);
	put_entry(&file, &entry);
	write_file(im, "inventory.img", &file);
}

static void write_core(struct image *im, int pid, unsigned task_state)
{
	struct buffer file = {0}, entry = {0}, tc = {0};
	char name[32];

	put_magic(&file, 0x55053847);
	put_number(&entry, 1, 1);
	put_number(&tc, 1, task_state);
	put_text(&tc, 6, "a-program");
	put_message(&entry, 3, &tc);
	put_entry(&file, &entry);
	snprintf(name, sizeof(name), "core-%d.img", pid);
	write_file(im, name, &file);
}

static void write_pstree(struct image *im, const int *pids, size_t n)
{
	struct buffer file = {0}, entry = {0};

	put_magic(&file, 0x50273030);
	for (size_t i = 0; i < n; i++) {
		put_number(&entry, 1, (uint64_t)pids[i]);
		put_number(&entry, 2, i ? (uint64_t)pids[0] : 0);
		put_number(&entry, 5, (uint64_t)pids[i]);
		put_entry(&file, &entry);
	}
	write_file(im, "pstree.img", &file);
}

struct range {
	uint64_t address, pages;
	unsigned flags;
};

static void write_pagemap(struct image *im, const char *name, unsigned id, const struct range *r,
			  size_t n)
{
	struct buffer file = {0}, entry = {0};
	uint64_t pages = 0;
	char pages_name[64];
	int fd;

	put_magic(&file, 0x56084025);
	put_number(&entry, 1, id);
	put_entry(&file, &entry);
	for (size_t i = 0; i < n; i++) {
		put_number(&entry, 1, r[i].address);
		put_number(&entry, 2, 0);
		put_number(&entry, 4, r[i].flags);
		put_number(&entry, 5, r[i].pages);
		put_entry(&file, &entry);
		pages += r[i].pages;
	}
	write_file(im, name, &file);
	snprintf(pages_name, sizeof(pages_name), "pages-%u.img", id);
	fd = openat(im->fd, pages_name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (pages < 1 << 30)
		assert_int_equal(ftruncate(fd, (off_t)(pages * PAGE_BYTES)), 0);
	close(fd);
}

/* Two live tasks, 10 and 12, around a zombie, 11; and a piece of shared memory. */
static void write_image(struct image *im)
{
	const struct range first[] = {
		{0x10000, 2, PRESENT},	      {0x12000, 3, PRESENT | LAZY},
		{0x15000, 1, PRESENT | LAZY}, {0x20000, 4, PRESENT | LAZY},
		{0x24000, 1, PRESENT},
	};
	const struct range last[] = {{0x7fffffff0000, 5, PRESENT | LAZY}};
	const struct range shared[] = {{0, 7, PRESENT | LAZY}, {0x8000, 1, PRESENT}};

	write_inventory(im, 2);
	write_pstree(im, (const int[]){10, 11, 12}, 3);
	write_core(im, 10, 1);
	write_core(im, 11, 2);
	write_core(im, 12, 3);
	write_pagemap(im, "pagemap-10.img", 2, first, 5);
	write_pagemap(im, "pagemap-12.img", 1, last, 1);
	write_pagemap(im, "pagemap-shmem-77.img", 3, shared, 2);
}

static int setup(void **state)
{
	struct image *im = calloc(1, sizeof(*im));

	if (!im)
		return -1;
	snprintf(im->dir, sizeof(im->dir), "/tmp/frem-image-XXXXXX");
	if (!mkdtemp(im->dir))
		return -1;
	im->fd = open(im->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	write_image(im);
	*state = im;
	return 0;
}

static int teardown(void **state)
{
	struct image *im = *state;

	image_map_free(im->map);
	close(im->fd);
	file_remove_tree(im->dir);
	free(im);
	return 0;
}

static void read_map(struct image *im)
{
	image_map_free(im->map);
	im->map = NULL;
	if (image_map_read(im->fd, &im->map, &im->err) < 0) {
		print_error("%s\n", im->err.text);
		fail();
	}
}

static void lazy_pages_are_numbered(void **state)
{
	struct image *im = *state;
	const struct image_extent *x;
	const struct image_task *t;

	read_map(im);
	assert_int_equal(im->map->n_tasks, 3);
	assert_int_equal(im->map->lazy_pages, 8 + 5);
	assert_int_equal(im->map->eager_pages, 3 + 8);
	t = image_map_task(im->map, 10);
	assert_ptr_equal(t, &im->map->tasks[0]);
	assert_int_equal(t->n_extents, 2); /* neighbours are one */
	assert_int_equal(t->extents[0].pages, 4);
	assert_int_equal(t->extents[0].file_offset, 2 * PAGE_BYTES);
	assert_int_equal(t->extents[1].first, 4);
	assert_int_equal(t->extents[1].file_offset, 6 * PAGE_BYTES);
	assert_int_equal(t->pages_id, 2);
	assert_true(t->alive && !im->map->tasks[1].alive && im->map->tasks[2].alive);
	assert_null(image_task_find(t, 0x11fff));
	assert_null(image_task_find(t, 0x16000));
	assert_ptr_equal(image_task_find(t, 0x15fff), &t->extents[0]);
	assert_ptr_equal(image_task_find(t, 0x20000), &t->extents[1]);
	assert_null(image_task_find(&im->map->tasks[1], 0x12000));
	assert_null(image_map_task(im->map, 99));
	for (uint64_t i = 0; i < 13; i++) {
		image_map_locate(im->map, i, &t, &x);
		assert_ptr_equal(t, &im->map->tasks[i < 8 ? 0 : 2]);
		assert_true(x->first <= i && i < x->first + x->pages);
	}
	/* eager runs are by file and offset, neighbours are one */
	assert_int_equal(im->map->n_eager, 3);
	assert_int_equal(im->map->eager[0].pages_id, 2);
	assert_int_equal(im->map->eager[1].file_offset, 10 * PAGE_BYTES);
	assert_int_equal(im->map->eager[2].pages, 8);
}

static void assert_damaged(struct image *im, const char *words)
{
	struct image_map *m = NULL;

	assert_true(image_map_read(im->fd, &m, &im->err) < 0);
	assert_null(m);
	assert_int_equal(im->err.code, FREM_DAMAGED);
	if (!strstr(im->err.text, words)) {
		print_error("'%s' is not in '%s'\n", words, im->err.text);
		fail();
	}
}

static void hostile_pagemaps(void **state)
{
	static const struct {
		struct range r[2];
		const char *words;
	} cases[] = {
		{{{0x1001, 1, PRESENT}, {0x4000, 1, PRESENT}}, "unaligned"},
		{{{0x4000, 2, PRESENT}, {0x5000, 1, PRESENT}}, "overlapping"},
		{{{0x4000, 1, PRESENT}, {0x1000, 1, PRESENT}}, "unsorted"},
		{{{0x4000, 0, PRESENT}, {0x5000, 1, PRESENT}}, "impossible size"},
		{{{0x4000, UINT64_MAX, PRESENT}, {0x5000, 1, PRESENT}}, "impossible size"},
		{{{0x4000, UINT64_C(1) << 52, PRESENT}, {0x5000, 1, PRESENT}}, "impossible size"},
		{{{UINT64_C(1) << 57, 1, PRESENT}, {UINT64_C(1) << 60, 1, PRESENT}},
		 "impossible size"},
		{{{0x4000, 1, PRESENT}, {0x5000, 1, PARENT | PRESENT}}, "parent"},
		{{{0x4000, 1, PRESENT}, {0x5000, 1, PARENT | LAZY}}, "parent"},
		{{{0x4000, 2, PARENT}, {0x5000, 1, PRESENT}}, "overlapping"},
		{{{0x4000, 1, LAZY}, {0x5000, 1, PRESENT}}, "not in the image"},
	};
	struct image *im = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		write_pagemap(im, "pagemap-10.img", 2, cases[i].r, 2);
		assert_damaged(im, cases[i].words);
		assert_non_null(strstr(im->err.text, "'pagemap-10.img'"));
	}
	/* two tasks in one pages file */
	write_pagemap(im, "pagemap-10.img", 1, (const struct range[]){{0, 5, PRESENT}}, 1);
	assert_damaged(im, "share 'pages-1.img'");
}

/* They take no place in the pages file, and no number. They cannot be part of a checkpoint. */
static void pages_of_a_parent(void **state)
{
	static const struct range ranges[] = {
		{0x4000, 1, PRESENT}, {0x5000, 3, PARENT}, {0x8000, 2, LAZY | PRESENT}};
	_cleanup_buffer_ struct buffer head = {0};
	_cleanup_frame_index_ struct frame_index *index = NULL;
	struct image *im = *state;
	const struct image_extent *x;

	write_pagemap(im, "pagemap-10.img", 2, ranges, 3);
	read_map(im);
	assert_int_equal(im->map->parent_pages, 3);
	assert_int_equal(im->map->tasks[0].lazy_pages, 2);
	x = image_task_find(&im->map->tasks[0], 0x8000);
	assert_non_null(x);
	assert_int_equal(x->file_offset, PAGE_BYTES);
	assert_int_equal(frame_index_new(im->map->lazy_pages, &index, &im->err), 0);
	assert_true(image_dir_pack(im->fd, im->map, index, &head, &im->err) < 0);
	assert_non_null(strstr(im->err.text, "parent image"));
}

static void broken_files(void **state)
{
	struct image *im = *state;
	struct buffer b = {0};
	char path[96];

	write_inventory(im, 7);
	assert_damaged(im, "unknown image version");
	write_inventory(im, 2);
	write_pstree(im, (const int[]){10, 11, 10}, 3);
	assert_damaged(im, "two tasks with one pid");
	write_pstree(im, (const int[]){0}, 1);
	assert_damaged(im, "impossible pid");
	write_pstree(im, NULL, 0);
	assert_damaged(im, "no task");
	write_pstree(im, (const int[]){10, 99}, 2);
	assert_damaged(im, "'core-99.img'");
	write_image(im);
	put_magic(&b, 0x12345678);
	write_file(im, "core-10.img", &b);
	assert_damaged(im, "wrong magic");
	put_magic(&b, 0x55053847);
	put_varint(&b, 0x7f);
	write_file(im, "core-10.img", &b);
	assert_damaged(im, "truncated");
	write_core(im, 10, 1);
	unlinkat(im->fd, "pagemap-12.img", 0);
	assert_damaged(im, "'pagemap-12.img': No such file");
	write_image(im);
	snprintf(path, sizeof(path), "%s/pages-1.img", im->dir);
	assert_int_equal(truncate(path, 4096), 0);
	assert_damaged(im, "'pages-1.img': 4096 bytes");
	unlinkat(im->fd, "pages-1.img", 0);
	assert_int_equal(symlinkat("/etc/passwd", im->fd, "pages-1.img"), 0);
	assert_damaged(im, "'pages-1.img'");
}

/* Whatever bytes stand in an image: it is read or refused, and never worse. */
static void flipped_bits(void **state)
{
	static const char *const names[] = {"pstree.img", "pagemap-10.img", "core-12.img",
					    "pagemap-shmem-77.img", "inventory.img"};
	struct image *im = *state;
	unsigned seed = 1;

	for (int round = 0; round < 1500; round++) {
		const char *name = names[round % 5];
		struct buffer b = {0}, copy = {0};
		struct image_map *m = NULL;

		assert_int_equal(file_read_at(im->fd, name, 1 << 20, &b), 0);
		assert_int_equal(buffer_append(&copy, b.data, b.len), 0);
		for (int i = 0; i <= round % 3; i++)
			b.data[(size_t)rand_r(&seed) % b.len] ^= (uint8_t)(1 << rand_r(&seed) % 8);
		write_file(im, name, &b);
		if (image_map_read(im->fd, &m, &im->err) < 0)
			assert_int_equal(im->err.code, FREM_DAMAGED);
		image_map_free(m);
		write_file(im, name, &copy);
	}
	read_map(im);
}

static void many_extents_are_fast(void **state)
{
	enum { N = 100000 };
	struct image *im = *state;
	struct range *r = calloc(N, sizeof(*r));
	uint64_t began;
	double ms;

	for (size_t i = 0; i < N; i++)
		r[i] = (struct range){0x10000 + i * 0x2000, 1, PRESENT | LAZY};
	write_pagemap(im, "pagemap-10.img", 2, r, N);
	free(r);
	began = clock_ns();
	read_map(im);
	ms = clock_ms_since(began);
	print_message("%d extents in %.1f ms\n", N, ms);
	assert_int_equal(im->map->tasks[0].n_extents, N);
	assert_true(ms < 1000);
}

static void full_disk(void **state)
{
	struct image *im = *state;
	struct frame_index *index = NULL, *back = NULL;
	struct buffer head = {0}, big = {0};
	int status;
	pid_t pid;

	read_map(im);
	assert_int_equal(buffer_append(&big, NULL, 400000), 0);
	for (size_t i = 0; i < big.len; i++)
		big.data[i] = (uint8_t)(i * 2654435761u >> 13);
	write_file(im, "ghost-file-1.img", &big);
	assert_int_equal(frame_index_new(im->map->lazy_pages, &index, &im->err), 0);
	index->entries[0].zero_mask = (1u << 13) - 1;
	frame_index_seal(index);
	assert_int_equal(image_dir_pack(im->fd, im->map, index, &head, &im->err), 0);
	frame_index_free(index);
	pid = fork();
	if (pid == 0) {
		int fd;

		if (unshare(CLONE_NEWNS) < 0 ||
		    mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		    mount("tmpfs", "/tmp", "tmpfs", 0, "size=128k") < 0)
			_exit(77);
		fd = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (image_dir_unpack(fd, head.data, head.len, &back, &im->err) != -ENOSPC)
			_exit(1);
		_exit(im->err.code == FREM_FAILED && im->err.errnum == ENOSPC &&
				      strstr(im->err.hint, "FREM_RUN_DIR")
			      ? 0
			      : 2);
	}
	waitpid(pid, &status, 0);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
	buffer_done(&head);
}

struct open_file {
	const char *name;
	unsigned flags;
	int64_t size; /* recorded, or -1 */
	unsigned mode;
	bool remapped;
};

static void write_files(struct image *im, const struct open_file *o, size_t n)
{
	struct buffer file = {0}, remaps = {0}, entry = {0}, reg = {0}, fown = {0};

	put_magic(&file, 0x56303138);
	put_magic(&remaps, 0x59133954);
	for (unsigned i = 0; i < n; i++) {
		put_number(&reg, 1, i + 1);
		put_number(&reg, 2, o[i].flags);
		put_number(&reg, 3, 0);
		put_number(&fown, 1, 0);
		put_message(&reg, 5, &fown);
		put_text(&reg, 6, o[i].name);
		if (o[i].size >= 0)
			put_number(&reg, 8, (uint64_t)o[i].size);
		put_number(&reg, 10, o[i].mode);
		put_number(&entry, 1, 1);
		put_number(&entry, 2, i + 1);
		put_message(&entry, 3, &reg);
		put_entry(&file, &entry);
		if (!o[i].remapped)
			continue;
		put_number(&entry, 1, i + 1);
		put_number(&entry, 2, 99);
		put_entry(&remaps, &entry);
	}
	write_file(im, "files.img", &file);
	write_file(im, "remap-fpath.img", &remaps);
}

static char *text_of(const struct image *im, const char *name)
{
	static char text[64];
	struct buffer b = {0};

	text[0] = '\0';
	if (file_read_at(im->fd, name, sizeof(text) - 1, &b) == 0 && b.len)
		snprintf(text, sizeof(text), "%.*s", (int)b.len, (char *)b.data);
	buffer_done(&b);
	return text;
}

static void only_written_files_are_rolled_back(void **state)
{
	struct image *im = *state;
	char path[8][96];
	static const char *const names[] = {"log",   "read",  "gone",	 "link",
					    "ghost", "short", "missing", "tail"};
	struct image_rollback *back = NULL;
	struct buffer b = {0};

	for (int i = 0; i < 8; i++)
		snprintf(path[i], sizeof(path[i]), "%s/%s", im->dir, names[i]);
	for (int i = 0; i < 6; i++) {
		assert_int_equal(buffer_append(&b, "0123456789", i == 5 ? 2 : 10), 0);
		if (i != 2 && i != 3)
			write_file(im, names[i], &b);
		else
			buffer_done(&b);
	}
	assert_int_equal(buffer_append(&b, "0123456789", 10), 0);
	write_file(im, "tail", &b);
	assert_int_equal(symlink(path[7], path[3]), 0); /* put in the place of a log */
	const struct open_file files[] = {
		{path[0], O_WRONLY, 4, S_IFREG | 0644, false},
		{path[0], O_RDWR, 4, S_IFREG | 0644, false},
		{path[1], O_RDONLY, 4, S_IFREG | 0644, false},
		{path[2], O_RDWR, 4, S_IFREG | 0644, false},
		{path[3], O_RDWR, 4, S_IFREG | 0644, false},
		{path[4], O_RDWR, 4, S_IFREG | 0644, true},
		{path[5], O_RDWR, 4, S_IFREG | 0644, false},
		{"relative", O_RDWR, 0, S_IFREG | 0644, false},
		{"/dev/null", O_RDWR, -1, S_IFCHR | 0666, false},
	};

	write_files(im, files, sizeof(files) / sizeof(files[0]));
	assert_int_equal(image_rollback(im->fd, "n@2", NULL, NULL, &back, &im->err), 0);
	assert_string_equal(text_of(im, "log"), "0123");
	assert_string_equal(text_of(im, "log.frem-tail-n@2"), "456789");
	assert_string_equal(text_of(im, "read"), "0123456789");
	assert_string_equal(text_of(im, "tail"), "0123456789");
	assert_string_equal(text_of(im, "ghost"), "0123456789");
	assert_string_equal(text_of(im, "short"), "01");
	image_rollback_undo(back);
	image_rollback_free(back);
	assert_string_equal(text_of(im, "log"), "0123456789");
	assert_int_equal(faccessat(im->fd, "log.frem-tail-n@2", F_OK, 0), -1);
}

static void write_script(const struct image *im, const char *dir, const char *text, char path[96])
{
	int fd;

	snprintf(path, 96, "%s/%s", im->dir, dir);
	mkdir(path, 0700);
	snprintf(path, 96, "%s/%s/criu", im->dir, dir);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0700);
	assert_int_equal(file_write_all(fd, text, strlen(text)), 0);
	close(fd);
}

static void criu_is_found(void **state)
{
	struct image *im = *state;
	struct criu_program p = {0};
	char old[96], new[96], path[256];
	const char *search = getenv("PATH");
	char *path_before = strdup(search ? search : ""), *named = getenv("FREM_CRIU");

	named = named ? strdup(named) : NULL;
	write_script(im, "old", "#!/bin/sh\necho 'Version: 3.17.1'\n", old);
	write_script(im, "new",
		     "#!/bin/sh\n[ $1 = check ] && echo 'Error (x.c:1): no such kernel' && exit 1\n"
		     "echo 'Version: 5.0'\necho 'GitID: v5'\n",
		     new);
	setenv("FREM_CRIU", new, 1);
	assert_int_equal(criu_find(&p, &im->err), 0);
	assert_string_equal(p.version, "5.0");
	assert_string_equal(p.path, new);
	assert_int_equal(p.major, 5);
	assert_true(criu_check(&p, &im->err) < 0);
	assert_int_equal(im->err.code, FREM_UNABLE);
	assert_string_equal(im->err.detail, "Error (x.c:1): no such kernel\n");
	setenv("FREM_CRIU", old, 1);
	assert_true(criu_find(&p, &im->err) < 0);
	assert_int_equal(im->err.code, FREM_UNABLE);
	assert_string_equal(im->err.text, "criu 3.17.1 is too old, 4.2 or newer is needed");
	assert_true(im->err.hint[0] != '\0');
	setenv("FREM_CRIU", "/nonexistent", 1);
	assert_true(criu_find(&p, &im->err) < 0);
	assert_int_equal(im->err.code, FREM_UNABLE);
	/* an old one in PATH does not hide a new one */
	unsetenv("FREM_CRIU");
	snprintf(path, sizeof(path), "%s/old:%s/new:/bin:/usr/bin", im->dir, im->dir);
	setenv("PATH", path, 1);
	assert_int_equal(criu_find(&p, &im->err), 0);
	assert_string_equal(p.path, new);
	setenv("PATH", path_before, 1);
	if (named)
		setenv("FREM_CRIU", named, 1);
	free(path_before);
	free(named);
}

#define IMAGE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IMAGE_TEST(lazy_pages_are_numbered),
		IMAGE_TEST(hostile_pagemaps),
		IMAGE_TEST(pages_of_a_parent),
		IMAGE_TEST(broken_files),
		IMAGE_TEST(flipped_bits),
		IMAGE_TEST(many_extents_are_fast),
		IMAGE_TEST(full_disk),
		IMAGE_TEST(only_written_files_are_rolled_back),
		IMAGE_TEST(criu_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

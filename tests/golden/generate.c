/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writes the golden files below the given directory: good/OBJECT and bad/OBJECT-WHAT.
 *
 * The files are checked in, and stay as they are: later versions of frem must read the good ones
 * and refuse the bad ones. Files that are there already are never written again, so that this
 * program only adds to them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bad.h"
#include "base/file.h"
#include "sample.h"

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void write_new(const char *dir, const char *kind, const char *name, const struct buffer *b)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, kind);
	if (mkdir(path, 0777) < 0 && errno != EEXIST)
		die(path);
	snprintf(path, sizeof(path), "%s/%s/%s", dir, kind, name);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd < 0 && errno == EEXIST)
		return;
	if (fd < 0 || file_write_all(fd, b->data, b->len) < 0 || close(fd) < 0)
		die(path);
	printf("%s: %zu bytes\n", path, b->len);
}

static void make_good(struct good_files *g)
{
	struct frem_error err = {0};
	struct buffer frames = {0};
	struct frame_index *x;
	struct touch_set t;
	struct manifest m;

	x = sample_pages(&g->pages);
	sample_head(&g->head);
	sample_manifest(&g->head, &g->pages, &m);
	if (frame_index_encode(x, &g->index, &err) < 0 ||
	    manifest_encode(&m, &g->manifest, &err) < 0)
		die(err.text);
	sample_touch(&g->manifest, &t, &frames);
	if (touch_encode(&t, &g->touch, &err) < 0 ||
	    buffer_append(&g->touch, frames.data, frames.len) < 0)
		die(err.text);
	sample_touch_done(&t);
	frame_index_free(x);
	buffer_done(&frames);
}

static const struct buffer *good_of(const struct good_files *g, const char *bad)
{
	if (strncmp(bad, "head-", 5) == 0)
		return &g->head;
	if (strncmp(bad, "index-", 6) == 0)
		return &g->index;
	if (strncmp(bad, "pages-", 6) == 0)
		return &g->pages;
	return strncmp(bad, "touch-", 6) == 0 ? &g->touch : &g->manifest;
}

/* Touch files are cut behind their descriptor: the frames have nothing to do with their fault. */
static size_t good_size(const struct good_files *g, const struct buffer *b)
{
	uint64_t size = b->len;

	if (b == &g->touch && touch_measure(b->data, b->len, &size, NULL) < 0)
		abort();
	return (size_t)size;
}

int main(int argc, char **argv)
{
	struct good_files g = {0};

	if (argc != 2) {
		fprintf(stderr, "usage: %s DIRECTORY\n", argv[0]);
		return 2;
	}
	make_good(&g);
	write_new(argv[1], "good", "head", &g.head);
	write_new(argv[1], "good", "index", &g.index);
	write_new(argv[1], "good", "pages", &g.pages);
	write_new(argv[1], "good", "touch", &g.touch);
	write_new(argv[1], "good", "manifest", &g.manifest);
	for (const struct bad_file *f = bad_files; f->name; f++) {
		const struct buffer *from = good_of(&g, f->name);
		struct buffer b = {0};

		if (buffer_append(&b, from->data, good_size(&g, from)) < 0)
			abort();
		f->make(&b, &g);
		write_new(argv[1], "bad", f->name, &b);
		buffer_done(&b);
	}
	buffer_done(&g.head);
	buffer_done(&g.index);
	buffer_done(&g.pages);
	buffer_done(&g.touch);
	buffer_done(&g.manifest);
	return 0;
}

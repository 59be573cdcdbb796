/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The head, three times: as it is, with its digests made to match (so that damage gets to the
 * decompressor), and as the body of an object (so that it gets to the records).
 */
#include "format/head.h"
#include "fuzz.h"
#include "sample.h"
#include "wire.h"

struct files {
	uint64_t n;
	uint64_t sparse; /* size of the last sparse file */
};

static void check_name(const char *name)
{
	FUZZ_ASSERT(*name && strlen(name) <= HEAD_NAME_MAX && !strchr(name, '/'));
	FUZZ_ASSERT(strcmp(name, ".") != 0 && strcmp(name, "..") != 0);
}

static int on_file(void *arg, const char *name, const void *data, size_t n, struct frem_error *err)
{
	struct files *f = arg;

	(void)err;
	check_name(name);
	FUZZ_ASSERT(n <= HEAD_FILE_MAX && data);
	f->n++;
	return 0;
}

static int on_sparse(void *arg, const char *name, uint64_t size, struct frem_error *err)
{
	struct files *f = arg;

	(void)err;
	check_name(name);
	f->sparse = size > f->sparse ? size : f->sparse;
	return 0;
}

static int on_run(void *arg, const char *name, uint64_t offset, const void *data, size_t n,
		  struct frem_error *err)
{
	struct files *f = arg;

	(void)err;
	check_name(name);
	FUZZ_ASSERT(n > 0 && n <= HEAD_RUN_MAX && data);
	FUZZ_ASSERT(offset <= f->sparse && n <= f->sparse - offset);
	return 0;
}

static int on_index(void *arg, struct frame_index *x, struct frem_error *err)
{
	(void)arg;
	(void)err;
	frame_index_free(x);
	return 0;
}

static void read_head(const void *data, size_t n)
{
	struct files files = {0};
	const struct head_sink sink = {on_file, on_sparse, on_run, on_index, &files};
	const struct head_sink none = {0};
	struct frem_error err = {0}, quiet = {0};
	int r = head_read(data, n, &sink, &err);

	FUZZ_ASSERT(r == head_read(data, n, &none, &quiet));
	if (r < 0)
		fuzz_refused(&err, "head: ");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	_cleanup_buffer_ struct buffer wrapped = {0}, resigned = {0};

	read_head(data, n);
	if (n > SAMPLE_PLAIN_MAX)
		return 0;
	sample_wrap_plain(&object_head, data, n, &wrapped);
	read_head(wrapped.data, wrapped.len);
	if (n >= OBJECT_HEADER_SIZE && buffer_append(&resigned, data, n) == 0) {
		sample_resign(&resigned);
		read_head(resigned.data, resigned.len);
	}
	return 0;
}

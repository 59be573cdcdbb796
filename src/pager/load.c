/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "load.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/log.h"
#include "criu/image_dir.h"

/* What is wrong so often in a row, from other replicas where there are any, is wrong. */
#define TRIES 3
/* A head larger than this is not held in memory: it is refused. */
#define HEAD_MAX (UINT64_C(16) << 30)
/* That of an image of 500 MB, of a program of one process, without its eager pages. */
#define HEAD_LIKELY (UINT64_C(120) << 10)

/* One object, fetched whole into memory. */
struct download {
	struct load *load;
	const char *object;
	char key[NAME_KEY_SIZE];
	uint64_t most, likely;
	struct fetch *fetch;
	struct buffer bytes;
	unsigned tries;
	uint32_t sources; /* replicas that it came from */
	uint32_t avoid;	  /* those that gave it wrong */
	bool done;
	int result;
	struct frem_error err;
};

struct load {
	struct fetcher *fetcher;
	const struct pager_options *o;
	struct download manifest, head;
};

void loaded_done(struct loaded *l)
{
	manifest_free(l->manifest);
	local_free(l->local);
	frame_index_free(l->index);
	image_map_free(l->map);
	*l = (struct loaded){0};
}

static int on_data(void *arg, const void *data, size_t n)
{
	struct download *d = arg;

	d->sources = fetch_sources(d->load->fetcher, d->fetch);
	if (d->bytes.len > d->most || n > d->most - d->bytes.len)
		return -EFBIG;
	return buffer_append(&d->bytes, data, n);
}

static void on_done(void *arg, int r, const struct frem_error *err)
{
	struct download *d = arg;

	d->done = true;
	d->result = r;
	if (r < 0)
		d->err = *err;
	if (r == -EFBIG)
		frem_fail(&d->err, FREM_DAMAGED, 0, "%s: larger than %" PRIu64 " bytes", d->object,
			  d->most);
}

static int begin(struct download *d, struct frem_error *err)
{
	struct fetch_request req = {.key = d->key,
				    .len = STORE_WHOLE,
				    .data = on_data,
				    .done = on_done,
				    .arg = d,
				    .urgent = true,
				    .likely = d->likely,
				    .avoid = d->avoid};

	d->bytes.len = 0;
	d->done = false;
	d->tries++;
	return fetcher_start(d->load->fetcher, &req, &d->fetch, err);
}

/* What is wrong may be right from another replica. Returns 0 where it is fetched again, else r. */
static int again(struct download *d, int r, struct frem_error *err)
{
	if (r == 0 || err->code != FREM_DAMAGED || d->tries >= TRIES)
		return r;
	log_info("fetching '%s' again: %s", d->object, err->text);
	d->avoid |= d->sources;
	return begin(d, err);
}

int load_start(struct fetcher *f, const struct pager_options *o, struct load **ret,
	       struct frem_error *err)
{
	struct load *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return frem_oom(err);
	l->fetcher = f;
	l->o = o;
	*ret = l;
	if (!f)
		return 0;
	l->manifest = (struct download){.load = l, .object = OBJECT_MANIFEST, .most = MANIFEST_MAX};
	l->head = (struct download){
		.load = l, .object = OBJECT_HEAD, .most = HEAD_MAX, .likely = HEAD_LIKELY};
	name_key(&o->id, OBJECT_MANIFEST, l->manifest.key);
	name_key(&o->id, OBJECT_HEAD, l->head.key);
	r = begin(&l->manifest, err);
	return r < 0 ? r : begin(&l->head, err);
}

void load_free(struct load *l)
{
	if (!l)
		return;
	buffer_done(&l->manifest.bytes);
	buffer_done(&l->head.bytes);
	free(l);
}

static int failed(const struct download *d, struct frem_error *err)
{
	if (err)
		*err = d->err;
	return d->result;
}

/* The caller reads it again: what it is told must be what was checked. */
static int keep_manifest(const struct load *l, struct frem_error *err)
{
	int fd = openat(l->o->work_fd, OBJECT_MANIFEST, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
			0600);
	int r;

	if (fd < 0)
		return frem_fail(err, FREM_FAILED, errno, "writing the manifest");
	r = file_write_all(fd, l->manifest.bytes.data, l->manifest.bytes.len);
	if (close(fd) < 0 && r == 0)
		r = -errno;
	return r < 0 ? frem_fail(err, FREM_FAILED, -r, "writing the manifest") : 0;
}

static int take_manifest(struct load *l, struct loaded *ret, struct frem_error *err)
{
	const struct buffer *b = &l->manifest.bytes;
	int r;

	if (l->manifest.result == -ENOENT)
		return frem_fail(err, FREM_NOT_FOUND, 0, "no checkpoint '%s@%" PRIu32 "'",
				 l->o->id.name, l->o->id.seq);
	r = l->manifest.result < 0
		    ? failed(&l->manifest, err)
		    : manifest_decode(b->data, b->len, &l->o->id, &ret->manifest, err);
	if (r < 0)
		return again(&l->manifest, r, err);
	manifest_digest(b->data, b->len, ret->digest);
	if (ret->manifest->head.size < l->head.most)
		l->head.most = ret->manifest->head.size;
	return keep_manifest(l, err);
}

/* Says where the head is damaged, if its own structure tells. */
static int check_head(const struct load *l, const struct manifest *m, struct frem_error *err)
{
	const struct buffer *b = &l->head.bytes;
	const struct head_sink nothing = {0};
	uint8_t digest[DIGEST_SIZE];
	int r;

	if (b->len != m->head.size)
		return frem_fail(err, FREM_DAMAGED, 0,
				 "head: ends at offset %zu, its size is %" PRIu64, b->len,
				 m->head.size);
	digest_of(b->data, b->len, digest, sizeof(digest));
	if (digest_equal(digest, m->head.digest, sizeof(digest)))
		return 0;
	r = head_read(b->data, b->len, &nothing, err);
	return r < 0 ? r
		     : frem_fail(err, FREM_DAMAGED, 0,
				 "head: not the one of the manifest at offset 0 to %zu", b->len);
}

static int check_agreement(const struct loaded *l, struct frem_error *err)
{
	const struct manifest *m = l->manifest;

	if (l->index->pages != m->lazy_pages || l->map->lazy_pages != m->lazy_pages)
		return frem_fail(err, FREM_DAMAGED, 0,
				 "head: %" PRIu64 " lazy pages in its index, %" PRIu64
				 " in its images, %" PRIu64 " in the manifest",
				 l->index->pages, l->map->lazy_pages, m->lazy_pages);
	if (l->index->offsets[l->index->frames] != m->pages.size)
		return frem_fail(err, FREM_DAMAGED, 0,
				 "head: its index describes %" PRIu64
				 " bytes of pages, not %" PRIu64,
				 l->index->offsets[l->index->frames], m->pages.size);
	return 0;
}

static int take_head(struct load *l, struct loaded *ret, struct frem_error *err)
{
	int r;

	if (l->head.result == -ENOENT)
		return frem_fail(err, FREM_DAMAGED, 0, "head: missing at offset 0");
	if (l->head.result == -EFBIG)
		r = frem_fail(err, FREM_DAMAGED, 0,
			      "head: goes on at offset %" PRIu64 ", behind its end", l->head.most);
	else
		r = l->head.result < 0 ? failed(&l->head, err) : check_head(l, ret->manifest, err);
	if (r < 0)
		return again(&l->head, r, err);
	r = image_dir_unpack(l->o->images_fd, l->head.bytes.data, l->head.bytes.len, &ret->index,
			     err);
	buffer_done(&l->head.bytes);
	if (r == 0)
		r = image_map_read(l->o->images_fd, &ret->map, err);
	return r < 0 ? r : check_agreement(ret, err);
}

int load_images(int images_fd, struct loaded *ret, struct frem_error *err)
{
	int r = image_map_read(images_fd, &ret->map, err);

	if (r == 0)
		r = frame_index_new(ret->map->lazy_pages, &ret->index, err);
	if (r == 0)
		r = local_open_images(images_fd, ret->map, &ret->local, err);
	if (r == 0)
		r = local_digest(ret->local, ret->digest, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ret->index->frames; i++)
		ret->index->entries[i].stored = frame_pages(ret->index, i) * PAGE_BYTES;
	frame_index_seal(ret->index);
	return 0;
}

int load_step(struct load *l, struct loaded *ret, struct frem_error *err)
{
	int r = 0;

	if (!l->fetcher) {
		r = load_images(l->o->images_fd, ret, err);
		return r < 0 ? r : 1;
	}
	if (l->manifest.done && !ret->manifest)
		r = take_manifest(l, ret, err);
	if (r < 0 || !ret->manifest || !l->head.done || ret->map)
		return r;
	r = take_head(l, ret, err);
	return r < 0 ? r : ret->map != NULL;
}

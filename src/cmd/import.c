/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * frem import: a plain CRIU image becomes a checkpoint, by the same steps as one that frem has
 * dumped itself. It has no touch set; its first restart records one.
 */
#include <errno.h>
#include <string.h>

#include "checkpoint_job.h"
#include "cmd.h"
#include "criu/image_world.h"
#include "import_source.h"
#include "interrupt.h"
#include "options.h"
#include "tcp.h"
#include "ui.h"

struct import {
	struct checkpoint_options o; /* of which the name and tcp are used */
	bool tcp_given;
	const char *path;
};

static int take_option(const struct option_row *row, const char *value, void *arg,
		       struct frem_error *err)
{
	struct import *im = arg;

	switch (row->id) {
	case OPT_NAME:
		im->o.name = value;
		return name_check(value, err);
	case OPT_TCP:
		im->tcp_given = true;
		return tcp_parse(value, &im->o.tcp, err);
	default:
		return -EINVAL;
	}
}

static int parse(int argc, char **argv, struct import *im, struct frem_error *err)
{
	int r = options_parse(argc, argv, options_import, take_option, im, err);

	if (r == 0)
		r = options_operands(argc, argv, 1, 1, "DIR or ARCHIVE", err);
	if (r < 0)
		return r;
	if (!im->o.name)
		return frem_fail(err, FREM_USAGE, 0, "--name is missing");
	im->path = argv[optind];
	return 0;
}

/* What the image itself says is asked before anything is stored. */
static int look(struct import *im, int images_fd, struct frem_error *err)
{
	_cleanup_image_map_ struct image_map *map = NULL;
	int r = image_map_read(images_fd, &map, err);

	if (r == 0)
		r = image_world_machine(images_fd, map, err);
	if (r == 0 && !im->tcp_given)
		r = image_world_tcp(images_fd, &im->o.tcp, err);
	return r;
}

static json_t *result_json(const struct checkpoint_job *job)
{
	const struct manifest *m = job->manifest;

	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:f}", "name", m->id.name, "seq",
			 (json_int_t)m->id.seq, "image_bytes", (json_int_t)m->image_bytes,
			 "lazy_pages", (json_int_t)m->lazy_pages, "eager_pages",
			 (json_int_t)m->eager_pages, "stored_bytes",
			 (json_int_t)checkpoint_job_stored_bytes(job), "upload_ms", job->upload_ms);
}

static int import(const struct cmd_context *c, struct import *im, struct frem_error *err)
{
	_cleanup_import_source_ struct import_source *source = NULL;
	_cleanup_checkpoint_job_ struct checkpoint_job *job = NULL;
	struct progress *progress = ui_progress();
	int images_fd, r = import_source_open(im->path, progress, &source, err);

	if (r < 0)
		return r;
	images_fd = import_source_fd(source);
	r = look(im, images_fd, err);
	if (r == 0)
		r = checkpoint_job_of_image(c, &im->o, images_fd, progress, &job, err);
	if (r == 0)
		r = checkpoint_job_upload(job, err);
	if (r != 0)
		return r;
	ui_progress_done();
	if (c->json)
		return ui_answer(result_json(job), err);
	ui_print("%s@%u\n", job->id.name, job->id.seq);
	return 0;
}

int cmd_import(struct cmd_context *c, int argc, char **argv, struct frem_error *err)
{
	struct import im = {.o = {.tcp = CRIU_TCP_CLOSE}};
	int r = parse(argc, argv, &im, err);

	if (r < 0)
		return r;
	interrupt_catch();
	r = import(c, &im, err);
	r = interrupt_explain(r, err);
	ui_progress_done();
	return r < 0 ? frem_context(err, r, "import of '%s'", im.path) : 0;
}

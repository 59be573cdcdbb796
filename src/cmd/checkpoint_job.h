/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The steps of one checkpoint; checkpoint.c puts them in order. */
#ifndef FREM_CMD_CHECKPOINT_JOB_H
#define FREM_CMD_CHECKPOINT_JOB_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/progress.h"
#include "base/rundir.h"
#include "cmd.h"
#include "criu/criu.h"
#include "criu/image_map.h"
#include "format/manifest.h"
#include "format/touch.h"
#include "handover.h"
#include "image_pages.h"
#include "store/store.h"
#include "track/track.h"
#include "window.h"

enum window_kind {
	WINDOW_AUTO,
	WINDOW_FIXED,
	WINDOW_OFF,
};

struct checkpoint_options {
	pid_t pid;
	const char *name;
	bool stop;
	enum window_kind window;
	uint64_t window_ms; /* WINDOW_FIXED */
	uint64_t link;	    /* bytes a second, 0: as measured while uploading */
	enum criu_tcp tcp;
	/* NULL, or what is to be added to the image while the tasks are frozen */
	int (*frozen)(void *arg, int images_fd, struct frem_error *err);
	void *frozen_arg;
};

struct checkpoint_job {
	const struct checkpoint_options *o;
	struct progress *progress;
	struct store *store;
	struct checkpoint_name id;
	struct criu_program criu;
	char kernel[128]; /* that the image was dumped on */
	struct rundir *run;
	int images_fd;
	struct handover_request claim;
	struct tracker *tracker; /* NULL: no tracking */
	pid_t *pids;		 /* of the tracked tasks, the root first */
	size_t n_pids;
	struct window *window; /* NULL: no tracking */
	struct image_map *map;
	struct image_pages *pages;
	struct manifest *manifest;
	uint8_t manifest_digest[DIGEST_SIZE];
	struct touch_set *touch; /* once stored */
	uint64_t touch_bytes;	 /* of the stored object */
	uint64_t resumed_ns;	 /* clock_ns() when the tasks ran again */
	double frozen_ms;
	double upload_ms;	/* of `pages` */
	double touch_upload_ms; /* of `touch` */
};

/* Everything that can be refused before the program is disturbed is refused here. */
int checkpoint_job_new(const struct cmd_context *c, const struct checkpoint_options *o,
		       struct progress *progress, struct checkpoint_job **ret,
		       struct frem_error *err);
/*
 * The job of an image that is there already, in images_fd, which stays the caller's: only for
 * checkpoint_job_upload(). Of o, the name and tcp count.
 */
int checkpoint_job_of_image(const struct cmd_context *c, const struct checkpoint_options *o,
			    int images_fd, struct progress *progress, struct checkpoint_job **ret,
			    struct frem_error *err);
void checkpoint_job_free(struct checkpoint_job *job);
/*
 * Has the windows of earlier checkpoints of the program closed, then the CRIU dump; with o->stop
 * also the upload. Starts the tracker, and opens its window.
 */
int checkpoint_job_dump(struct checkpoint_job *job, struct frem_error *err);
/* Uploads pages, head and manifest; on failure takes back what it uploaded. */
int checkpoint_job_upload(struct checkpoint_job *job, struct frem_error *err);
/* With the window closed: makes and uploads the touch object. */
int checkpoint_job_touch(struct checkpoint_job *job, const struct window_end *end,
			 struct progress *progress, struct frem_error *err);

uint64_t checkpoint_job_stored_bytes(const struct checkpoint_job *job);
/* Stored bytes a second of the upload; 0 where it was too short to tell. */
uint64_t checkpoint_job_upload_rate(const struct checkpoint_job *job);

FREM_CLEANUP(struct checkpoint_job *, cleanup_checkpoint_job, checkpoint_job_free)
#define _cleanup_checkpoint_job_ _cleanup_(cleanup_checkpoint_job)

#endif

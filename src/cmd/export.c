/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * frem export: a checkpoint becomes a plain CRIU image directory.
 *
 * It is made by the pager as for a classic restart, every frame verified, in a run directory beside
 * the place where it is to be, and moved there in one step once it is complete and on the disk. So
 * there is never half an image, and nothing is left where frem is killed.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/rundir.h"
#include "cmd.h"
#include "criu/image_map.h"
#include "criu/image_world.h"
#include "find_checkpoint.h"
#include "interrupt.h"
#include "options.h"
#include "pager/pager.h"
#include "ui.h"

#define IMAGES "images"
#define EVENT_POLL_MS 200 /* how soon a signal and the progress line are looked at */

struct export
{
	const struct cmd_context *cmd;
	struct checkpoint_name id;
	char to[PATH_MAX];     /* without a slash at the end */
	char parent[PATH_MAX]; /* the directory that it is in */
	struct rundir *run;
	int images_fd, work_fd;
};

static void export_done(struct export *e)
{
	cleanup_close(&e->images_fd);
	cleanup_close(&e->work_fd);
	rundir_free(e->run);
}

/* ---- where to ---- */

static int is_empty(const char *path, struct frem_error *err)
{
	_cleanup_closedir_ DIR *dir = opendir(path);
	struct dirent *entry;

	if (!dir)
		return frem_fail(err, FREM_FAILED, errno, "opening '%s'", path);
	while ((entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			return frem_fail(err, FREM_FAILED, ENOTEMPTY, "'%s'", path);
	return 0;
}

/* A new place, or an empty directory, which the image takes the place of. */
static int check_place(const char *path, struct frem_error *err)
{
	struct stat st, here;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : frem_fail(err, FREM_FAILED, errno, "'%s'", path);
	if (!S_ISDIR(st.st_mode))
		return frem_fail(err, FREM_FAILED, ENOTDIR, "'%s'", path);
	if (stat(".", &here) == 0 && here.st_dev == st.st_dev && here.st_ino == st.st_ino)
		return frem_hint(
			err,
			frem_fail(err, FREM_FAILED, EBUSY, "'%s' is the current directory", path),
			"name a directory that is not there yet");
	return is_empty(path, err);
}

static int set_place(struct export *e, const char *path, struct frem_error *err)
{
	size_t n = strlen(path);
	const char *slash;

	while (n > 1 && path[n - 1] == '/')
		n--;
	if (n == 0 || n >= sizeof(e->to))
		return frem_fail(err, FREM_USAGE, 0, "DIR '%s' is no name for a directory", path);
	memcpy(e->to, path, n);
	e->to[n] = '\0';
	slash = strrchr(e->to, '/');
	if (!slash)
		snprintf(e->parent, sizeof(e->parent), ".");
	else
		snprintf(e->parent, sizeof(e->parent), "%.*s",
			 slash == e->to ? 1 : (int)(slash - e->to), e->to);
	return check_place(e->to, err);
}

/* ---- the image ---- */

static int open_directories(struct export *e, struct frem_error *err)
{
	int r = rundir_new(e->parent, &e->run, err);

	if (r < 0) {
		err->hint[0] = '\0'; /* it speaks of FREM_RUN_DIR, which has no part in this */
		return r;
	}
	r = rundir_subdir(e->run, IMAGES, &e->images_fd, err);
	if (r == 0)
		r = rundir_subdir(e->run, "work", &e->work_fd, err);
	return r;
}

/* The store handle must be gone before the pager is forked. */
static int find_number(struct export *e, struct frem_error *err)
{
	_cleanup_store_ struct store *store = NULL;
	int r = checkpoint_open_store(e->cmd, &store, err);

	if (r < 0)
		return r;
	store_set_interrupt(store, interrupted);
	return checkpoint_latest(store, &e->id, err);
}

static int wait_until_complete(struct pager *pager, struct frem_error *err)
{
	const struct pager_stats *s = pager_stats(pager);
	struct pager_event event;

	for (;;) {
		int r = interrupt_check(err);

		if (r < 0)
			return r;
		progress_report(ui_progress(), "fetching the image", s->bytes_fetched,
				s->bytes_total);
		if (!pager_next_event(pager, EVENT_POLL_MS, &event))
			continue;
		if (event.type == PAGER_EVENT_FAILED) {
			*err = event.err;
			return event.err.errnum ? -event.err.errnum : -EIO;
		}
		if (event.notice[0])
			log_notice("%s", event.notice);
		if (event.type == PAGER_EVENT_DRAINED)
			return 0;
	}
}

static int fetch(const struct export *e, struct frem_error *err)
{
	const struct pager_options o = {
		.store = e->cmd->store,
		.store_timeout_set = e->cmd->store_timeout_set,
		.store_timeout_ms = e->cmd->store_timeout_ms,
		.id = e->id,
		.mode = PAGER_FULL,
		.images_fd = e->images_fd,
		.work_fd = e->work_fd,
	};
	_cleanup_pager_ struct pager *pager = NULL;
	int r = pager_start(&o, &pager, err);

	return r < 0 ? r : wait_until_complete(pager, err);
}

/* ---- and there ---- */

static int sync_file(int dirfd, const char *name)
{
	_cleanup_close_ int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

static int sync_images(const struct export *e, struct frem_error *err)
{
	int fd = openat(e->images_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	_cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir) {
		r = frem_fail(err, FREM_FAILED, errno, "opening the image directory");
		cleanup_close(&fd);
		return r;
	}
	while (r == 0 && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			r = sync_file(fd, entry->d_name);
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	return r < 0 ? frem_fail(err, FREM_FAILED, -r, "writing the image to the disk") : 0;
}

static int move_there(const struct export *e, struct frem_error *err)
{
	int r = sync_images(e, err);

	if (r == 0)
		r = interrupt_check(err);
	if (r < 0)
		return r;
	if (renameat(rundir_fd(e->run), IMAGES, AT_FDCWD, e->to) < 0)
		return frem_fail(err, FREM_FAILED, errno, "moving the image to '%s'", e->to);
	return 0;
}

/* ---- what is said about it ---- */

/* The options without which CRIU refuses what frem has dumped; NULL for a container's image, which
 * wants many more that only its own programs know. */
static const char *restore_options(const struct export *e, const struct manifest *m)
{
	_cleanup_image_map_ struct image_map *map = NULL;

	if (image_map_read(e->images_fd, &map, NULL) < 0 ||
	    image_world_restorable(e->images_fd, map, NULL) < 0)
		return NULL;
	return m->tcp == MANIFEST_TCP_ESTABLISHED
		       ? "--shell-job --file-locks --ext-unix-sk --manage-cgroups=ignore "
			 "--tcp-established"
		       : "--shell-job --file-locks --ext-unix-sk --manage-cgroups=ignore "
			 "--tcp-close";
}

static int answer(const struct export *e, struct frem_error *err)
{
	_cleanup_buffer_ struct buffer bytes = {0};
	_cleanup_manifest_ struct manifest *m = NULL;
	const char *options;
	int r = file_read_at(e->work_fd, OBJECT_MANIFEST, MANIFEST_MAX, &bytes);

	if (r < 0)
		return frem_fail(err, FREM_FAILED, -r, "reading the manifest again");
	r = manifest_decode(bytes.data, bytes.len, &e->id, &m, err);
	if (r < 0)
		return r;
	options = restore_options(e, m);
	ui_progress_done();
	if (e->cmd->json)
		return ui_answer(json_pack("{s:s, s:I, s:o, s:I, s:I, s:I, s:s?}", "name",
					   m->id.name, "seq", (json_int_t)m->id.seq, "directory",
					   ui_json_string(e->to), "image_bytes",
					   (json_int_t)m->image_bytes, "lazy_pages",
					   (json_int_t)m->lazy_pages, "eager_pages",
					   (json_int_t)m->eager_pages, "criu_options", options),
				 err);
	if (options)
		ui_print("criu restore -D %s %s\n", e->to, options);
	return 0;
}

static int export(struct export *e, const char *path, struct frem_error *err)
{
	int r = set_place(e, path, err);

	if (r == 0)
		r = find_number(e, err);
	if (r == 0)
		r = open_directories(e, err);
	if (r == 0)
		r = fetch(e, err);
	if (r == 0)
		r = move_there(e, err);
	return r < 0 ? r : answer(e, err);
}

int cmd_export(struct cmd_context *c, int argc, char **argv, struct frem_error *err)
{
	_cleanup_(export_done) struct export e = {.cmd = c, .images_fd = -1, .work_fd = -1};
	char text[CHECKPOINT_TEXT_SIZE];
	int r = options_parse_none(argc, argv, err);

	if (r == 0)
		r = options_operands(argc, argv, 2, 2, "NAME and DIR", err);
	if (r == 0)
		r = name_parse(argv[optind], &e.id, err);
	if (r < 0)
		return r;
	interrupt_catch();
	r = export(&e, argv[optind + 1], err);
	r = interrupt_explain(r, err);
	ui_progress_done();
	if (r == 0)
		return 0;
	checkpoint_text(&e.id, text);
	return frem_context(err, r, "export of '%s'", text);
}

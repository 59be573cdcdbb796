/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "criu/criu.h"
#include "criu/image_files.h"
#include "criu/image_map.h"
#include "criu/tree.h"
#include "guard.h"
#include "pids.h"
#include "run.h"
#include "streams.h"

#define GONE_MS 2000 /* for killed tasks to end; they take a few ms */
#define RESTORE_LOG "criu.log"

/* One restore while it runs. */
struct restore {
	const struct criu_restore *r;
	struct criu_session session;
	struct guard guard;
	struct image_map *map;
	struct streams streams;
	struct tree before; /* children of this process when it began */
	bool *taken;	    /* by task: its pid was in use when it began, so that is not ours */
	pid_t root;	    /* as CRIU named it, 0 before */
	int hook;	    /* what a hook returned */
	struct frem_error hook_err;
};

static void fill_request(const struct restore *run, CriuOpts *o)
{
	const struct criu_restore *r = run->r;

	o->images_dir_fd = r->images_fd;
	o->has_work_dir_fd = 1;
	o->work_dir_fd = r->work_fd;
	o->has_rst_sibling = 1; /* the root becomes a child of this process */
	o->rst_sibling = 1;
	o->has_shell_job = 1;
	o->shell_job = 1;
	o->has_file_locks = 1;
	o->file_locks = 1;
	o->has_ext_unix_sk = 1;
	o->ext_unix_sk = 1;
	o->has_manage_cgroups_mode = 1;
	o->manage_cgroups_mode = RPC_CGROUPS_IGNORE;
	o->has_lazy_pages = 1;
	o->lazy_pages = r->lazy;
	o->has_tcp_established = o->has_tcp_close = 1;
	o->tcp_established = r->tcp == CRIU_TCP_ESTABLISHED;
	o->tcp_close = r->tcp == CRIU_TCP_CLOSE;
	o->has_log_level = 1;
	o->log_level = 2;
	o->log_file = (char *)RESTORE_LOG;
	o->has_notify_scripts = 1;
	o->notify_scripts = 1;
}

static int send_request(struct restore *run, struct frem_error *err)
{
	CriuInheritFd items[STREAMS];
	CriuInheritFd *list[STREAMS];
	CriuOpts opts = CRIU_OPTS__INIT;
	CriuReq req = CRIU_REQ__INIT;

	fill_request(run, &opts);
	for (int i = 0; i < STREAMS; i++) {
		criu_inherit_fd__init(&items[i]);
		items[i].key = (char *)streams_key(i);
		items[i].fd = SESSION_INHERIT_FIRST + i;
		list[i] = &items[i];
	}
	opts.inherit_fd = list;
	opts.n_inherit_fd = STREAMS;
	req.type = RPC_RESTORE;
	req.opts = &opts;
	return session_send(&run->session, &req, err);
}

static void call_hook(struct restore *run, const char *script)
{
	const struct criu_hooks *hooks = &run->r->hooks;

	if (run->hook)
		return;
	if (!strcmp(script, "pre-restore") && hooks->pre_restore)
		run->hook = hooks->pre_restore(hooks->arg, &run->hook_err);
	if (strcmp(script, "pre-resume") != 0)
		return;
	if (hooks->pre_resume)
		run->hook = hooks->pre_resume(hooks->arg, run->root, &run->hook_err);
	/* CRIU does not heed an answer here: it would let them run. It traces them, so that they
	 * can only be waited for when it has ended. */
	if (run->hook)
		tree_kill(run->root);
	else
		streams_set_terminal(&run->streams);
}

/* Serves notifications until CRIU says how the restore went: 1 done, 0 refused. */
static int serve(struct restore *run, char **ret_message, struct frem_error *err)
{
	for (;;) {
		CriuResp *resp = NULL;
		int r = session_receive(&run->session, &resp, err);

		if (r < 0)
			return r;
		if (resp->type == RPC_NOTIFY && resp->notify && resp->notify->script) {
			if (resp->notify->has_pid) {
				run->root = resp->notify->pid;
				guard_watch(&run->guard, run->root);
			}
			call_hook(run, resp->notify->script);
			criu_resp__free_unpacked(resp, NULL);
			r = session_answer(&run->session, run->hook == 0, NULL, 0, err);
			if (r < 0)
				return r;
			continue;
		}
		r = resp->success && resp->restore ? 1 : 0;
		if (r)
			run->root = resp->restore->pid;
		if (resp->cr_errmsg)
			*ret_message = strdup(resp->cr_errmsg);
		criu_resp__free_unpacked(resp, NULL);
		return r;
	}
}

static bool was_there(const struct restore *run, pid_t pid)
{
	for (size_t i = 0; i < run->before.n; i++)
		if (run->before.pids[i] == pid)
			return true;
	return false;
}

/* CRIU ends what it has made when it fails, but only we can reap the root; and where CRIU itself
 * was killed, the tree may be half there. */
static void remove_remains(struct restore *run)
{
	_cleanup_tree_ struct tree now = {0};

	if (tree_children_of_self(&now, NULL) < 0)
		return;
	for (size_t i = 0; i < now.n; i++) {
		if (was_there(run, now.pids[i]) ||
		    tree_inner_pid(now.pids[i]) != run->map->tasks[0].pid)
			continue;
		tree_kill(now.pids[i]);
		while (waitpid(now.pids[i], NULL, 0) < 0 && errno == EINTR)
			;
	}
}

/* A killed task holds its pid until it has ended and is reaped, also from a second attempt. */
static void await_remains(struct restore *run)
{
	uint64_t until = clock_ns() + GONE_MS * NSEC_PER_MSEC;

	/* the end of its first process waits for all others of a pid namespace */
	if (image_pids_bring_namespace(run->r->images_fd, run->map->tasks[0].pid))
		return;
	for (size_t i = 0; i < run->map->n_tasks; i++)
		if (!run->taken[i])
			tree_await(run->map->tasks[i].pid, until);
}

/* The tasks whose pids something else has already, which CRIU will refuse. */
static int note_taken(struct restore *run, struct frem_error *err)
{
	char path[64];

	run->taken = calloc(run->map->n_tasks, sizeof(*run->taken));
	if (!run->taken)
		return frem_oom(err);
	for (size_t i = 0; i < run->map->n_tasks; i++) {
		snprintf(path, sizeof(path), "/proc/%d", run->map->tasks[i].pid);
		run->taken[i] = access(path, F_OK) == 0;
	}
	return 0;
}

static int failed(struct restore *run, int r, const char *message, struct frem_error *err)
{
	remove_remains(run);
	await_remains(run);
	if (run->hook) {
		if (err)
			*err = run->hook_err;
		return run->hook < 0 ? run->hook : -EIO;
	}
	if (r == 0)
		r = frem_fail(err, FREM_REFUSED, 0, "restoring '%s' (pid %d): CRIU refused",
			      run->map->tasks[0].comm, run->map->tasks[0].pid);
	else
		frem_context(err, r, "restoring '%s' (pid %d)", run->map->tasks[0].comm,
			     run->map->tasks[0].pid);
	log_take_errors(run->r->work_fd, RESTORE_LOG, message, err);
	return r;
}

static int restore(struct restore *run, const struct criu_program *p, pid_t *ret_pid,
		   struct frem_error *err)
{
	_cleanup_free_ char *message = NULL;
	int r;

	/* CRIU must not take a pid that it has to restore: in a young pid namespace, the next free
	 * ones are just those */
	image_pids_avoid(run->r->images_fd);
	r = guard_start(&run->guard, err);
	if (r == 0)
		r = session_start(p, run->streams.fds, STREAMS, &run->session, err);
	if (r < 0)
		return r;
	r = send_request(run, err);
	if (r == 0)
		r = serve(run, &message, err);
	session_end(&run->session);
	if (r <= 0 || run->hook)
		return failed(run, r, message, err);
	unlinkat(run->r->work_fd, RESTORE_LOG, 0);
	*ret_pid = run->root;
	return 0;
}

int criu_restore(const struct criu_program *p, const struct criu_restore *r, pid_t *ret_pid,
		 struct frem_error *err)
{
	struct restore run = {.r = r};
	int result = image_map_read(r->images_fd, &run.map, err);

	if (result == 0)
		result = note_taken(&run, err);
	if (result == 0)
		result = tree_children_of_self(&run.before, err);
	if (result == 0)
		result = streams_connect(r->images_fd, &run.streams, err);
	if (result == 0)
		result = restore(&run, p, ret_pid, err);
	guard_release(&run.guard);
	streams_done(&run.streams);
	tree_done(&run.before);
	free(run.taken);
	image_map_free(run.map);
	return result;
}

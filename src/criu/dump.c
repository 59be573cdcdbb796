/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "criu/criu.h"
#include "criu/tree.h"
#include "image_file.h"
#include "images.pb-c.h"
#include "pids.h"
#include "run.h"
#include "sizes.h"
#include "streams.h"
#include "target.h"

#define DUMP_LOG "criu.log"
#define DUMP_STATS "stats-dump"
#define GHOST_LIMIT (512u << 20) /* bytes of a deleted file that is still open */

/* One dump while it runs. */
struct dump {
	const struct criu_dump *d;
	struct criu_session session;
	uint64_t started; /* clock when freezing began, as far as CRIU tells */
	int hook;	  /* what the hook returned */
	struct frem_error hook_err;
};

/* How CRIU keeps packets away from connections that it holds: by itself where it can; else it runs
 * the iptables command. */
static unsigned network_lock(const struct criu_program *p)
{
	const char *const argv[] = {p->path, "check", "--feature", "network_lock_nftables", NULL};
	char out[1024];

	return run_command(argv, out, sizeof(out)) == 0 ? RPC_LOCK_NFTABLES : RPC_LOCK_IPTABLES;
}

static void fill_request(const struct criu_program *p, const struct criu_dump *d, CriuOpts *o)
{
	o->images_dir_fd = d->images_fd;
	o->has_pid = 1;
	o->pid = d->pid;
	o->has_leave_running = 1;
	o->leave_running = !d->stop;
	o->has_shell_job = 1; /* also where the session leader stays outside of the tree */
	o->shell_job = 1;
	o->has_file_locks = 1;
	o->file_locks = 1;
	o->has_ext_unix_sk = 1; /* datagrams to a named socket outside, such as syslog's */
	o->ext_unix_sk = 1;
	/* links to files that have lost their name stay on disk only where the program ends */
	o->has_link_remap = 1;
	o->link_remap = d->stop;
	o->has_ghost_limit = 1;
	o->ghost_limit = GHOST_LIMIT;
	o->has_manage_cgroups_mode = 1; /* restorable where these cgroups do not exist */
	o->manage_cgroups_mode = RPC_CGROUPS_IGNORE;
	o->has_tcp_skip_in_flight = 1; /* a client that is not accepted yet must not fail it */
	o->tcp_skip_in_flight = 1;
	o->has_network_lock = 1;
	if (d->tcp == CRIU_TCP_ESTABLISHED) {
		o->has_tcp_established = 1;
		o->tcp_established = 1;
		o->network_lock = network_lock(p);
	} else {
		o->has_tcp_close = 1; /* the connections are not even looked at */
		o->tcp_close = 1;
		o->network_lock = RPC_LOCK_SKIP;
	}
	o->has_log_level = 1;
	o->log_level = 2;
	o->log_file = (char *)DUMP_LOG;
	o->has_notify_scripts = 1;
	o->notify_scripts = 1;
}

static int send_request(struct dump *run, const struct criu_program *p, struct frem_error *err)
{
	CriuOpts opts = CRIU_OPTS__INIT;
	CriuReq req = CRIU_REQ__INIT;

	fill_request(p, run->d, &opts);
	req.type = RPC_DUMP;
	req.opts = &opts;
	return session_send(&run->session, &req, err);
}

/* Moves the pids of the live tree into the order of the image's tasks. */
static int order_as_image(struct tree *t, int dirfd, struct frem_error *err)
{
	_cleanup_free_ int32_t *wanted = NULL;
	_cleanup_free_ pid_t *inner = calloc(t->n, sizeof(*inner));
	size_t n, done = 0;
	int r;

	if (!inner)
		return frem_oom(err);
	r = image_pids_read(dirfd, &wanted, &n, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < t->n; i++)
		inner[i] = tree_inner_pid(t->pids[i]);
	for (size_t task = 0; task < n; task++) {
		size_t i = done;
		pid_t real, its;

		while (i < t->n && inner[i] != wanted[task])
			i++;
		if (i == t->n)
			continue;
		real = t->pids[i];
		its = inner[i];
		memmove(&t->pids[done + 1], &t->pids[done], (i - done) * sizeof(pid_t));
		memmove(&inner[done + 1], &inner[done], (i - done) * sizeof(pid_t));
		t->pids[done] = real;
		inner[done++] = its;
	}
	t->n = done;
	return 0;
}

static int call_post_dump(struct dump *run)
{
	const struct criu_hooks *hooks = &run->d->hooks;
	_cleanup_tree_ struct tree t = {0};
	int r;

	r = sizes_record(run->d->images_fd, &run->hook_err);
	if (r < 0 || !hooks->post_dump)
		return r;
	r = tree_read(run->d->pid, &t, &run->hook_err);
	if (r == 0)
		r = order_as_image(&t, run->d->images_fd, &run->hook_err);
	if (r < 0)
		return r;
	return hooks->post_dump(hooks->arg, t.pids, t.n, &run->hook_err);
}

static int notified(struct dump *run, const char *script, struct frem_error *err)
{
	struct stream_keys keys = {0};
	int r = 0;

	if (!strcmp(script, "pre-dump")) {
		run->started = clock_ns();
	} else if (!strcmp(script, "query-ext-files")) {
		r = streams_find_external(run->d->pid, &keys, err);
		if (r == 0)
			r = session_answer(&run->session, true, keys.list, keys.n, err);
		stream_keys_done(&keys);
		return r;
	} else if (!strcmp(script, "post-dump")) {
		run->hook = call_post_dump(run);
	}
	return session_answer(&run->session, run->hook == 0, NULL, 0, err);
}

/* Serves notifications until CRIU says how the dump went: 1 done, 0 refused. */
static int serve(struct dump *run, char **ret_message, struct frem_error *err)
{
	for (;;) {
		CriuResp *resp = NULL;
		int r = session_receive(&run->session, &resp, err);

		if (r < 0)
			return r;
		if (resp->type == RPC_NOTIFY && resp->notify && resp->notify->script) {
			r = notified(run, resp->notify->script, err);
			criu_resp__free_unpacked(resp, NULL);
			if (r < 0)
				return r;
			continue;
		}
		r = resp->success ? 1 : 0;
		if (resp->cr_errmsg)
			*ret_message = strdup(resp->cr_errmsg);
		criu_resp__free_unpacked(resp, NULL);
		return r;
	}
}

/* CRIU's own account of how long the tasks were frozen, in microseconds; 0 where there is none. */
static double frozen_us(int dirfd)
{
	_cleanup_image_file_ struct image_file f = {0};
	const uint8_t *data;
	ImageStats *stats;
	double us = 0;
	size_t n;

	if (image_file_read(dirfd, DUMP_STATS, IMAGE_MAGIC_STATS, &f, NULL) < 0 ||
	    image_file_next(&f, &data, &n, NULL) != 1)
		return 0;
	stats = image_stats__unpack(NULL, n, data);
	if (stats && stats->dump)
		us = (double)stats->dump->freezing_time + (double)stats->dump->frozen_time;
	if (stats)
		image_stats__free_unpacked(stats, NULL);
	return us;
}

/* CRIU does not tell why writing its images failed, but its log does. */
static bool disk_full(const struct dump *run, const struct frem_error *err)
{
	struct statvfs fs;

	if (err && strstr(err->detail, strerror(ENOSPC)))
		return true;
	return fstatvfs(run->d->images_fd, &fs) == 0 && fs.f_bavail == 0;
}

static int disk_full_error(const struct dump *run, struct frem_error *err)
{
	int r = frem_fail(err, FREM_FAILED, ENOSPC, "dumping process %d: writing the image",
			  run->d->pid);

	return frem_hint(err, r,
			 "FREM_RUN_DIR names another place for run directories; it has to hold "
			 "the program's memory");
}

static int refused(struct dump *run, const char *message, struct frem_error *err)
{
	int r;

	if (run->hook) {
		if (err)
			*err = run->hook_err;
		return run->hook < 0 ? run->hook : -EIO;
	}
	r = frem_fail(err, FREM_REFUSED, 0, "dumping process %d: CRIU refused", run->d->pid);
	target_hint(run->d->pid, err);
	log_take_errors(run->d->images_fd, DUMP_LOG, message, err);
	return disk_full(run, err) ? disk_full_error(run, err) : r;
}

int criu_dump(const struct criu_program *p, const struct criu_dump *d, double *ret_frozen_ms,
	      struct frem_error *err)
{
	struct dump run = {.d = d, .started = clock_ns()};
	_cleanup_free_ char *message = NULL;
	double ms, us;
	int r = target_check(d->pid, err);

	if (r == 0)
		r = session_start(p, NULL, 0, &run.session, err);
	if (r < 0)
		return r;
	r = send_request(&run, p, err);
	if (r == 0)
		r = serve(&run, &message, err);
	ms = clock_ms_since(run.started);
	session_end(&run.session);
	if (r < 0) {
		frem_context(err, r, "dumping process %d", d->pid);
		log_take_errors(d->images_fd, DUMP_LOG, NULL, err);
		return r;
	}
	if (r == 0)
		return refused(&run, message, err);
	us = frozen_us(d->images_fd);
	*ret_frozen_ms = us > 0 ? us / 1000 : ms;
	unlinkat(d->images_fd, DUMP_STATS, 0);
	unlinkat(d->images_fd, DUMP_LOG, 0);
	return 0;
}

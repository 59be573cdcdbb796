/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "events.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "events.skel.h"

#define MOST_LINKS 16u

struct events {
	struct events_bpf *skeleton;
	struct ring_buffer *ring;
	struct bpf_link *links[MOST_LINKS];
	size_t n_links;
	bool attached; /* as far as it can be */
	bool tell_end;
	events_take take; /* during a drain */
	void *arg;
};

/* ---- loading ---- */

static int take_event(void *ctx, void *data, size_t size)
{
	struct events *e = ctx;

	(void)size;
	e->take(e->arg, data);
	return 0;
}

int events_new(struct events **ret, const struct page_layout *layout, struct frem_error *err)
{
	LIBBPF_OPTS(bpf_test_run_opts, options);
	struct events *e = calloc(1, sizeof(*e));
	struct events_bpf *s;
	int r = 0;

	if (!e)
		return frem_oom(err);
	s = e->skeleton = events_bpf__open_and_load();
	if (!s)
		r = frem_fail(err, FREM_UNABLE, errno, "loading BPF programs");
	if (!r) {
		s->bss->direct_map = layout->direct_map;
		s->bss->encryption = layout->encryption;
		s->bss->levels = layout->levels;
		if (bpf_prog_test_run_opts(bpf_program__fd(s->progs.find_own_level), &options))
			r = frem_fail(err, FREM_UNABLE, errno, "running a BPF program");
	}
	if (!r) {
		e->ring = ring_buffer__new(bpf_map__fd(s->maps.ring), take_event, e, NULL);
		if (!e->ring)
			r = frem_fail(err, FREM_UNABLE, errno, "mapping a BPF ring buffer");
	}
	if (r < 0) {
		events_free(e);
		return r;
	}
	*ret = e;
	return 0;
}

void events_free(struct events *e)
{
	if (!e)
		return;
	events_detach(e);
	ring_buffer__free(e->ring);
	events_bpf__destroy(e->skeleton);
	free(e);
}

/* ---- attaching ---- */

static bool keep_link(struct events *e, struct bpf_link *link)
{
	if (link)
		e->links[e->n_links++] = link;
	return link != NULL;
}

static bool attach_raw(struct events *e, const struct bpf_program *p)
{
	return keep_link(e, bpf_program__attach(p));
}

/* The files that describe tracepoints, wherever they are mounted, or if they are not. */
static int open_tracefs(void)
{
	_cleanup_close_ int context = fsopen("tracefs", FSOPEN_CLOEXEC);

	if (context >= 0 && !fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0)) {
		int fd = fsmount(context, FSMOUNT_CLOEXEC, 0);

		if (fd >= 0)
			return fd;
	}
	return open("/sys/kernel/tracing", O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static bool read_number(int dir, const char *path, uint64_t *ret)
{
	_cleanup_close_ int fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
	char text[32] = "";

	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		return false;
	*ret = strtoull(text, NULL, 10);
	return true;
}

/* point: sys_enter_... or sys_exit_... */
static bool attach_syscall(struct events *e, int tracefs, const struct bpf_program *p,
			   const char *point)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_TRACEPOINT, .size = sizeof(attr), .sample_period = 1};
	struct bpf_link *link;
	uint64_t id;
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "events/syscalls/%s/id", point);
	if (!read_number(tracefs, path, &id))
		return false;
	attr.config = id;
	/* a BPF program sees the calls of everybody, whatever the processor of its event */
	fd = (int)syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
	if (fd < 0)
		return false;
	link = bpf_program__attach_perf_event(p, fd);
	if (!link)
		close(fd);
	return keep_link(e, link);
}

static void attach_syscalls(struct events *e, bool *ret_discards, bool *ret_moves, bool *ret_pins)
{
	const struct events_bpf *s = e->skeleton;
	_cleanup_close_ int tracefs = open_tracefs();

	*ret_discards = attach_syscall(e, tracefs, s->progs.madvise_entered, "sys_enter_madvise") &&
			attach_syscall(e, tracefs, s->progs.process_madvise_entered,
				       "sys_enter_process_madvise");
	*ret_moves = attach_syscall(e, tracefs, s->progs.mremap_done, "sys_exit_mremap");
	*ret_pins = attach_syscall(e, tracefs, s->progs.vmsplice_entered, "sys_enter_vmsplice");
	/* where there is no io_uring there is nothing to tell of it */
	attach_syscall(e, tracefs, s->progs.io_uring_register_entered,
		       "sys_enter_io_uring_register");
}

void events_attach(struct events *e)
{
	const struct events_bpf *s = e->skeleton;
	bool direct, forks, discards, moves, pins;

	if (e->attached)
		return;
	e->attached = true;
	/* the one for the longer list of arguments is refused where the list is short */
	e->tell_end = attach_raw(e, s->progs.mmap_lock_taken_path) ||
		      attach_raw(e, s->progs.mmap_lock_taken);
	forks = attach_raw(e, s->progs.forked);
	direct = attach_raw(e, s->progs.direct_io_begins);
	attach_syscalls(e, &discards, &moves, &pins);
	if (!e->tell_end || !forks || !direct || !discards || !moves || !pins)
		log_notice("tracking: this kernel does not tell of%s%s%s%s%s%s, ignoring: the "
			   "touch set may be less exact",
			   e->tell_end ? "" : " memory unmapped,", discards ? "" : " discarded,",
			   moves ? "" : " moved,", forks ? "" : " shared with children,",
			   pins ? "" : " pinned,", direct ? "" : " used by direct I/O,");
}

static void *detach(void *link)
{
	bpf_link__destroy(link);
	return NULL;
}

/* Detaching from a system call's tracepoint waits for some 60 ms, until no processor can be in it
 * any more: all at once that is waited for once. */
void events_detach(struct events *e)
{
	pthread_t threads[MOST_LINKS];
	size_t n = 0;

	while (e->n_links) {
		struct bpf_link *link = e->links[--e->n_links];

		if (pthread_create(&threads[n], NULL, detach, link))
			bpf_link__destroy(link);
		else
			n++;
	}
	while (n)
		pthread_join(threads[--n], NULL);
}

/* ---- telling ---- */

int events_track(struct events *e, const uint64_t *mms, size_t n, struct frem_error *err)
{
	int map = bpf_map__fd(e->skeleton->maps.spaces);

	e->skeleton->bss->next_space = (uint32_t)n;
	for (size_t i = 0; i < n; i++) {
		struct event_space space = {.number = (uint32_t)i};

		if (mms[i] && bpf_map_update_elem(map, &mms[i], &space, BPF_ANY))
			return frem_fail(err, FREM_FAILED, errno, "filling a BPF map");
	}
	return 0;
}

bool events_tell_end(const struct events *e)
{
	return e->tell_end;
}

void events_drain(struct events *e, events_take take, void *arg)
{
	e->take = take;
	e->arg = arg;
	e->skeleton->bss->told = 0;
	ring_buffer__consume(e->ring);
}

uint64_t events_lost(const struct events *e)
{
	return e->skeleton->bss->lost;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "bpf_walker.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cpuid.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "pagetable_x86_64.h"
#include "self_test.h"
#include "young.skel.h"

struct bpf_walker {
	struct young_bpf *skeleton;
	const struct young_record *records; /* mapped from the BPF map */
	size_t records_size;
};

/* ---- loading ---- */

__attribute__((format(printf, 2, 0))) static int libbpf_line(enum libbpf_print_level level,
							     const char *fmt, va_list args)
{
	char line[512];
	int n;

	if (level == LIBBPF_DEBUG) /* hundreds of lines a load */
		return 0;
	n = vsnprintf(line, sizeof(line), fmt, args);
	if (n > 0 && n < (int)sizeof(line) && line[n - 1] == '\n')
		line[n - 1] = 0;
	log_debug("libbpf: %s", line);
	return n;
}

static void route_libbpf_output(void)
{
	libbpf_set_print(libbpf_line);
}

static bool has_capability(unsigned capability)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/self/status", "re");
	uint64_t effective = 0;
	char line[256];

	while (f && fgets(line, sizeof(line), f))
		if (strncmp(line, "CapEff:", 7) == 0)
			effective = strtoull(line + 7, NULL, 16);
	return effective >> capability & 1;
}

static bool locked_down(void)
{
	_cleanup_fclose_ FILE *f = fopen("/sys/kernel/security/lockdown", "re");
	char line[128];

	return f && fgets(line, sizeof(line), f) && strstr(line, "[confidentiality]");
}

/* Numbers of linux/capability.h. */
#define CAPABILITY_SYS_ADMIN 21
#define CAPABILITY_PERFMON 38
#define CAPABILITY_BPF 39

static int load_failed(int errnum, struct frem_error *err)
{
	int r;

	if (access("/sys/kernel/btf/vmlinux", R_OK)) {
		r = frem_fail(err, FREM_UNABLE, 0, "this kernel does not describe its types (BTF)");
		return frem_hint(err, r, "use a kernel built with CONFIG_DEBUG_INFO_BTF");
	}
	if (!has_capability(CAPABILITY_SYS_ADMIN) &&
	    !(has_capability(CAPABILITY_BPF) && has_capability(CAPABILITY_PERFMON))) {
		r = frem_fail(err, FREM_UNABLE, EPERM, "loading a BPF program");
		return frem_hint(err, r, "run as root, or with CAP_BPF and CAP_PERFMON");
	}
	if (locked_down()) {
		r = frem_fail(err, FREM_UNABLE, EPERM, "the kernel is locked down");
		return frem_hint(err, r, "boot with lockdown=integrity or without lockdown");
	}
	r = frem_fail(err, FREM_UNABLE, errnum, "loading a BPF program");
	return frem_hint(
		err, r,
		"Linux 6.1 or later with CONFIG_BPF_SYSCALL and CONFIG_DEBUG_INFO_BTF is needed");
}

static int map_records(struct bpf_walker *w, struct frem_error *err)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t size = (YOUNG_RECORDS * sizeof(struct young_record) + page - 1) & ~(page - 1);
	void *p =
		mmap(NULL, size, PROT_READ, MAP_SHARED, bpf_map__fd(w->skeleton->maps.records), 0);

	if (p == MAP_FAILED)
		return frem_fail(err, FREM_UNABLE, errno, "mapping a BPF map");
	w->records = p;
	w->records_size = size;
	return 0;
}

/* ---- the layout of page tables ---- */

/* The memory-encryption bit of AMD's SME and SEV (APM volume 3, CPUID 8000001F). Intel's TDX marks
 * shared pages instead, and page tables never are. */
static uint64_t encryption_bit(void)
{
	unsigned a = 0, b = 0, c = 0, d = 0;

	if (!__get_cpuid(0x8000001f, &a, &b, &c, &d) || !(a & 3))
		return 0;
	return UINT64_C(1) << (b & 63);
}

/* The address of the kernel's variable that tells where a randomised direct map starts, or 0. */
static uint64_t direct_map_symbol(void)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/kallsyms", "re");
	char line[512], *rest;

	while (f && fgets(line, sizeof(line), f)) {
		uint64_t address = strtoull(line, &rest, 16);

		/* "ffffffff82a1b2c0 D name" */
		if (strlen(rest) > 3 && strcmp(rest + 3, "page_offset_base\n") == 0)
			return address;
	}
	return 0;
}

static int ignore_record(void *arg, const struct young_record *r, struct frem_error *err)
{
	(void)arg;
	(void)r;
	(void)err;
	return 0;
}

/* The word at a kernel address, 0 if it cannot be read. */
static int read_kernel_word(struct bpf_walker *w, uint64_t address, uint64_t *ret,
			    struct frem_error *err)
{
	struct young_bpf__bss *bss = w->skeleton->bss;
	struct bpf_walk walk = {};
	int r = bpf_walker_attach(w, getpid(), &walk.link, err);

	if (r < 0)
		return r;
	bss->peek_at = address;
	r = bpf_walker_next(w, &walk, ignore_record, NULL, err);
	bss->peek_at = 0;
	bpf_link__destroy(walk.link);
	if (r < 0)
		return r;
	*ret = bss->peeked;
	return 0;
}

/* Both numbers of levels at one base: 1 if one of them is right, 0 if none is, or an error. */
static int try_layout(struct bpf_walker *w, uint64_t direct_map, struct frem_error *err)
{
	for (unsigned levels = PT_LEVELS_MIN; levels <= PT_LEVELS_MAX; levels++) {
		int r;

		w->skeleton->bss->direct_map = direct_map;
		w->skeleton->bss->levels = levels;
		r = self_test(w, err);
		log_debug("page tables of %u levels, direct map at %#" PRIx64 ": %s", levels,
			  direct_map, r > 0 ? "right" : "wrong");
		if (r)
			return r;
	}
	return 0;
}

static int find_layout(struct bpf_walker *w, struct frem_error *err)
{
	uint64_t symbol, direct_map = 0;
	int r;

	w->skeleton->bss->encryption = encryption_bit();
	r = try_layout(w, PT_DIRECT_MAP_4, err);
	if (!r)
		r = try_layout(w, PT_DIRECT_MAP_5, err);
	symbol = r ? 0 : direct_map_symbol();
	if (symbol) {
		r = read_kernel_word(w, symbol, &direct_map, err);
		if (!r)
			r = try_layout(w, direct_map, err);
	}
	if (r < 0)
		return frem_context(err, r, "self-test");
	if (r > 0)
		return 0;
	r = frem_fail(err, FREM_UNABLE, 0, "the page tables of this kernel are not where expected");
	return frem_hint(err, r,
			 "a kernel that randomises its memory needs CONFIG_KALLSYMS_ALL, and "
			 "frem CAP_SYSLOG to read /proc/kallsyms");
}

void bpf_walker_layout(const struct bpf_walker *w, struct page_layout *ret)
{
	const struct young_bpf__bss *bss = w->skeleton->bss;

	*ret = (struct page_layout){bss->direct_map, bss->encryption, bss->levels};
}

int bpf_walker_new(struct bpf_walker **ret, struct frem_error *err)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct bpf_walker *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return frem_oom(err);
	pthread_once(&once, route_libbpf_output);
	w->skeleton = young_bpf__open_and_load();
	if (!w->skeleton)
		r = load_failed(errno, err);
	else
		r = map_records(w, err);
	if (!r)
		r = find_layout(w, err);
	if (r < 0) {
		bpf_walker_free(w);
		return r;
	}
	*ret = w;
	return 0;
}

void bpf_walker_free(struct bpf_walker *w)
{
	if (!w)
		return;
	if (w->records)
		munmap((void *)w->records, w->records_size);
	young_bpf__destroy(w->skeleton);
	free(w);
}

/* ---- reading ---- */

int bpf_walker_attach(struct bpf_walker *w, pid_t pid, struct bpf_link **ret,
		      struct frem_error *err)
{
	union bpf_iter_link_info info = {.task.pid = (uint32_t)pid};
	LIBBPF_OPTS(bpf_iter_attach_opts, options, .link_info = &info,
		    .link_info_len = sizeof(info));
	struct bpf_link *link = bpf_program__attach_iter(w->skeleton->progs.young_walk, &options);

	if (!link && errno == ESRCH)
		return -ESRCH;
	if (!link)
		return frem_hint(err,
				 frem_fail(err, FREM_UNABLE, errno, "attaching a BPF iterator"),
				 "Linux 6.1 or later is needed");
	*ret = link;
	return 0;
}

/* One read of the iterator, from start to end or to the program's own pause. What the program
 * tells is in bss then. */
static int read_once(struct bpf_walker *w, struct bpf_link *link, struct frem_error *err)
{
	struct young_bpf__bss *bss = w->skeleton->bss;
	_cleanup_close_ int fd = bpf_iter_create(bpf_link__fd(link));
	char none;
	ssize_t n;

	if (fd < 0)
		return frem_fail(err, FREM_FAILED, errno, "opening a BPF iterator");
	bss->thread = 0;
	bss->n_records = 0;
	bss->n_mappings = 0;
	bss->replaced = 0;
	bss->paused = 0;
	bss->n_pages = 0;
	bss->ended = 0;
	do {
		n = read(fd, &none, sizeof(none));
	} while (n < 0 && (errno == EINTR || (errno == EAGAIN && !bss->ended)));
	return n < 0 && !bss->ended ? frem_fail(err, FREM_FAILED, errno, "reading a BPF iterator")
				    : 0;
}

int bpf_walker_next(struct bpf_walker *w, struct bpf_walk *walk, bpf_walker_take take, void *arg,
		    struct frem_error *err)
{
	struct young_bpf__bss *bss = w->skeleton->bss;
	uint64_t begin = clock_ns(), taking;
	int r;

	bss->expected = walk->expected;
	bss->want_present = walk->present;
	bss->resume = walk->resume;
	bss->until = walk->until ? walk->until : UINT64_MAX;
	r = read_once(w, walk->link, err);
	if (r < 0)
		return r;
	if (!bss->n_mappings || bss->replaced)
		return -ESRCH;
	if (!walk->resume) {
		walk->expected = bss->told.identity;
		walk->flushes = bss->told.flushes;
		walk->anonymous = bss->told.anonymous;
		walk->swapped = bss->told.swapped;
	}
	taking = clock_ns();
	walk->read_ns += taking - begin;
	for (uint32_t i = 0; i < bss->n_records && !r; i++)
		r = take(arg, &w->records[i], err);
	walk->take_ns += clock_ns() - taking;
	if (r < 0)
		return r;
	if (!bss->paused || bss->resume <= walk->resume)
		return 0;
	walk->resume = bss->resume;
	return 1;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lazy_pages_options.h"

#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#include "options.h"
#include "units.h"

#define VERBOSITY 2 /* CRIU's default: warnings */
#define VERBOSITY_MOST 4

/* Beside those of the table. */
enum {
	OPT_AUTO_DEDUP = 1000,
	OPT_NO_DAEMON,
	OPT_OTHER, /* accepted, no effect here */
	/* refused */
	OPT_PAGE_SERVER,
	OPT_STREAM,
	OPT_CRIU_CONFIG,
	OPT_SCRIPT,
};

#define OTHER(name, argument)                   \
	{                                       \
		name, argument, NULL, OPT_OTHER \
	}
#define OTHER_FLAG(name) OTHER(name, no_argument), OTHER("no-" name, no_argument)

/* Those of CRIU 4.2 (criu/config.c). */
static const char shorts[] = "dSsRt:D:o:v::x::r:jJ:lW:L:M:";

static const struct option longs[] = {
	{"images-dir", required_argument, NULL, 'D'},
	{"work-dir", required_argument, NULL, 'W'},
	{"log-file", required_argument, NULL, 'o'},
	{"verbosity", optional_argument, NULL, 'v'},
	{"status-fd", required_argument, NULL, OPT_STATUS_FD},
	{"daemon", no_argument, NULL, 'd'},
	{"restore-detached", no_argument, NULL, 'd'},
	{"no-daemon", no_argument, NULL, OPT_NO_DAEMON},
	{"no-restore-detached", no_argument, NULL, OPT_NO_DAEMON},
	{"pidfile", required_argument, NULL, OPT_PIDFILE},
	{"auto-dedup", no_argument, NULL, OPT_AUTO_DEDUP},

	{"page-server", no_argument, NULL, OPT_PAGE_SERVER},
	{"ps-socket", required_argument, NULL, OPT_PAGE_SERVER},
	{"stream", no_argument, NULL, OPT_STREAM},
	{"config", required_argument, NULL, OPT_CRIU_CONFIG},
	{"action-script", required_argument, NULL, OPT_SCRIPT},

	OTHER("address", required_argument),
	OTHER("all", no_argument),
	OTHER_FLAG("allow-uprobes"),
	OTHER("cgroup-dump-controller", required_argument),
	OTHER("cgroup-props", required_argument),
	OTHER("cgroup-props-file", required_argument),
	OTHER("cgroup-root", required_argument),
	OTHER("cgroup-yard", required_argument),
	OTHER("close", required_argument),
	OTHER("cpu-cap", optional_argument),
	OTHER_FLAG("deprecated"),
	OTHER_FLAG("display-stats"),
	OTHER("empty-ns", required_argument),
	OTHER("enable-external-masters", no_argument),
	OTHER("enable-external-sharing", no_argument),
	OTHER("enable-fs", required_argument),
	OTHER_FLAG("evasive-devices"),
	OTHER("exec-cmd", no_argument),
	OTHER_FLAG("experimental"),
	OTHER("ext-mount-map", required_argument),
	OTHER("ext-unix-sk", optional_argument),
	OTHER("external", required_argument),
	OTHER_FLAG("extra"),
	OTHER("feature", required_argument),
	OTHER_FLAG("file-locks"),
	OTHER("file-validation", required_argument),
	OTHER_FLAG("force-irmap"),
	OTHER("freeze-cgroup", required_argument),
	OTHER_FLAG("ghost-fiemap"),
	OTHER("ghost-limit", required_argument),
	OTHER("inherit-fd", required_argument),
	OTHER("irmap-scan-path", required_argument),
	OTHER("join-ns", required_argument),
	OTHER("lazy-pages", no_argument),
	OTHER("leave-running", no_argument),
	OTHER("leave-stopped", no_argument),
	OTHER("libdir", required_argument),
	OTHER_FLAG("link-remap"),
	OTHER_FLAG("log-pid"),
	OTHER("lsm-mount-context", required_argument),
	OTHER("lsm-profile", required_argument),
	OTHER("manage-cgroups", optional_argument),
	OTHER_FLAG("mntns-compat-mode"),
	OTHER("network-lock", required_argument),
	OTHER("no-auto-dedup", no_argument),
	OTHER("no-default-config", no_argument),
	OTHER("no-page-server", no_argument),
	OTHER("no-stream", no_argument),
	OTHER("port", required_argument),
	OTHER("pre-dump-mode", required_argument),
	OTHER("prev-images-dir", required_argument),
	OTHER_FLAG("restore-sibling"),
	OTHER("root", required_argument),
	OTHER_FLAG("shell-job"),
	OTHER_FLAG("skip-file-rwx-check"),
	OTHER_FLAG("skip-in-flight"),
	OTHER("skip-mnt", required_argument),
	OTHER_FLAG("tcp-close"),
	OTHER_FLAG("tcp-established"),
	OTHER("timeout", required_argument),
	OTHER_FLAG("tls"),
	OTHER("tls-cacert", required_argument),
	OTHER("tls-cacrl", required_argument),
	OTHER("tls-cert", required_argument),
	OTHER("tls-key", required_argument),
	OTHER("tls-no-cn-verify", no_argument),
	OTHER_FLAG("track-mem"),
	OTHER("tree", required_argument),
	OTHER_FLAG("unprivileged"),
	OTHER("veth-pair", required_argument),
	OTHER_FLAG("weak-sysctls"),
	{NULL, 0, NULL, 0},
};

static int refuse(const char *what, struct frem_error *err)
{
	return frem_fail(err, FREM_USAGE, 0, "lazy-pages: %s is not supported", what);
}

static int take_verbosity(const char *value, struct lazy_pages_options *o, struct frem_error *err)
{
	uint64_t n = (uint64_t)o->verbosity + 1;
	int r = value ? units_parse_number(value, "--verbosity", 0, VERBOSITY_MOST, &n, err) : 0;

	if (r == 0)
		o->verbosity = (int)n;
	return r;
}

static int take_status_fd(const char *value, struct lazy_pages_options *o, struct frem_error *err)
{
	uint64_t n;
	int r = units_parse_number(value, "--status-fd", 0, INT_MAX, &n, err);

	if (r == 0 && fcntl((int)n, F_GETFD) < 0)
		r = frem_fail(err, FREM_USAGE, 0, "--status-fd: descriptor %d is not open", (int)n);
	if (r == 0)
		o->status_fd = (int)n;
	return r;
}

static int take_option(int opt, const char *value, struct lazy_pages_options *o,
		       struct frem_error *err)
{
	switch (opt) {
	case 'D':
		o->images = value;
		return 0;
	case 'W':
		o->work = value;
		return 0;
	case 'o':
		o->log = value;
		return 0;
	case 'v':
		return take_verbosity(value, o, err);
	case 'd':
	case OPT_NO_DAEMON:
		o->daemon = opt == 'd';
		return 0;
	case OPT_STATUS_FD:
		return take_status_fd(value, o, err);
	case OPT_PIDFILE:
		o->pidfile = value;
		return 0;
	case OPT_AUTO_DEDUP:
		o->auto_dedup = true;
		return 0;
	case OPT_PAGE_SERVER:
		return frem_hint(
			err, refuse("a page server", err),
			"copy the image directory here and leave the page server out, or let "
			"'frem checkpoint' and 'frem restart' move the memory");
	case OPT_STREAM:
		return refuse("a streamed image", err);
	case OPT_CRIU_CONFIG:
		return refuse("a file of options", err);
	case OPT_SCRIPT:
		return refuse("an action script", err);
	default:
		return 0;
	}
}

/* A row of the table, as it would be with CRIU's parser. */
static int take_default(const struct option_row *row, const char *value, void *arg,
			struct frem_error *err)
{
	int opt = row->letter ? row->letter : row->id;

	if (row->id == OPT_VERBOSITY)
		opt = 'v';
	else if (!value)
		opt = OPT_NO_DAEMON; /* the one flag */
	return take_option(opt, value, arg, err);
}

int lazy_pages_parse(int argc, char **argv, int verbose, struct lazy_pages_options *ret,
		     struct frem_error *err)
{
	struct lazy_pages_options o = {.images = ".", .status_fd = -1, .verbosity = VERBOSITY};
	int opt, r;

	r = options_take_defaults(options_lazy_pages, take_default, &o, err);
	o.verbosity += verbose;
	options_start();
	while (r == 0 && (opt = options_next(argc, argv, shorts, longs, err)) != 0)
		r = opt < 0 ? opt : take_option(opt, optarg, &o, err);
	if (r == 0)
		r = options_operands(argc, argv, 0, 0, "", err);
	if (r < 0)
		return r;
	if (!o.work)
		o.work = o.images;
	*ret = o;
	return 0;
}

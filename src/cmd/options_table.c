/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "options_table.h"

#include <stddef.h>

#define END                                            \
	{                                              \
		0, 0, NULL, ARG_NONE, NULL, NULL, NULL \
	}

const struct option_row options_none[] = {END};

const struct option_row options_global[] = {
	{OPT_STORE, 0, "store", ARG_STORE, "URL", NULL,
	 "the store: a directory, file://DIR or http[s]://HOST:PORT; given more\n"
	 "than once, replicas (default: $FREM_STORE)"},
	{OPT_STORE_TIMEOUT, 0, "store-timeout", ARG_DURATION, "DUR", NULL,
	 "how long a store may be unreachable (default: 60s; 1s at first)"},
	{OPT_JSON, 0, "json", ARG_NONE, NULL, NULL, "print the result, or the error, as JSON"},
	{OPT_VERBOSE, 'v', "verbose", ARG_NONE, NULL, NULL, "say more; twice: everything"},
	{OPT_QUIET, 'q', "quiet", ARG_NONE, NULL, NULL,
	 "say warnings and errors alone; twice: errors alone"},
	{OPT_LOG_LEVEL, 0, "log-level", ARG_TEXT, "LEVEL", "error|warning|notice|info|debug",
	 "say this and what is worse: error, warning, notice (default), info or\n"
	 "debug"},
	{OPT_COLOR, 0, "color", ARG_TEXT, "WHEN", "auto|always|never",
	 "colours: auto (default: on a terminal), always or never"},
	{OPT_CRIU, 0, "criu", ARG_FILE, "FILE", NULL,
	 "the CRIU program (default: $FREM_CRIU, or the one that is found)"},
	{OPT_RUN_DIR, 0, "run-dir", ARG_DIR, "DIR", NULL,
	 "for what is needed while it runs (default: $FREM_RUN_DIR, or /var/tmp)"},
	{OPT_CONFIG_FILE, 0, "config-file", ARG_FILE, "FILE", NULL,
	 "read this in place of /etc/frem.conf and ~/.config/frem/frem.conf"},
	{OPT_HELP, 'h', "help", ARG_NONE, NULL, NULL, "show this help"},
	{OPT_VERSION, 0, "version", ARG_NONE, NULL, NULL, "show the version and what is built in"},
	END,
};

const struct option_row options_checkpoint[] = {
	{OPT_PID, 0, "pid", ARG_PID, "PID", NULL, "the root of the process tree"},
	{OPT_NAME, 0, "name", ARG_NAME, "NAME", NULL,
	 "the job's name; checkpoints are numbered NAME@1, NAME@2, ..."},
	{OPT_STOP, 0, "stop", ARG_NONE, NULL, NULL,
	 "end the program once the checkpoint is in the store"},
	{OPT_WINDOW, 0, "window", ARG_DURATION, "DUR", "auto|off",
	 "how long to record its touch set: auto (default), off, or 10s, 2m"},
	{OPT_LINK, 0, "link", ARG_RATE, "RATE", NULL,
	 "the rate that a restart can expect, for auto: 7MB/s, 200Mbit/s"},
	{OPT_TCP, 0, "tcp", ARG_TEXT, "MODE", "close|established",
	 "connections: close (default) or established"},
	END,
};

const struct option_row options_import[] = {
	{OPT_NAME, 0, "name", ARG_NAME, "NAME", NULL,
	 "the job's name; it becomes the next of NAME@1, NAME@2, ..."},
	{OPT_TCP, 0, "tcp", ARG_TEXT, "MODE", "close|established",
	 "connections: close or established (default: as the image says)"},
	END,
};

const struct option_row options_lazy_pages[] = {
	{OPT_IMAGES_DIR, 'D', "images-dir", ARG_DIR, "DIR", NULL, "the image (default: .)"},
	{OPT_WORK_DIR, 'W', "work-dir", ARG_DIR, "DIR", NULL,
	 "where the socket, the log and the pid file are (default: as -D)"},
	{OPT_LOG_FILE, 'o', "log-file", ARG_FILE, "FILE", NULL,
	 "the log (default: standard error); '-' is standard output"},
	{OPT_VERBOSITY, 0, "verbosity", ARG_NUMBER, "N", "1|2|3|4",
	 "as --verbosity=N or -vN: how much is logged (default: 2)"},
	{OPT_DAEMON, 'd', "daemon", ARG_NONE, NULL, NULL, "go into the background once listening"},
	{OPT_PIDFILE, 0, "pidfile", ARG_FILE, "FILE", NULL, "with -d: the daemon's pid"},
	{OPT_STATUS_FD, 0, "status-fd", ARG_NUMBER, "FD", NULL,
	 "write a NUL byte there once listening"},
	END,
};

const struct option_row options_plan[] = {
	{OPT_MTBF, 0, "mtbf", ARG_DURATION, "DUR", NULL,
	 "mean time between failures of one process"},
	{OPT_INTERVAL, 0, "interval", ARG_DURATION, "DUR", NULL, "work between two checkpoints"},
	{OPT_LINK, 0, "link", ARG_TEXT, "RATE[,RTT]", NULL,
	 "what a restart fetches over: 7MB/s,200ms"},
	{OPT_PARALLEL, 0, "parallel", ARG_NUMBER, "N", NULL,
	 "processes that fail and restart together (default: 1)"},
	{OPT_IMAGE, 0, "image", ARG_SIZE, "SIZE", NULL,
	 "what a classic restart fetches (default: as NAME was stored)"},
	{OPT_TOUCH, 0, "touch", ARG_SIZE, "SIZE", NULL,
	 "what a fast restart fetches first (default: NAME's touch set)"},
	{OPT_TRACKING, 0, "tracking", ARG_DURATION, "DUR", NULL,
	 "what tracking costs a checkpoint (default: as NAME's did)"},
	{OPT_PAUSE, 0, "pause", ARG_DURATION, "DUR", NULL,
	 "how long a checkpoint stops the job (default: image at 1 GB/s)"},
	{OPT_OVERLAP, 0, "overlap", ARG_DURATION, "DUR", NULL,
	 "what fetching beside it costs a restarted job (default: 0)"},
	{OPT_DOWNTIME, 0, "downtime", ARG_DURATION, "DUR", NULL,
	 "from a failure until a restart begins (default: 0)"},
	END,
};

const struct option_row options_prune[] = {
	{OPT_KEEP, 0, "keep", ARG_NUMBER, "K", NULL,
	 "of each NAME, keep the latest K good checkpoints (default: all)"},
	{OPT_OLDER_THAN, 0, "older-than", ARG_DURATION, "DUR", NULL,
	 "with --keep: and all that are not older than this: 12h"},
	{OPT_LEFTOVERS, 0, "leftovers", ARG_DURATION, "DUR", NULL,
	 "the age at which an unfinished upload is taken for a leftover (default: 24h)"},
	{OPT_DRY_RUN, 0, "dry-run", ARG_NONE, NULL, NULL,
	 "say what would be removed, remove nothing"},
	END,
};

const struct option_row options_remove[] = {
	{OPT_ALL, 0, "all", ARG_NONE, NULL, NULL,
	 "all checkpoints of each NAME, and what interrupted uploads left"},
	END,
};

const struct option_row options_restart[] = {
	{OPT_RESUME, 0, "resume", ARG_TEXT, "MODE", "now|touch-set|full",
	 "when the program runs: now (default), touch-set or full"},
	{OPT_RECORD, 0, "record", ARG_DURATION, "WHEN", "auto|off",
	 "record a touch set: auto (default), off, or a time like 30s"},
	{OPT_DETACH, 0, "detach", ARG_NONE, NULL, NULL,
	 "leave the program running in the background"},
	{OPT_STATS, 0, "stats", ARG_FILE, "FILE", NULL, "write times and counters as JSON"},
	{OPT_FILES, 0, "files", ARG_TEXT, "MODE", "rollback|keep|strict",
	 "files that have changed: rollback (default), keep or strict"},
	{OPT_TCP, 0, "tcp", ARG_TEXT, "MODE", "close|established",
	 "connections: close or established (default: as checkpointed)"},
	END,
};

const struct option_row options_run[] = {
	{OPT_NAME, 0, "name", ARG_NAME, "NAME", NULL, "the job's name"},
	{OPT_EVERY, 0, "every", ARG_DURATION, "DUR", NULL,
	 "the time between checkpoints: 30s, 10m (default: only on SIGUSR1)"},
	{OPT_KEEP, 0, "keep", ARG_NUMBER, "K", NULL,
	 "keep the latest K checkpoints (default: all)"},
	{OPT_CLEAN, 0, "clean", ARG_NONE, NULL, NULL,
	 "remove all of its checkpoints once it has ended well"},
	{OPT_CHECKPOINT_ON_TERM, 0, "checkpoint-on-term", ARG_NONE, NULL, NULL,
	 "on SIGTERM, checkpoint it, end it, and exit with 85"},
	{OPT_WINDOW, 0, "window", ARG_DURATION, "DUR", "auto|off",
	 "how long to record touch sets: auto (default), off, or 10s, 2m"},
	{OPT_LINK, 0, "link", ARG_RATE, "RATE", NULL,
	 "the rate that a restart can expect, for auto: 7MB/s, 200Mbit/s"},
	{OPT_RESUME, 0, "resume", ARG_TEXT, "MODE", "now|touch-set|full",
	 "when it runs after a restart: now (default), touch-set or full"},
	{OPT_FILES, 0, "files", ARG_TEXT, "MODE", "rollback|keep|strict",
	 "files that have changed: rollback (default), keep or strict"},
	{OPT_TCP, 0, "tcp", ARG_TEXT, "MODE", "close|established",
	 "connections: close (default) or established"},
	{OPT_STATS, 0, "stats", ARG_FILE, "FILE", NULL, "write what it took as JSON"},
	END,
};

const struct option_row options_serve[] = {
	{OPT_ROOT, 0, "root", ARG_DIR, "DIR", NULL, "an existing directory"},
	{OPT_LISTEN, 0, "listen", ARG_TEXT, "ADDR:PORT", NULL,
	 "the address to listen on; port 0 takes a free one"},
	{OPT_MAX_OBJECT, 0, "max-object", ARG_NUMBER, "BYTES", NULL,
	 "refuse larger uploads (default: no limit but the disk)"},
	END,
};

const struct option_row options_verify[] = {
	{OPT_ALL, 0, "all", ARG_NONE, NULL, NULL, "all checkpoints, of each NAME or of the store"},
	END,
};

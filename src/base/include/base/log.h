/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Log lines for the curious (-v) and warnings about non-fatal trouble, which end in
 * ", ignoring: reason". The library never prints: a sink installed by cmd/ does. Without a sink,
 * lines are dropped. Thread-safe once the sink is set; the sink must be thread-safe.
 */
#ifndef FREM_BASE_LOG_H
#define FREM_BASE_LOG_H

enum log_level {
	LOG_LEVEL_WARNING,
	LOG_LEVEL_NOTICE, /* shown by default: something done that the user should know */
	LOG_LEVEL_INFO,	  /* -v */
	LOG_LEVEL_DEBUG,  /* -vv */
};

typedef void (*log_sink)(enum log_level level, const char *line);

void log_set_sink(log_sink sink, enum log_level most);

/* From now on this process says at most this much: for a helper of which only warnings matter. */
void log_limit(enum log_level most);

void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_notice(...) log_line(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif

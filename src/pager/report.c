/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "report.h"

#include <linux/sockios.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "wire.h"

/* Log lines are dropped while so much is unread, which leaves room for the events that matter. */
#define LOG_UNREAD_MAX 65536
#define SEND_BUFFER 1048576

static int report_fd = -1;

static void send_log(enum log_level level, const char *line)
{
	struct wire_report r = {.type = WIRE_LOG, .level = level};
	int unread = 0;

	if (ioctl(report_fd, SIOCOUTQ, &unread) == 0 && unread > LOG_UNREAD_MAX)
		return;
	snprintf(r.line, sizeof(r.line), "%s", line);
	send(report_fd, &r, offsetof(struct wire_report, line) + strlen(r.line) + 1,
	     MSG_NOSIGNAL | MSG_DONTWAIT);
}

void report_start(int fd)
{
	int size = SEND_BUFFER;

	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	report_fd = fd;
	log_set_sink(send_log, LOG_LEVEL_DEBUG);
}

void report_event(enum pager_event_type type, const char *notice, const struct frem_error *err)
{
	struct wire_report r = {.type = WIRE_EVENT, .event = {.type = type}};

	if (notice)
		snprintf(r.event.notice, sizeof(r.event.notice), "%s", notice);
	if (err)
		r.event.err = *err;
	send(report_fd, &r, sizeof(r), MSG_NOSIGNAL | MSG_DONTWAIT);
}

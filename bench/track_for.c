/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * track_for PID MS: tracks a running process as a checkpoint does, but without one, so that what is
 * measured meanwhile is tracking alone. Stops and continues it with signals for the moment in which
 * the accessed bits are cleared.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/cleanup.h"
#include "track/track.h"

static void pause_ms(double ms)
{
	struct timespec t = {(time_t)(ms / 1e3), (long)(ms * 1e6) % 1000000000};

	nanosleep(&t, NULL);
}

static int is_stopped(pid_t pid)
{
	_cleanup_fclose_ FILE *f = NULL;
	char path[64], line[512];
	const char *end;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (!f || !fgets(line, sizeof(line), f))
		return -1;
	end = strrchr(line, ')');
	return end && end[1] == ' ' && end[2] == 'T';
}

static int arm(struct tracker *t, pid_t pid, struct frem_error *err)
{
	int r, stopped;

	tracker_prepare(t, pid);
	kill(pid, SIGSTOP);
	while (!(stopped = is_stopped(pid)))
		pause_ms(0.2);
	r = stopped < 0 ? frem_fail(err, FREM_FAILED, ESRCH, "process %d", (int)pid)
			: tracker_arm(t, &pid, 1, err);
	kill(pid, SIGCONT);
	return r;
}

static int track(pid_t pid, double ms, struct frem_error *err)
{
	_cleanup_tracker_ struct tracker *t = NULL;
	uint64_t start = clock_ns(), pages;
	int r = tracker_new(&t, err);

	if (r == 0)
		r = arm(t, pid, err);
	if (r == 0)
		r = tracker_start(t, err);
	if (r < 0)
		return r;
	pause_ms(ms - clock_ms_since(start));
	tracker_poll(t, &pages);
	tracker_stop(t, "asked");
	printf("%llu pages touched\n", (unsigned long long)pages);
	return 0;
}

int main(int argc, char **argv)
{
	struct frem_error err = {0};
	pid_t pid = argc == 3 ? (pid_t)strtol(argv[1], NULL, 10) : 0;
	double ms = argc == 3 ? strtod(argv[2], NULL) : 0;

	if (pid <= 0 || ms <= 0) {
		fputs("usage: track_for PID MS\n", stderr);
		return FREM_USAGE;
	}
	if (track(pid, ms, &err) < 0) {
		fprintf(stderr, "track_for: %s\n", err.text);
		return (int)err.code;
	}
	return 0;
}

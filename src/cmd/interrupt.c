/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "interrupt.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>

static volatile sig_atomic_t caught;

static void on_signal(int number)
{
	if (caught)
		signal(number, SIG_DFL);
	caught = number;
}

void interrupt_catch(void)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	struct sigaction action = {.sa_handler = on_signal};

	sigemptyset(&action.sa_mask);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		struct sigaction old;

		/* nohup and shells' background jobs ignore some: leave them so */
		if (sigaction(signals[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
			sigaction(signals[i], &action, NULL);
	}
}

bool interrupted(void)
{
	return caught != 0;
}

int interrupt_signal(void)
{
	return caught;
}

void interrupt_clear(void)
{
	caught = 0;
}

int interrupt_check(struct frem_error *err)
{
	if (!caught)
		return 0;
	frem_fail(err, FREM_FAILED, 0, "stopped by signal %d (%s)", (int)caught, strsignal(caught));
	return -EINTR;
}

int interrupt_explain(int r, struct frem_error *err)
{
	return r == -EINTR && caught ? interrupt_check(err) : r;
}

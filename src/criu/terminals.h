/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What kind of terminal a device number is (Linux's list of allocated devices). */
#ifndef FREM_CRIU_TERMINALS_H
#define FREM_CRIU_TERMINALS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/sysmacros.h>
#include <sys/types.h>

/* /dev/pts/N */
static inline bool terminal_is_slave(dev_t d)
{
	return major(d) >= 136 && major(d) <= 143;
}

static inline uint32_t terminal_index(dev_t d)
{
	return minor(d) + ((major(d) - 136) << 8);
}

/* /dev/ptmx */
static inline bool terminal_is_master(dev_t d)
{
	return d == makedev(5, 2) || (major(d) >= 128 && major(d) <= 135);
}

/* /dev/tty */
static inline bool terminal_is_controlling(dev_t d)
{
	return d == makedev(5, 0);
}

/* The console, virtual terminals, serial lines. */
static inline bool terminal_is_hardware(dev_t d)
{
	return d == makedev(5, 1) || major(d) == 4 || major(d) == 188 || major(d) == 204;
}

#endif

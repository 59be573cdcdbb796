/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Scoped cleanup: a variable declared with one of these is released when it goes out of scope.
 * Every resource type declares its own helper beside its destructor with FREM_CLEANUP().
 */
#ifndef FREM_BASE_CLEANUP_H
#define FREM_BASE_CLEANUP_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(func) __attribute__((cleanup(func)))

/* Defines NAME(type *) calling free_func on a pointer variable; free_func must accept NULL. */
#define FREM_CLEANUP(type, name, free_func) \
	static inline void name(type *p)    \
	{                                   \
		free_func(*p);              \
	}

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void cleanup_fclose(FILE **f)
{
	if (*f)
		fclose(*f);
}

static inline void cleanup_closedir(DIR **d)
{
	if (*d)
		closedir(*d);
}

#define _cleanup_free_ _cleanup_(cleanup_free)
#define _cleanup_close_ _cleanup_(cleanup_close)
#define _cleanup_fclose_ _cleanup_(cleanup_fclose)
#define _cleanup_closedir_ _cleanup_(cleanup_closedir)

/* Hands a pointer or descriptor over: the variable no longer owns it. */
#define TAKE_PTR(p)                                \
	({                                         \
		__typeof__(p) *take_pp_ = &(p);    \
		__typeof__(p) take_p_ = *take_pp_; \
		*take_pp_ = NULL;                  \
		take_p_;                           \
	})

static inline int take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Thin layer over a userfaultfd's ioctls (ioctl_userfaultfd(2)); addresses are page-aligned. */
#ifndef FREM_PAGER_UFFD_H
#define FREM_PAGER_UFFD_H

#include <linux/userfaultfd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Copies `pages` pages to address, or maps zero pages there (data NULL), and wakes who waits for
 * them. Returns 0 when all are in place, or -errno; *ret_pages is how many were put in place before
 * that in either case.
 */
int uffd_put(int fd, uint64_t address, const void *data, uint64_t pages, uint64_t *ret_pages);
/* Lets the threads that wait for a page of the range try again. */
void uffd_wake(int fd, uint64_t address, uint64_t pages);
/* Lets all threads that wait for a page try again, wherever it is. */
void uffd_wake_all(int fd);
/* Whether the address space changes just now: some thread is between the start of a fork, munmap,
 * mremap or madvise and the moment when it has seen that its event was read. */
bool uffd_changing(int fd);
/*
 * What is at address: 0 where a registered mapping is, -ENOENT where none is, -EAGAIN while the
 * address space changes, -ESRCH when it is gone. Changes nothing.
 */
int uffd_probe(int fd, uint64_t address);
/* Whether its address space is still there. */
bool uffd_lives(int fd);
/* Reads up to n events. Returns their number, 0 when none is pending, or -errno. */
int uffd_read(int fd, struct uffd_msg *out, size_t n);
/* Whether a descriptor of this process is a userfaultfd. */
bool uffd_is(int fd);

#endif

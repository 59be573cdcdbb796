/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "swap_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <unistd.h>

#include "base/cleanup.h"

#define GROUP "/sys/fs/cgroup/memory/frem-test-swap"
#define ZRAM_CONTROL "/sys/class/zram-control/"
#define DISK_SIZE "1G"
#define PAGE 4096u
#define HEADER_VERSION 1024u /* where the numbers begin, mkswap(8) and include/linux/swap.h */
#define HEADER_LABEL 1052u
#define HEADER_MAGIC (PAGE - 10)
#define LABEL "frem-test-swap"

static int write_file(const char *path, const char *text)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -1;
}

/* Waits for a file that a kernel thread or udev makes, or lets go of. */
static int write_file_soon(const char *path, const char *text)
{
	for (unsigned i = 0; i < 1000; i++) {
		if (!write_file(path, text))
			return 0;
		usleep(1000);
	}
	return -1;
}

/* ---- what a test left behind ---- */

static bool is_ours(unsigned number)
{
	_cleanup_close_ int fd = -1;
	char path[64], label[sizeof(LABEL)] = "";

	snprintf(path, sizeof(path), "/dev/zram%u", number);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd >= 0 && pread(fd, label, sizeof(label), HEADER_LABEL) == sizeof(label) &&
	       !memcmp(label, LABEL, sizeof(label));
}

static void remove_device(unsigned number)
{
	char path[64], text[16];

	snprintf(path, sizeof(path), "/dev/zram%u", number);
	swapoff(path);
	snprintf(path, sizeof(path), "/sys/block/zram%u/reset", number);
	write_file_soon(path, "1");
	snprintf(text, sizeof(text), "%u", number);
	write_file_soon(ZRAM_CONTROL "hot_remove", text);
}

static void remove_our_devices(void)
{
	_cleanup_closedir_ DIR *d = opendir("/sys/block");
	struct dirent *e;

	while (d && (e = readdir(d))) {
		char *rest;
		unsigned long number;

		if (strncmp(e->d_name, "zram", 4) != 0)
			continue;
		number = strtoul(e->d_name + 4, &rest, 10);
		if (!*rest && is_ours((unsigned)number))
			remove_device((unsigned)number);
	}
}

static void remove_group(void)
{
	_cleanup_fclose_ FILE *f = fopen(GROUP "/cgroup.procs", "re");
	char line[32];

	while (f && fgets(line, sizeof(line), f))
		kill((pid_t)strtol(line, NULL, 10), SIGKILL);
	for (unsigned i = 0; i < 1000 && rmdir(GROUP) && errno == EBUSY; i++)
		usleep(1000);
}

/* ---- making it ---- */

static int label_swap(const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDWR | O_CLOEXEC);
	const char magic[] = {'S', 'W', 'A', 'P', 'S', 'P', 'A', 'C', 'E', '2'};
	uint8_t header[PAGE] = {};
	uint32_t version = 1, last_page;
	off_t size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);

	if (size < 2 * (off_t)PAGE)
		return -1;
	last_page = (uint32_t)(size / PAGE - 1);
	memcpy(header + HEADER_VERSION, &version, sizeof(version));
	memcpy(header + HEADER_VERSION + 4, &last_page, sizeof(last_page));
	memcpy(header + HEADER_LABEL, LABEL, sizeof(LABEL));
	memcpy(header + HEADER_MAGIC, magic, sizeof(magic));
	return pwrite(fd, header, PAGE, 0) == PAGE && !fsync(fd) ? 0 : -1;
}

/* Reading hot_add makes a device, and tells its number. */
static const char *make_device(void)
{
	_cleanup_close_ int fd = open(ZRAM_CONTROL "hot_add", O_RDONLY | O_CLOEXEC);
	char path[64], text[16] = "";
	unsigned number;

	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		return "this kernel has no zram";
	number = (unsigned)strtoul(text, NULL, 10);
	snprintf(path, sizeof(path), "/sys/block/zram%u/disksize", number);
	if (write_file(path, DISK_SIZE)) {
		remove_device(number);
		return "no zram device can be set up";
	}
	snprintf(path, sizeof(path), "/dev/zram%u", number);
	if (label_swap(path) || swapon(path, 0)) {
		remove_device(number);
		return "no swap device can be switched on";
	}
	return NULL;
}

static const char *make_group(size_t limit)
{
	char text[32];

	if (mkdir(GROUP, 0755))
		return "there is no memory cgroup of version 1";
	snprintf(text, sizeof(text), "%zu", limit);
	return write_file(GROUP "/memory.limit_in_bytes", text) ? "no memory limit can be set"
								: NULL;
}

const char *pressure_start(size_t limit)
{
	const char *why;

	pressure_end();
	why = make_group(limit);
	if (!why)
		why = make_device();
	if (why)
		pressure_end();
	return why;
}

int pressure_enter(void)
{
	return write_file(GROUP "/cgroup.procs", "0");
}

void pressure_end(void)
{
	remove_group();
	remove_our_devices();
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "run_command.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"

#define COMMAND_FILE "frem-command" /* each word with its NUL */
#define COMMAND_MOST ((size_t)4 << 20)

static int join(char *const *command, struct buffer *ret, struct frem_error *err)
{
	for (size_t i = 0; command[i]; i++)
		if (buffer_append(ret, command[i], strlen(command[i]) + 1) < 0)
			return frem_oom(err);
	return 0;
}

int run_command_keep(char *const *command, int images_fd, struct frem_error *err)
{
	_cleanup_close_ int fd =
		openat(images_fd, COMMAND_FILE, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	_cleanup_buffer_ struct buffer words = {0};
	int r = fd < 0 ? -errno : join(command, &words, err);

	if (r == 0)
		r = file_write_all(fd, words.data, words.len);
	return r < 0 ? frem_fail(err, FREM_FAILED, -r, "keeping the job's command line") : 0;
}

int run_command_compare(char *const *command, int images_fd, struct frem_error *err)
{
	_cleanup_buffer_ struct buffer now = {0}, then = {0};
	int r = file_read_at(images_fd, COMMAND_FILE, COMMAND_MOST, &then);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return frem_fail(err, FREM_FAILED, -r, "reading '%s'", COMMAND_FILE);
	r = join(command, &now, err);
	if (r < 0 ||
	    (now.len == then.len && (now.len == 0 || memcmp(now.data, then.data, now.len) == 0)))
		return r;
	for (size_t i = 0; i + 1 < then.len; i++)
		if (!then.data[i])
			then.data[i] = ' ';
	if (then.len)
		then.data[then.len - 1] = '\0';
	log_warning("the job was started with another command line, with which it goes on: %s",
		    then.len ? (const char *)then.data : "");
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "journal.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"

/* It is replaced when it is longer than this, some 16,000 changes, and than three times the state.
 */
#define SHORT (UINT64_C(1) << 20)

struct journal {
	struct wire_resume *shared;
	uint64_t state; /* bytes of the state that it starts with */
};

static struct wire_log *current(const struct journal *j)
{
	return &j->shared->log[j->shared->log_current & 1];
}

static int make_file(int *ret, struct frem_error *err)
{
	int fd = file_in_memory("frem-journal");

	if (fd < 0)
		return frem_fail(err, FREM_FAILED, -fd, "making the journal");
	*ret = fd;
	return 0;
}

int journal_open(struct wire_resume *shared, struct journal **ret, struct frem_error *err)
{
	struct journal *j = calloc(1, sizeof(*j));
	int r = 0;

	if (!j)
		return frem_oom(err);
	j->shared = shared;
	if (!current(j)->fd)
		r = make_file(&current(j)->fd, err);
	if (r < 0)
		free(j);
	else
		*ret = j;
	return r;
}

void journal_free(struct journal *j)
{
	free(j);
}

int journal_append(struct journal *j, const struct journal_record *records, size_t n,
		   struct frem_error *err)
{
	struct wire_log *log = current(j);
	uint64_t len = log->len;
	int r = file_pwrite_all(log->fd, records, n * sizeof(*records), len);

	if (r < 0) {
		j->shared->possible = false;
		return frem_fail(err, FREM_FAILED, -r, "writing the journal");
	}
	log->len = len + n * sizeof(*records);
	return 0;
}

int journal_read(const struct journal *j, struct buffer *ret, struct frem_error *err)
{
	const struct wire_log *log = current(j);
	size_t n = (size_t)log->len;
	int r = buffer_append(ret, NULL, n);

	if (r == 0)
		r = file_pread_all(log->fd, ret->data, n, 0);
	return r < 0 ? frem_fail(err, FREM_FAILED, -r, "reading the journal") : 0;
}

bool journal_is_long(const struct journal *j)
{
	uint64_t len = current(j)->len;

	return len > SHORT && len > 3 * j->state;
}

int journal_replace(struct journal *j, const struct buffer *state, struct frem_error *err)
{
	unsigned other = !(j->shared->log_current & 1);
	struct wire_log *old = current(j), *log = &j->shared->log[other];
	int r = make_file(&log->fd, err);

	if (r < 0)
		return r;
	r = file_pwrite_all(log->fd, state->data, state->len, 0);
	if (r < 0) {
		close(log->fd);
		log->fd = 0;
		return frem_fail(err, FREM_FAILED, -r, "writing the journal");
	}
	log->len = state->len;
	j->state = state->len;
	j->shared->log_current = other;
	close(old->fd);
	old->fd = 0;
	return 0;
}

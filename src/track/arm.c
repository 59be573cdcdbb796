/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "arm.h"

#include <errno.h>
#include <sys/pidfd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "tlb.h"

/* Pages shared with another process cannot be used to flush: try this many units of 2 MB. */
#define MOST_FLUSH_ATTEMPTS 32u

static int note_unit(void *arg, const struct young_record *r, struct frem_error *err)
{
	(void)err;
	*(uint64_t *)arg = r->unit;
	return 0;
}

/*
 * With all threads of the process frozen: makes every processor drop its cached translations of
 * the process's memory before it runs again. Best effort.
 *
 * Since Linux 5.11 clear_refs leaves them alone when it clears accessed bits, and they outlive a
 * freeze where processors tag them by address space: of pages in constant use, up to 4 % were seen
 * to be missed. But the kernel counts the flushes of an address space, and a processor that was
 * elsewhere during one, whatever its range, drops everything when it comes back. So one flush is
 * enough: of the first accessed page that can be had. If no page has its accessed bit set, there is
 * no cached translation either.
 */
static void drop_translations(struct bpf_walker *w, struct tracked_task *t, uint64_t flushes)
{
	struct bpf_walk walk = {.link = t->link, .expected = t->identity, .most = 1};
	_cleanup_close_ int fd = pidfd_open(t->pid, 0);
	struct young_task now;
	uint64_t unit;

	for (unsigned i = 0; fd >= 0 && i < MOST_FLUSH_ATTEMPTS; i++) {
		unit = 0;
		int more = bpf_walker_next(w, &walk, note_unit, &unit, NULL);

		if (unit)
			make_cold(fd, unit << YOUNG_UNIT_SHIFT, UINT64_C(1) << YOUNG_UNIT_SHIFT);
		if (more <= 0 || bpf_walker_identify(w, t->link, &now, NULL) < 0 ||
		    now.flushes != flushes)
			return;
	}
	log_debug("process %d: no translation was flushed, ignoring", (int)t->pid);
}

int arm_task(struct bpf_walker *w, struct tracked_task *t, struct frem_error *err)
{
	struct young_task now;
	int r = bpf_walker_attach(w, t->pid, &t->link, err);

	if (!r)
		r = bpf_walker_identify(w, t->link, &now, err);
	if (r)
		return r;
	t->identity = now.identity;
	drop_translations(w, t, now.flushes);
	return clear_accessed(t->pid, err);
}

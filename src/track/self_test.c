/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "self_test.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tlb.h"

#define PAGE_SHIFT 12
#define PAGE (UINT64_C(1) << PAGE_SHIFT)
#define PAGES (2 * YOUNG_UNIT_PAGES)
/* Unmapping more than 33 pages at once makes Linux drop every cached translation of the process
 * (arch/x86/mm/tlb.c, tlb_single_page_flush_ceiling). */
#define FLUSH_PAGES 64
/* Now and then, in one test of a thousand on a busy virtual machine, the bits of up to three pages
 * come late. A wrong layout errs by hundreds. */
#define MOST_WRONG (PAGES / 64)

struct known {
	uint8_t *memory; /* PAGES pages that are compared, then FLUSH_PAGES */
	uint64_t first;	 /* page number of memory */
	uint8_t found[PAGES];
};

/* An irregular third of the pages. */
static bool to_access(size_t page)
{
	return (page * UINT64_C(0x9e3779b97f4a7c15) >> 32) % 3 == 0;
}

static int note_found(void *arg, const struct young_record *r, struct frem_error *err)
{
	struct known *k = arg;

	(void)err;
	for (size_t i = 0; i < YOUNG_UNIT_PAGES; i++) {
		uint64_t page = r->unit * YOUNG_UNIT_PAGES + i;

		if (r->touched[i / 64] >> i % 64 & 1 && page >= k->first && page < k->first + PAGES)
			k->found[page - k->first] = 1;
	}
	return 0;
}

static int access_some(struct known *k, struct frem_error *err)
{
	int r = clear_accessed(getpid(), err);

	if (r < 0)
		return r;
	if (munmap(k->memory + PAGES * PAGE, FLUSH_PAGES * PAGE))
		return frem_fail(err, FREM_FAILED, errno, "munmap");
	for (size_t i = 0; i < PAGES; i++)
		if (to_access(i))
			(void)*(volatile uint8_t *)(k->memory + i * PAGE);
	return 0;
}

static int walk_self(struct bpf_walker *w, struct known *k, struct frem_error *err)
{
	struct bpf_walk walk = {};
	int r = bpf_walker_attach(w, getpid(), &walk.link, err);

	if (r < 0)
		return r;
	do {
		r = bpf_walker_next(w, &walk, note_found, k, err);
	} while (r > 0);
	bpf_link__destroy(walk.link);
	return r == -ESRCH ? frem_fail(err, FREM_UNABLE, ESRCH, "walking this process") : r;
}

int self_test(struct bpf_walker *w, struct frem_error *err)
{
	size_t size = (PAGES + FLUSH_PAGES) * PAGE;
	struct known k = {};
	unsigned wrong = 0;
	int r;

	k.memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (k.memory == MAP_FAILED)
		return frem_fail(err, FREM_FAILED, errno, "mmap");
	k.first = (uint64_t)(uintptr_t)k.memory >> PAGE_SHIFT;
	madvise(k.memory, size, MADV_NOHUGEPAGE); /* a kernel without huge pages refuses it */
	for (size_t i = 0; i < size; i += PAGE)
		k.memory[i] = 1;
	r = access_some(&k, err);
	if (!r)
		r = walk_self(w, &k, err);
	munmap(k.memory, size);
	if (r < 0)
		return r;
	for (size_t i = 0; i < PAGES; i++)
		wrong += k.found[i] != to_access(i);
	return wrong <= MOST_WRONG;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "arena.h"

#include <errno.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "victim.h"

#define RANGE 8u	/* pages that a step changes at most */
#define POKED 77u	/* the word that is written over */
#define DEPTH_MOST 2u	/* children of children */
#define CHILD_STEPS 40u /* that a child takes before it verifies everything */

static uint32_t below(struct arena *a, uint32_t n)
{
	a->random ^= a->random << 13;
	a->random ^= a->random >> 7;
	a->random ^= a->random << 17;
	return (uint32_t)((a->random >> 16) % n);
}

static uint8_t *page(const struct arena *a, uint32_t i)
{
	return a->at + (size_t)i * VICTIM_PAGE;
}

static _Noreturn void wrong(const struct arena *a, uint32_t i, const char *what)
{
	victim_bad("pid %d seed %llu step %llu page %u kind %u: %s (%s)", getpid(),
		   (unsigned long long)a->seed, (unsigned long long)a->steps, i, a->slots[i].kind,
		   what, strerror(errno));
}

/* ---- what has to be there ---- */

static void expected(const struct arena *a, uint32_t i, uint64_t out[VICTIM_WORDS])
{
	const struct slot *s = &a->slots[i];

	if (s->kind == KIND_ZERO)
		memset(out, 0, VICTIM_PAGE);
	else
		victim_fill(out, a->seed, s->words);
	if (s->poke)
		out[POKED] = s->poke;
}

static void check_gone(const struct arena *a, uint32_t i)
{
	unsigned char here;

	if (mincore(page(a, i), VICTIM_PAGE, &here) == 0 || errno != ENOMEM)
		wrong(a, i, "is mapped");
}

/* What was read of page i, by whatever means. */
static void check_copy(struct arena *a, uint32_t i, const void *copy)
{
	static const uint64_t zeros[VICTIM_WORDS];
	uint64_t want[VICTIM_WORDS];

	if (a->slots[i].freed && memcmp(copy, zeros, VICTIM_PAGE) == 0) {
		a->slots[i] = (struct slot){.kind = KIND_ZERO};
		return;
	}
	expected(a, i, want);
	errno = 0;
	for (size_t k = 0; k < VICTIM_WORDS; k++)
		if (((const uint64_t *)copy)[k] != want[k])
			victim_bad("pid %d seed %llu step %llu page %u kind %u word %zu: %016llx "
				   "instead of %016llx",
				   getpid(), (unsigned long long)a->seed,
				   (unsigned long long)a->steps, i, a->slots[i].kind, k,
				   (unsigned long long)((const uint64_t *)copy)[k],
				   (unsigned long long)want[k]);
}

static void check(struct arena *a, uint32_t i)
{
	uint64_t copy[VICTIM_WORDS];

	if (a->slots[i].kind == KIND_GONE) {
		check_gone(a, i);
		return;
	}
	memcpy(copy, page(a, i), VICTIM_PAGE);
	check_copy(a, i, copy);
}

void arena_verify(struct arena *a)
{
	for (uint32_t i = 0; i < a->pages; i++)
		check(a, i);
}

/* ---- what a step works on ---- */

struct range {
	uint32_t first, n;
	uint8_t *at;
	size_t len;
};

static struct range range_at(const struct arena *a, uint32_t first, uint32_t n)
{
	return (struct range){first, n, page(a, first), (size_t)n * VICTIM_PAGE};
}

static struct range some(struct arena *a)
{
	uint32_t n = 1 + below(a, RANGE);

	return range_at(a, below(a, a->pages - n), n);
}

/* A range that overlaps with none of another. */
static struct range another(struct arena *a, const struct range *r, uint32_t n)
{
	uint32_t first;

	do
		first = below(a, a->pages - n);
	while (first < r->first + r->n && r->first < first + n);
	return range_at(a, first, n);
}

static int is_whole(const struct arena *a, const struct range *r)
{
	for (uint32_t i = r->first; i < r->first + r->n; i++)
		if (a->slots[i].kind == KIND_GONE)
			return 0;
	return 1;
}

static void set_all(struct arena *a, const struct range *r, uint8_t kind)
{
	for (uint32_t i = r->first; i < r->first + r->n; i++)
		a->slots[i] = (struct slot){.kind = kind};
}

static int is_mapped(const struct arena *a, uint32_t i)
{
	unsigned char here;

	return mincore(page(a, i), VICTIM_PAGE, &here) == 0;
}

/* ---- taking away ---- */

static void discard(struct arena *a)
{
	struct range r = some(a);

	/* with holes it says ENOMEM, and has done the rest */
	if (madvise(r.at, r.len, MADV_DONTNEED) < 0 && is_whole(a, &r))
		wrong(a, r.first, "MADV_DONTNEED");
	for (uint32_t i = r.first; i < r.first + r.n; i++)
		if (a->slots[i].kind != KIND_GONE)
			a->slots[i] = (struct slot){.kind = KIND_ZERO};
}

static void free_lazily(struct arena *a)
{
	struct range r = some(a);

	if (madvise(r.at, r.len, MADV_FREE) < 0 && is_whole(a, &r))
		wrong(a, r.first, "MADV_FREE");
	for (uint32_t i = r.first; i < r.first + r.n; i++)
		a->slots[i].freed = 1;
}

static void unmap(struct arena *a)
{
	struct range r = some(a);

	if (munmap(r.at, r.len) < 0)
		wrong(a, r.first, "munmap");
	set_all(a, &r, KIND_GONE);
}

static void map_anew(struct arena *a)
{
	struct range r = some(a);

	if (mmap(r.at, r.len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
		 0) != r.at)
		wrong(a, r.first, "mmap");
	set_all(a, &r, KIND_ZERO);
}

/* ---- moving ---- */

/* A move over several mappings that failed may have unmapped its destination, and moved a part. */
static void look_after_failure(struct arena *a, const struct range *from, const struct range *to)
{
	for (uint32_t i = 0; i < to->n; i++) {
		struct slot *d = &a->slots[to->first + i];

		if (i < from->n) {
			struct slot *s = &a->slots[from->first + i];

			if (s->kind != KIND_GONE && !is_mapped(a, from->first + i)) {
				*d = *s;
				*s = (struct slot){.kind = KIND_GONE};
			}
		}
		if (!is_mapped(a, to->first + i))
			*d = (struct slot){.kind = KIND_GONE};
	}
}

static void move(struct arena *a)
{
	struct range from = some(a);
	uint32_t most = from.n + (a->grows ? below(a, 3) : 0);
	/* of several mappings a part may be moved before it fails, which then does not show */
	int stays = from.n == 1 && below(a, 2);
	struct range to = another(a, &from, stays ? from.n : most);
	int flags = MREMAP_MAYMOVE | MREMAP_FIXED | (stays ? MREMAP_DONTUNMAP : 0);

	if (!is_whole(a, &from))
		return;
	if (mremap(from.at, from.len, to.len, flags, to.at) == MAP_FAILED) {
		look_after_failure(a, &from, &to);
		return;
	}
	for (uint32_t i = 0; i < to.n; i++)
		a->slots[to.first + i] =
			i < from.n ? a->slots[from.first + i] : (struct slot){.kind = KIND_ZERO};
	set_all(a, &from, stays ? KIND_ZERO : KIND_GONE);
}

static void shrink(struct arena *a)
{
	struct range r = some(a), tail;
	uint32_t keep = 1 + below(a, r.n);

	if (!is_whole(a, &r) || keep == r.n)
		return;
	tail = range_at(a, r.first + keep, r.n - keep);
	mremap(r.at, r.len, (size_t)keep * VICTIM_PAGE, 0);
	for (uint32_t i = tail.first; i < tail.first + tail.n; i++)
		if (!is_mapped(a, i))
			a->slots[i] = (struct slot){.kind = KIND_GONE};
}

static void grow(struct arena *a)
{
	struct range r = some(a), more;

	if (!a->grows || r.first + r.n + 2 > a->pages || !is_whole(a, &r))
		return;
	more = range_at(a, r.first + r.n, 2);
	if (mremap(r.at, r.len, r.len + more.len, 0) != MAP_FAILED)
		set_all(a, &more, KIND_ZERO);
}

/* ---- writing ---- */

/* What was freed is there or not from now on: the page is dirty. */
static void note_poke(struct arena *a, uint32_t i, uint64_t value)
{
	struct slot *s = &a->slots[i];
	const volatile uint64_t *words = (const volatile uint64_t *)page(a, i);

	if (s->freed && !words[0] && !words[1])
		s->kind = KIND_ZERO;
	s->freed = 0;
	s->poke = value;
	check(a, i);
}

static void poke(struct arena *a)
{
	uint32_t i = below(a, a->pages);
	uint64_t value = a->random | 1;
	size_t at = POKED * sizeof(value);

	if (a->slots[i].kind == KIND_GONE)
		return;
	if (below(a, 2))
		*(volatile uint64_t *)(void *)(page(a, i) + at) = value;
	else if (write(a->pipe[1], &value, sizeof(value)) != sizeof(value) ||
		 read(a->pipe[0], page(a, i) + at, sizeof(value)) != sizeof(value))
		wrong(a, i, "read() into memory");
	note_poke(a, i, value);
}

static void fill(struct arena *a)
{
	struct range r = some(a);

	for (uint32_t i = r.first; i < r.first + r.n; i++) {
		if (a->slots[i].kind == KIND_GONE)
			continue;
		a->slots[i] = (struct slot){.kind = KIND_WORDS, .words = a->next_words};
		victim_fill(page(a, i), a->seed, a->next_words++);
	}
}

/* ---- reading ---- */

static void look(struct arena *a)
{
	struct range r = some(a);

	for (uint32_t i = r.first; i < r.first + r.n; i++)
		check(a, i);
}

static void write_out(struct arena *a)
{
	uint32_t i = below(a, a->pages);
	uint64_t copy[VICTIM_WORDS];

	if (a->slots[i].kind == KIND_GONE)
		return;
	if (write(a->pipe[1], page(a, i), VICTIM_PAGE) != VICTIM_PAGE ||
	    read(a->pipe[0], copy, VICTIM_PAGE) != VICTIM_PAGE)
		wrong(a, i, "write() from memory");
	check_copy(a, i, copy);
}

static void read_as_another(struct arena *a)
{
	uint32_t i = below(a, a->pages);
	uint64_t copy[VICTIM_WORDS];
	struct iovec to = {copy, VICTIM_PAGE}, from = {page(a, i), VICTIM_PAGE};

	if (a->slots[i].kind == KIND_GONE)
		return;
	if (process_vm_readv(getpid(), &to, 1, &from, 1, 0) != VICTIM_PAGE)
		wrong(a, i, "process_vm_readv");
	check_copy(a, i, copy);
}

/* The kernel compares the word with what is expected, and says EAGAIN where it differs. */
static void wait_on_word(struct arena *a)
{
	const struct timespec moment = {.tv_nsec = 1000};
	uint32_t i = below(a, a->pages);
	uint64_t want[VICTIM_WORDS];
	size_t k = below(a, VICTIM_WORDS);

	if (a->slots[i].kind == KIND_GONE || a->slots[i].freed)
		return;
	expected(a, i, want);
	if (syscall(SYS_futex, page(a, i) + k * sizeof(uint64_t), FUTEX_WAIT_PRIVATE,
		    (uint32_t)want[k], &moment, NULL, 0) == 0 ||
	    errno == EAGAIN)
		wrong(a, i, "futex");
}

static void protect(struct arena *a)
{
	struct range r = some(a);

	if (!is_whole(a, &r))
		return;
	if (mprotect(r.at, r.len, PROT_READ) < 0)
		wrong(a, r.first, "mprotect");
	check(a, r.first);
	if (mprotect(r.at, r.len, PROT_READ | PROT_WRITE) < 0)
		wrong(a, r.first, "mprotect");
}

static void lock(struct arena *a)
{
	struct range r = some(a);

	if (!is_whole(a, &r))
		return;
	if (mlock(r.at, r.len) < 0 || munlock(r.at, r.len) < 0)
		wrong(a, r.first, "mlock");
	check(a, r.first);
}

static void populate(struct arena *a)
{
	struct range r = some(a);

	if (!is_whole(a, &r))
		return;
	if (madvise(r.at, r.len, below(a, 2) ? MADV_POPULATE_READ : MADV_POPULATE_WRITE) < 0)
		wrong(a, r.first, "MADV_POPULATE");
	for (uint32_t i = r.first; i < r.first + r.n; i++)
		check(a, i);
}

/* ---- children ---- */

static void await_child(struct arena *a, pid_t *child)
{
	int status;

	if (*child <= 0)
		return;
	if (waitpid(*child, &status, 0) != *child || !WIFEXITED(status) || WEXITSTATUS(status))
		wrong(a, 0, "a child");
	*child = 0;
}

void arena_join(struct arena *a)
{
	for (unsigned i = 0; i < ARENA_CHILDREN; i++)
		await_child(a, &a->children[i]);
}

static _Noreturn void child_main(struct arena *a)
{
	unsigned steps = below(a, CHILD_STEPS);

	a->depth++;
	memset(a->children, 0, sizeof(a->children));
	/* the parent's own would mix with ours */
	if (pipe(a->pipe) < 0)
		_exit(1);
	if (below(a, 8) == 0) {
		execl("/bin/true", "true", NULL);
		_exit(1);
	}
	for (unsigned i = 0; i < steps; i++)
		arena_step(a);
	arena_verify(a);
	arena_join(a);
	_exit(0);
}

static void have_child(struct arena *a)
{
	pid_t *child = &a->children[below(a, ARENA_CHILDREN)];

	if (a->depth == DEPTH_MOST)
		return;
	await_child(a, child);
	*child = fork();
	if (*child < 0)
		wrong(a, 0, "fork");
	if (*child == 0)
		child_main(a);
}

/* ---- */

void arena_init(struct arena *a, uint64_t seed, uint32_t pages, int grows)
{
	if (pages > ARENA_PAGES_MOST || pages < 4 * RANGE || pipe(a->pipe) < 0)
		victim_die("arena");
	a->seed = seed;
	a->random = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
	a->pages = pages;
	a->grows = grows;
	a->at = victim_map(pages);
	for (uint32_t i = 0; i < pages; i++) {
		a->slots[i] = (struct slot){.kind = KIND_WORDS, .words = i};
		victim_fill(page(a, i), seed, i);
	}
	a->next_words = pages;
}

void arena_step(struct arena *a)
{
	static void (*const steps[])(struct arena *) = {
		discard,      free_lazily, unmap, map_anew, move,      move,	  shrink,
		grow,	      poke,	   poke,  fill,	    write_out, write_out, look,
		look,	      look,	   look,  protect,  lock,      populate,  read_as_another,
		wait_on_word,
	};

	a->steps++;
	if (below(a, 60) == 0)
		have_child(a);
	else
		steps[below(a, sizeof(steps) / sizeof(steps[0]))](a);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * toucher CONTROL MEGABYTES TOUCHED raw|zstd: a program that is restarted to see what a restart
 * costs it. Of its memory it goes through a part again and again, TOUCHED megabytes in blocks of
 * one, evenly spread, in a fixed scattered order of blocks. CONTROL is a file of struct control: as
 * soon as another pass is wanted there, the program makes it, as fast as it can, and says when it
 * began and ended. Every page that it touches is checked. raw: memory that cannot be compressed;
 * zstd: to about a quarter.
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096u
#define BLOCK 256u /* pages */
#define SAMPLES 1000u
#define PACE 8u		     /* pages touched in a millisecond, before a pass is wanted */
#define STEP UINT64_C(40487) /* a prime: a scattered order of what it does not divide */
#define PROBE_PAUSE_MS 250

enum pattern {
	TRACKED,    /* goes on with the part that it went through */
	DRIFTED,    /* every second block of it, and as many others */
	RANDOM,	    /* everything, in a scattered order of pages */
	SEQUENTIAL, /* everything, by address */
	PROBE,	    /* single pages of the rest, now and then */
	NOTHING,
};

/* bench/restart reads and writes it by offset. */
struct control {
	atomic_ulong wanted; /* number of the pass */
	atomic_ulong pattern;
	atomic_ulong done; /* number of the last pass that has ended */
	atomic_ulong begin_ns, end_ns;
	atomic_ulong wrong; /* pages with a wrong content */
	atomic_ulong steps; /* before a pass was wanted */
	atomic_ulong samples;
	atomic_ulong sample_ns[SAMPLES]; /* PROBE: how long the touches took */
};

struct memory {
	uint8_t *at;
	uint64_t pages, blocks, spread; /* of `spread` blocks one is touched */
};

static _Noreturn void die(const char *what)
{
	perror(what);
	exit(1);
}

/* The monotonic clock of a restarted program goes on where it was. */
static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void pause_ms(long ms)
{
	nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static struct control *control_open(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	void *p;

	if (fd < 0 || ftruncate(fd, sizeof(struct control)) < 0)
		die(path);
	p = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		die(path);
	close(fd);
	return p;
}

/* The first word names the page. */
static uint64_t name_of(uint64_t page)
{
	return (page + 1) * UINT64_C(0x9e3779b97f4a7c15);
}

static void fill(uint8_t *at, uint64_t page, int raw)
{
	uint64_t x = name_of(page), words = PAGE / sizeof(x);

	for (uint64_t i = 0; i < words; i++) {
		memcpy(at + i * sizeof(x), &x, sizeof(x));
		if (raw || i < words / 4) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
		}
	}
}

static void memory_make(struct memory *m, int raw)
{
	m->at = mmap(NULL, m->pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		     0);
	if (m->at == MAP_FAILED)
		die("memory");
	madvise(m->at, m->pages * PAGE, MADV_NOHUGEPAGE);
	for (uint64_t i = 0; i < m->pages; i++)
		fill(m->at + i * PAGE, i, raw);
}

static uint64_t touched_blocks(const struct memory *m)
{
	return m->blocks / m->spread;
}

/* The page of step n through the touched part; with `drift` every second block lies elsewhere. */
static uint64_t touched_page(const struct memory *m, uint64_t n, int drift)
{
	uint64_t block = n / BLOCK * STEP % touched_blocks(m);
	uint64_t at = block * m->spread + (drift && block % 2 ? m->spread / 2 : 0);

	return at * BLOCK + n % BLOCK;
}

static void touch(const struct memory *m, struct control *c, uint64_t page)
{
	const volatile uint64_t *name = (const volatile void *)(m->at + page * PAGE);

	if (*name != name_of(page))
		c->wrong++;
}

/* Pages that the touched part does not have. */
static void probe(const struct memory *m, struct control *c)
{
	uint64_t x = 88172645463325252u;

	for (c->samples = 0; c->samples < SAMPLES && c->wanted == c->done + 1;) {
		uint64_t begin, block;

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		block = x % m->blocks;
		if (block % m->spread == 0)
			continue;
		begin = now_ns();
		touch(m, c, block * BLOCK + x / m->blocks % BLOCK);
		c->sample_ns[c->samples++] = now_ns() - begin;
		pause_ms(PROBE_PAUSE_MS);
	}
}

/* n: the step at which it was. */
static void pass(const struct memory *m, struct control *c, uint64_t n)
{
	uint64_t part = touched_blocks(m) * BLOCK, all = m->blocks * BLOCK;

	c->begin_ns = now_ns();
	switch ((enum pattern)c->pattern) {
	case TRACKED:
	case DRIFTED:
		for (uint64_t i = 0; i < part; i++)
			touch(m, c, touched_page(m, n + i, c->pattern == DRIFTED));
		break;
	case RANDOM:
		for (uint64_t i = 0; i < all; i++)
			touch(m, c, i * STEP % all);
		break;
	case SEQUENTIAL:
		for (uint64_t i = 0; i < all; i++)
			touch(m, c, i);
		break;
	case PROBE:
		probe(m, c);
		break;
	default:
		break;
	}
	c->end_ns = now_ns();
}

int main(int argc, char **argv)
{
	struct memory m;
	struct control *c;
	uint64_t touched;

	if (argc != 5) {
		fputs("usage: toucher CONTROL MEGABYTES TOUCHED raw|zstd\n", stderr);
		return 2;
	}
	m.blocks = strtoull(argv[2], NULL, 10);
	touched = strtoull(argv[3], NULL, 10);
	if (touched == 0 || touched > m.blocks)
		return 2;
	m.pages = m.blocks * BLOCK;
	m.spread = m.blocks / touched;
	c = control_open(argv[1]);
	memory_make(&m, strcmp(argv[4], "raw") == 0);
	for (uint64_t n = 0;; n++) {
		if (c->wanted != c->done) {
			pass(&m, c, n);
			c->done = (unsigned long)c->wanted;
		}
		touch(&m, c, touched_page(&m, n, 0));
		c->steps = n + 1;
		if (n % PACE == 0)
			pause_ms(1);
	}
}

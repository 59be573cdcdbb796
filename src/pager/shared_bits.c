/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "shared_bits.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "base/file.h"
#include "format/frame.h"

#define HEAD 8u /* words before the bits: the first is the mark; 64 bytes keep the bits aligned */
#define COMPLETE 1u

static size_t bytes_of(size_t words)
{
	size_t n = (HEAD + words) * sizeof(uint64_t);

	return (n + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
}

int shared_bits_new(struct shared_bits *ret, struct frem_error *err)
{
	int fd = file_in_memory("frem-settled");

	if (fd < 0)
		return frem_fail(err, FREM_FAILED, -fd, "making shared memory");
	*ret = (struct shared_bits){.fd = fd};
	return 0;
}

uint64_t shared_bits_reserve(struct shared_bits *b, size_t words)
{
	uint64_t place = b->next;

	b->next += bytes_of(words);
	return place;
}

void shared_bits_reserved(struct shared_bits *b, uint64_t place, size_t words)
{
	if (b->next < place + bytes_of(words))
		b->next = place + bytes_of(words);
}

int shared_bits_map(const struct shared_bits *b, uint64_t place, size_t words, uint64_t **ret,
		    struct frem_error *err)
{
	size_t n = bytes_of(words);
	void *at;

	/* a hole that cannot be filled later would be SIGBUS */
	if (fallocate(b->fd, 0, (off_t)place, (off_t)n) < 0)
		return frem_fail(err, FREM_FAILED, errno, "making shared memory");
	at = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED, b->fd, (off_t)place);
	if (at == MAP_FAILED)
		return frem_fail(err, FREM_FAILED, errno, "mapping shared memory");
	*ret = (uint64_t *)at + HEAD;
	return 0;
}

void shared_bits_complete(uint64_t *bits)
{
	atomic_store((_Atomic uint64_t *)(bits - HEAD), COMPLETE);
}

bool shared_bits_are_complete(const uint64_t *bits)
{
	return atomic_load((const _Atomic uint64_t *)(bits - HEAD)) == COMPLETE;
}

void shared_bits_free(const struct shared_bits *b, uint64_t place, size_t words, uint64_t *bits)
{
	size_t n = bytes_of(words);

	if (!bits)
		return;
	munmap(bits - HEAD, n);
	fallocate(b->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)place, (off_t)n);
}

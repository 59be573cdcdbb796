/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A frame's stored bytes on their way from the store to the address spaces. */
#ifndef FREM_PAGER_ITEM_H
#define FREM_PAGER_ITEM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

enum item_kind {
	ITEM_PAGES, /* a frame of the `pages` object */
	ITEM_TOUCH, /* a frame of the `touch` object */
};

struct item {
	TAILQ_ENTRY(item) link;
	enum item_kind kind;
	size_t frame;
	uint32_t sources; /* replicas that its bytes came from; a bit each */
	bool unread;	/* its bytes are in the file of a local store: who needs them reads them */
	bool by_engine; /* not for the workers, or they left it: see workers.h */
	size_t n;	/* 0 where it is unread */
	uint8_t data[];
};

TAILQ_HEAD(item_queue, item);

static inline struct item *item_new(enum item_kind kind, size_t frame, const void *data, size_t n)
{
	struct item *i = malloc(sizeof(*i) + n);

	if (!i)
		return NULL;
	*i = (struct item){.kind = kind, .frame = frame, .n = n};
	if (n)
		memcpy(i->data, data, n);
	return i;
}

static inline void item_queue_free(struct item_queue *q)
{
	struct item *i;

	while ((i = TAILQ_FIRST(q))) {
		TAILQ_REMOVE(q, i, link);
		free(i);
	}
}

#endif

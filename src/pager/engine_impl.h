/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the pager process share; engine.c explains how they work together. */
#ifndef FREM_PAGER_ENGINE_IMPL_H
#define FREM_PAGER_ENGINE_IMPL_H

#include <linux/userfaultfd.h>
#include <pthread.h>

#include "engine.h"
#include "item.h"
#include "journal.h"
#include "lanes.h"
#include "load.h"
#include "shared_bits.h"
#include "space.h"
#include "touch_order.h"
#include "touch_stream.h"

struct engine;
struct recorder;
struct workers;

struct changes {
	struct change *c;
	size_t n, cap;
};

/* One address space and its userfaultfd. */
struct member {
	struct engine *engine;
	int32_t pid;   /* as in the image; of a forked child: its forebear's */
	int fd;	       /* -1: not received yet, or dead */
	bool dead;     /* the address space is gone */
	bool original; /* of the image, not forked since */
	uint64_t id;   /* also the place of its bits */
	struct space *space;
	uint64_t *bits;		  /* of the space, shared; NULL: it has its own */
	struct changes undecided; /* read, and put off until the next calm moment: changes.c */
	unsigned copies;	  /* of workers, under way */
	bool shut;		  /* events are about to be read: no new copies */
	uint64_t full_ns;	  /* since when there is no memory for a page; 0 */
	uint64_t lost_ns;	  /* since when a mapping that must be there is not; 0 */
};

/* A fault that has not been answered. */
struct fault {
	struct member *member;
	uint64_t address;
	uint64_t read_ns;
	uint64_t asked_ns; /* when a fetch of its own was last asked for */
	unsigned asked;	   /* and how often */
	bool seen;	   /* its page is known to be on its way */
	bool counted;	   /* in the statistics */
};

/* What a frame holds, decoded. */
struct batch {
	uint64_t number[FRAME_PAGES]; /* lazy page numbers */
	unsigned n;
	uint32_t zero; /* bit i: page i is all zero */
	const uint8_t *raw;
	bool by_worker;
};

/* What a thread needs to open frames. */
struct opener {
	struct frame_codec *codec;
	uint8_t *stored; /* room for a payload that is read */
	uint8_t *raw;	 /* for a decoded frame */
};

struct engine {
	const struct pager_options *o;
	struct wire_shared *shared;
	struct pager_stats *stats;
	const struct engine_ends *ends;
	int epoll_fd;

	/* Guards all that the workers share: see workers.h. The engine's thread alone touches the
	 * store, the lanes and the touch stream. */
	pthread_mutex_t lock;
	pthread_cond_t turn; /* copies have ended, or may begin */
	struct workers *workers;
	unsigned delivering; /* threads that go through the members */

	struct store *store;
	struct fetcher *fetcher;
	struct opener opener; /* of the engine's thread */

	struct load *load; /* NULL once it is through */
	struct loaded loaded;
	char pages_key[NAME_KEY_SIZE];
	struct lanes *lanes; /* NULL before that */
	struct touch_stream *touch;
	struct touch_order *order; /* NULL: no touch set, or not yet */
	uint64_t touched_pages;	   /* of the touch set, those that were touched: its first */
	uint64_t touch_left;	   /* of these, not settled */
	struct recorder *recorder; /* NULL: nothing is recorded */

	int local_fd;		      /* `pages`, where it is a file here; -1: it is not */
	bool read_here;		      /* nothing is fetched but demand: that file is read, or
					 an image directory */
	bool goes_on;		      /* no workers: the next frame can be read at once */
	uint32_t local_source;	      /* the replica that it is, as in fetch_sources() */
	size_t local_next, local_end; /* frames taken from the plan */
	uint64_t local_bytes;	      /* that were read there */

	struct item_queue arrived; /* to be put in place */
	struct item_queue held;	   /* to be tried again: see hold_until */
	bool touch_damaged;	   /* and the user knows */
	uint64_t held_bytes;
	struct item **held_pages; /* held item of a frame of `pages`, or NULL */
	struct item **held_touch; /* of the touch object */

	struct member **members; /* the image's tasks first */
	size_t n_members, cap_members;
	struct journal *journal;
	struct shared_bits bits;
	uint64_t seq;	 /* of the last read of a userfaultfd */
	unsigned taking; /* depth: journaled changes that are not all applied yet */
	struct fault *faults;
	size_t n_faults, cap_faults;
	bool new_faults; /* some are not seen yet */

	bool finished; /* CRIU's word: all ranges are registered */
	bool busy;     /* something has to be tried again shortly */
	bool ready, touched;
	bool caller_gone;
	bool child_lost;       /* what belongs to a forked child cannot be told */
	bool touch_given_back; /* what the touch lane did not bring: touch_lane.c */
	uint64_t tick_ns;      /* see step_tick() */
	bool fetching;	       /* since stats_ns */
	uint64_t stats_ns, fetching_ns;
	uint64_t fetched_before; /* bytes, by pager processes that died */
	uint64_t *written;	 /* PAGER_FULL: a bit a frame */
};

static inline void engine_lock(struct engine *e)
{
	pthread_mutex_lock(&e->lock);
}

static inline void engine_unlock(struct engine *e)
{
	pthread_mutex_unlock(&e->lock);
}

/* members.c: the address spaces and their events */

int members_make(struct engine *e, struct frem_error *err);
void members_free(struct engine *e);
/* Another one; takes its space over, on success. */
int members_add(struct engine *e, int32_t pid, struct space *s, struct member **ret,
		struct frem_error *err);
/* Its bits are at its place from here on, what they hold included, or lost (a forked child's). */
int member_share_bits(struct member *m, struct frem_error *err);
int member_adopt_bits(struct member *m, struct frem_error *err);
/* What becomes settled is counted from here on; pages_in is set to what is. */
void members_count(struct engine *e);
/* Its userfaultfd is looked at from here on. */
int member_watch(struct member *m, int fd, struct frem_error *err);
/* Takes n messages that were read from its userfaultfd with read number seq: journals, applies. */
int member_take(struct member *m, const struct uffd_msg *msg, size_t n, uint64_t seq,
		struct frem_error *err);
/* The keeper has received a task's userfaultfd. */
int members_arrived(struct engine *e, int32_t pid, int fd, struct frem_error *err);
/* Reads and applies all pending events of a member, with no copy under way: may let go of the lock.
 */
int member_drain(struct member *m, struct frem_error *err);
/* A worker copies into it, without the lock in between. */
void member_copy_begins(struct member *m);
void member_copy_ended(struct member *m);
/* A worker waits until events that are about to be read have been. */
void member_await_turn(struct member *m);
/* Whether pages may be put into it just now. */
bool member_open(const struct member *m);
void member_end(struct member *m);
/* Frees forked members that have ended. No pointer to a member may be held. */
void members_reap(struct engine *e);

/* Changes the map as one event says. */
int change_apply(struct member *m, const struct change *c, struct frem_error *err);

/* changes.c: the order of events */

/* Whether an event has to be put off, which changes_put_off() does; else it is to be applied. */
bool changes_must_wait(const struct member *m, const struct change *c);
int changes_put_off(struct changes *list, const struct change *c, struct frem_error *err);
void changes_done(struct changes *list);
/* At a calm moment: applies what was put off, unless the moment passes too soon. */
int changes_decide(struct member *m, struct frem_error *err);

/* faults.c */

int fault_add(struct member *m, uint64_t address, struct frem_error *err);
/* Pages were put there, or will never be: its waiters go on. */
void faults_answered(struct member *m, uint64_t address, uint64_t pages);
bool faults_wait_for(const struct member *m, uint64_t number);
void faults_forget_member(struct member *m);
/* Answers faults or sees to it that their pages come. */
int faults_serve(struct engine *e, struct frem_error *err);
/* Faults that have waited for too long for bulk data are fetched by themselves. */
void faults_look_after_late(struct engine *e);
/* Milliseconds until one is late, or -1. */
int faults_timeout(const struct engine *e);
/* Whoever waited for a fetch looks again. */
void faults_look_again(struct engine *e);
/* Whoever waits for a page that the recorder has looks again. */
void faults_look_at_kept(struct engine *e);

/* deliver.c: from stored bytes to pages in place */

int opener_init(struct opener *o, struct frem_error *err);
void opener_done(struct opener *o);

enum delivered {
	DELIVERED_ALL,
	DELIVERED_HELD, /* some member could not take its pages yet */
};

/* Verifies, decodes and injects. Returns enum delivered, or -errno; a damaged frame is handed to
 * the lanes and counts as DELIVERED_ALL. */
int deliver_item(struct engine *e, const struct item *i, struct frem_error *err);
/* The pages of the item, whether it is of use, and whether it can be used now. */
bool deliver_is_of_use(const struct engine *e, const struct item *i, struct batch *b,
		       bool *ret_now);
/* Reads what is not here yet, verifies and decodes: b->raw and b->zero. Without the lock, from any
 * thread; b->raw lasts as long as the item and what is in the opener. */
int deliver_open(const struct engine *e, const struct item *i, struct opener *o, struct batch *b,
		 struct frem_error *err);
/* What is decoded is kept back by the recorder, or injected into all that want it. */
int deliver_batch(struct engine *e, const struct batch *b, struct frem_error *err);
/* Injects decoded pages into one address space, or into all that want them. The same results. */
int deliver_to(struct member *m, const struct batch *b, struct frem_error *err);
int deliver_to_all(struct engine *e, const struct batch *b, struct frem_error *err);
/* One page of zeros where no image page belongs; -EAGAIN: later. */
int deliver_zero(struct member *m, uint64_t address, struct frem_error *err);
/* Its bytes were read here, where they were not before: for the statistics. */
void deliver_was_read(struct engine *e, const struct item *i);
/* A frame came, and was what it should be. */
void deliver_was_good(struct engine *e, const struct item *i);

/* items.c: who puts an item in place, and when */

/* Delivers all that arrived, or hands it to the workers, looking at the events in between. */
int deliver_arrived(struct engine *e, struct frem_error *err);
/* The remaining lane of what is on this machine: keeps the workers busy. */
int deliver_local(struct engine *e, struct frem_error *err);
/* An item that is held, has arrived, or waits for a worker is needed now. Returns whether there is
 * one. */
bool deliver_held(struct engine *e, enum item_kind kind, size_t frame);
void deliver_held_all(struct engine *e);

/* touch_lane.c: what the touch lane brings the remaining lane does not */

/* The touch set is known. */
int touch_lane_known(struct engine *e, struct frem_error *err);
/* For the lanes: room for one more request of the touch lane. */
bool touch_lane_more(void *arg, const struct fetcher_stats *s);
/* Nothing more of it will come. */
bool touch_lane_over(const void *arg);
/* Gives back to the remaining lane what the touch lane did not bring in the end. */
void touch_lane_step(struct engine *e);
/* A touch frame was dropped unused. */
void touch_lane_dropped(struct engine *e, size_t frame);

/* full.c: PAGER_FULL */

/* Writes a decoded frame into the image directory; lets go of the lock. */
int full_put(struct engine *e, size_t frame, const struct batch *b, struct frem_error *err);
bool full_wanted(const struct engine *e, size_t frame);
bool full_complete(const struct engine *e);

/* engine.c */

int engine_poll(struct engine *e, int timeout_ms, struct frem_error *err);
bool engine_page_wanted(const struct engine *e, uint64_t number);
/* Whether some page of the frame is wanted and has still to come. */
bool engine_frame_wanted(void *arg, size_t frame);
/* The lazy pages of an item. */
void engine_item_pages(const struct engine *e, enum item_kind kind, size_t frame, struct batch *b);

#endif

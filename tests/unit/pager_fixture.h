/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the tests of the pager share: a made-up checkpoint behind a small HTTP server that does as
 * it is told, and tasks with real userfaultfds that are handed over as CRIU does it.
 */
#ifndef FREM_TESTS_PAGER_FIXTURE_H
#define FREM_TESTS_PAGER_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "format/frame.h"
#include "pager/pager.h"

#define MAX_TASKS 3
#define WAIT_MS 20000

/* Where a task's memory is, far from anything else. */
#define ADDRESS(task) (UINT64_C(0x200000000000) + (uint64_t)(task) * (UINT64_C(1) << 32))
/* Pages from there on that are registered but not in the image, before its lazy ones. */
#define HOLE 8u

/* What the server does; shared with it and with the tasks. */
struct control {
	atomic_long pages_open; /* bytes of `pages` that may still be sent; -1: no limit */
	atomic_long touch_open;
	atomic_int corrupt;	  /* answers for `pages` that are still to be damaged; -1: all */
	atomic_int corrupt_touch; /* the same for `touch` */
	atomic_int dead;	  /* connections are refused */
	atomic_int requests;	  /* for `pages` */
	atomic_int go;		  /* the tasks may run */
	atomic_int bad;		  /* a task saw a wrong page: its number + 1 */
	atomic_int step;	  /* for the tests' own use */
};

struct fixture {
	char dir[64], store[96], url[64];
	int images, work;
	struct checkpoint_name id;
	bool local;		  /* the pager has the store's directory itself, not its server */
	enum pager_record record; /* off, unless a test says otherwise */
	unsigned record_ms;
	unsigned store_timeout_ms; /* 0: not set */
	uint32_t restarts;	   /* that went into the touch set */
	struct control *control;
	pid_t server;
	struct pager *pager;
	int criu;	    /* our end, where CRIU's would be */
	uint64_t untouched; /* of the touch set's pages, so many at the end; set before
			       make_checkpoint() */
	unsigned tasks;
	uint64_t pages; /* of each task */
	pid_t task[MAX_TASKS];
	struct frem_error err;
};

/* One checkpoint job@1 of so many tasks, each with so many lazy pages. touch: pages in the touch
 * set, spread over all, or 0 for none. */
void make_checkpoint(struct fixture *f, unsigned tasks, uint64_t pages, uint64_t touch);
/* The content of lazy page `number`; every 13th is all zero. */
void page_content(uint64_t number, void *out);
/* Lazy page numbers in touch order. */
uint64_t touch_page(const struct fixture *f, uint64_t place);

int fixture_setup(void **state);
int fixture_teardown(void **state);
char *object_path(const struct fixture *f, const char *object, char out[160]);
void start_pager(struct fixture *f, enum pager_mode mode);
void expect_event(struct fixture *f, enum pager_event_type type, struct pager_event *ret);
/* No event but of these types within ms. */
bool event_within(struct fixture *f, int ms, struct pager_event *ret);

/* Starts task number i, whose body runs once f->control->go is set, and hands its userfaultfd over.
 * The body returns its exit status. */
void start_task(struct fixture *f, unsigned i, int (*body)(struct fixture *f));
/* CRIU's word, the call of the pre-resume hook, and the tasks run. */
void finish_restore(struct fixture *f);
void say_restored(struct fixture *f);
void let_run(struct fixture *f);
/* READY, all tasks started with this body, restored and running. */
void restore_all(struct fixture *f, enum pager_mode mode, int (*body)(struct fixture *f));
/* The exit status of a task, or 128 + signal. */
int task_status(struct fixture *f, unsigned i);
/* Everything comes in, and the first task has found all that it read to be right. */
void expect_all_right(struct fixture *f);

/* In a task: */
uint8_t *page_at(unsigned task, uint64_t page);
/* Whether the page, of that number in its task, has its content at `at`; else notes it. */
bool right_at(struct fixture *f, const void *at, unsigned task, uint64_t page);
bool right(struct fixture *f, unsigned task, uint64_t page);
bool all_right(struct fixture *f, unsigned task, uint64_t from, uint64_t to);
bool is_zero(const void *at);
void wait_step(struct fixture *f, int step);

/* The processes of the pager, by name; 0: none. */
pid_t keeper_pid(void);
pid_t pager_pid(void);
pid_t await_pager(void);
/* Another one than `old`, once it is there. */
pid_t next_holder(pid_t old);
/* SIGKILL, to a process that is there; where no test has done that, its death is a failure. */
void kill_process(pid_t pid);
/* Whether it was there. */
bool try_kill(pid_t pid);

#define PAGER_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

#endif

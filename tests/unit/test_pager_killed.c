/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The pager process is killed, at chosen moments and at random ones, and another one goes on: the
 * program sees nothing of it but that it waits. Where that cannot be, it is ended.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "pager_fixture.h"
#include "pager_impl.h"

#define PAGES 1000u
#define KILLED (128 + SIGKILL)
#define FRAME (FRAME_PAGES * PAGE_BYTES)

/* Another one than `old`, once it is there. */
static pid_t next_pager(pid_t old)
{
	uint64_t start = clock_ns();
	pid_t pid;

	while ((pid = pager_pid()) == 0 || pid == old) {
		if (clock_ms_since(start) > WAIT_MS)
			fail_msg("no pager process is started again");
		usleep(200);
	}
	return pid;
}

static void expect_failure(struct fixture *f, const char *text)
{
	struct pager_event e;

	do {
		if (!event_within(f, WAIT_MS, &e))
			fail_msg("no failure came");
	} while (e.type != PAGER_EVENT_FAILED && e.type != PAGER_EVENT_DRAINED);
	assert_int_equal(e.type, PAGER_EVENT_FAILED);
	if (!strstr(e.err.text, text))
		fail_msg("%s", e.err.text);
}

static void expect_all_counted(struct fixture *f)
{
	expect_event(f, PAGER_EVENT_DRAINED, NULL);
	assert_int_equal(task_status(f, 0), 0);
	assert_int_equal(f->control->bad, 0);
	assert_int_equal(pager_stats(f->pager)->pages_in, f->tasks * f->pages);
}

static int read_all(struct fixture *f)
{
	return all_right(f, 0, 0, f->pages) ? 0 : 1;
}

static int idle(struct fixture *f)
{
	wait_step(f, 1);
	return read_all(f);
}

/* ---- at some moment ---- */

static void test_another_one_goes_on(void **state)
{
	struct fixture *f = *state;
	struct pager_event e;
	uint64_t fetched;

	make_checkpoint(f, 1, PAGES, 100);
	f->control->pages_open = 2500000;
	restore_all(f, PAGER_NOW, read_all);
	expect_event(f, PAGER_EVENT_TOUCHED, NULL);
	fetched = pager_stats(f->pager)->bytes_fetched;
	kill_process(await_pager());
	expect_event(f, PAGER_EVENT_NOTICE, &e);
	assert_non_null(strstr(e.notice, "killed"));
	f->control->pages_open = -1;
	expect_all_counted(f);
	assert_true(pager_stats(f->pager)->bytes_fetched > fetched);
	assert_int_equal(pager_stats(f->pager)->pages_touch, 100);
}

/* What was in place is not fetched again, and what the task wrote stays. */
static int write_then_read(struct fixture *f)
{
	for (uint64_t i = 0; i < 200; i++)
		page_at(0, i)[99] ^= 1;
	f->control->step = 1;
	wait_step(f, 2);
	for (uint64_t i = 0; i < 200; i++)
		page_at(0, i)[99] ^= 1;
	return read_all(f);
}

static void test_what_is_there_stays(void **state)
{
	struct fixture *f = *state;
	uint64_t in, fetched;

	make_checkpoint(f, 1, PAGES, 0);
	f->control->pages_open = 3000000;
	restore_all(f, PAGER_NOW, write_then_read);
	expect_event(f, PAGER_EVENT_TOUCHED, NULL);
	wait_step(f, 1);
	while (f->control->pages_open > 0)
		usleep(1000);
	usleep(50000);
	in = pager_stats(f->pager)->pages_in;
	fetched = pager_stats(f->pager)->bytes_fetched;
	assert_true(in >= 600);
	kill_process(await_pager());
	expect_event(f, PAGER_EVENT_NOTICE, NULL);
	f->control->pages_open = -1;
	f->control->step = 2;
	expect_all_counted(f);
	fetched = pager_stats(f->pager)->bytes_fetched - fetched;
	assert_true(fetched < PAGES * PAGE_BYTES * 2 / 3);
}

/* The touch lane goes on where it was. */
static void test_touch_set_goes_on(void **state)
{
	struct fixture *f = *state;
	uint64_t bytes;

	make_checkpoint(f, 1, 3 * PAGES, 5 * PAGES / 2);
	f->control->pages_open = 0;
	f->control->touch_open = 7000000;
	restore_all(f, PAGER_NOW, idle);
	while (f->control->touch_open > 0 || pager_stats(f->pager)->pages_in < 3 * PAGES / 2)
		usleep(1000);
	kill_process(await_pager());
	expect_event(f, PAGER_EVENT_NOTICE, NULL);
	f->control->touch_open = -1;
	expect_event(f, PAGER_EVENT_TOUCHED, NULL);
	/* the object has 9.5 MB, of which over 6 were used; some come again before it is known */
	bytes = pager_stats(f->pager)->bytes_touch;
	if (bytes < 8000000 || bytes >= 15500000)
		fail_msg("%" PRIu64 " bytes of the touch set were fetched", bytes);
	f->control->pages_open = -1;
	f->control->step = 1;
	expect_all_counted(f);
}

/* Faults that the killed one has read, one in each of many threads. */
#define READERS 16

static struct fixture *shared_fixture;

static void *read_one(void *arg)
{
	uint64_t page = 50 * (uint64_t)(uintptr_t)arg;

	return right(shared_fixture, 0, page) ? NULL : arg;
}

static int read_in_threads(struct fixture *f)
{
	pthread_t t[READERS + 1];
	void *wrong = NULL;

	shared_fixture = f;
	for (uintptr_t i = 1; i <= READERS; i++)
		if (pthread_create(&t[i], NULL, read_one, (void *)i))
			return 9;
	for (uintptr_t i = 1; i <= READERS && !wrong; i++)
		pthread_join(t[i], &wrong);
	return wrong ? 1 : read_all(f);
}

static void test_faults_are_raised_again(void **state)
{
	struct fixture *f = *state;
	uint64_t start = clock_ns();

	make_checkpoint(f, 1, PAGES, 0);
	f->control->pages_open = 0;
	restore_all(f, PAGER_NOW, read_in_threads);
	expect_event(f, PAGER_EVENT_TOUCHED, NULL);
	while (pager_stats(f->pager)->demand_faults < READERS && clock_ms_since(start) < WAIT_MS)
		usleep(1000);
	kill_process(await_pager());
	expect_event(f, PAGER_EVENT_NOTICE, NULL);
	f->control->pages_open = -1;
	expect_all_counted(f);
}

static int read_second(struct fixture *f)
{
	return all_right(f, 1, 0, f->pages) ? 0 : 1;
}

/* The job does not run yet. */
static void test_killed_during_the_restore(void **state)
{
	struct fixture *f = *state;
	pid_t first;

	make_checkpoint(f, 2, PAGES, 50);
	start_pager(f, PAGER_TOUCH_SET);
	expect_event(f, PAGER_EVENT_READY, NULL);
	start_task(f, 0, read_all);
	first = pager_pid();
	kill_process(first);
	kill_process(next_pager(first));
	start_task(f, 1, read_second);
	finish_restore(f);
	expect_all_right(f);
	assert_int_equal(task_status(f, 1), 0);
	assert_int_equal(pager_stats(f->pager)->pages_in, 2 * PAGES);
}

/* Without a store: CRIU's own image directory. */
static void test_plain_images(void **state)
{
	struct fixture *f = *state;
	struct pager_options o = {.mode = PAGER_NOW, .images_fd = f->images, .work_fd = f->work};
	uint32_t word = WIRE_RESTORE_FINISHED;
	pid_t first;

	make_checkpoint(f, 1, PAGES, 0);
	start_pager(f, PAGER_FULL);
	expect_event(f, PAGER_EVENT_READY, NULL);
	expect_event(f, PAGER_EVENT_DRAINED, NULL);
	pager_free(f->pager);
	assert_int_equal(pager_start(&o, &f->pager, &f->err), 0);
	expect_event(f, PAGER_EVENT_READY, NULL);
	start_task(f, 0, read_all);
	first = pager_pid();
	kill_process(first);
	f->control->go = 1;
	kill_process(next_pager(first));
	expect_event(f, PAGER_EVENT_NOTICE, NULL);
	assert_int_equal(send(f->criu, &word, sizeof(word), MSG_NOSIGNAL), sizeof(word));
	expect_event(f, PAGER_EVENT_TOUCHED, NULL);
	expect_all_counted(f);
}

static void test_again_and_again_in_vain(void **state)
{
	struct fixture *f = *state;
	pid_t pid = 0;

	make_checkpoint(f, 1, PAGES, 0);
	f->control->pages_open = 0;
	restore_all(f, PAGER_NOW, read_all);
	expect_event(f, PAGER_EVENT_TOUCHED, NULL);
	for (int i = 0; i < 21; i++) {
		pid = next_pager(pid);
		kill_process(pid);
	}
	expect_failure(f, "killed 21 times");
	assert_int_equal(task_status(f, 0), KILLED);
	assert_int_equal(f->control->bad, 0);
}

/* Nothing is there that another one could go on with. */
static void test_killed_at_the_start(void **state)
{
	struct fixture *f = *state;
	char path[160];
	int fd;

	make_checkpoint(f, 1, 10, 0);
	/* its answer never ends */
	f->control->pages_open = 0;
	fd = open(object_path(f, OBJECT_PAGES, path), O_RDONLY | O_CLOEXEC);
	start_pager(f, PAGER_FULL);
	kill_process(next_pager(0));
	expect_failure(f, "pager process ended: signal 9");
	close(fd);
}

static void test_recording_is_lost(void **state)
{
	struct fixture *f = *state;

	make_checkpoint(f, 1, PAGES, 0);
	f->record = PAGER_RECORD_FOR;
	f->record_ms = 600000;
	f->control->pages_open = 2500000;
	restore_all(f, PAGER_NOW, read_all);
	expect_event(f, PAGER_EVENT_TOUCHED, NULL);
	while (pager_stats(f->pager)->recorded_pages < 10)
		usleep(1000);
	kill_process(await_pager());
	expect_event(f, PAGER_EVENT_NOTICE, NULL);
	f->control->pages_open = -1;
	expect_all_counted(f);
	assert_int_equal(pager_stats(f->pager)->recorded_pages, 0);
	assert_int_equal(f->pager->shared->recording.state, RECORDING_NONE);
}

/* ---- rounds: each changes some memory, and looks at it ---- */

enum kind {
	DISCARD,
	UNMAP,
	MOVE,
	FORK,
	KINDS,
};

#define CHANGED 8u /* pages that a round changes, at its start */
#define ROUND 320u /* pages of a round */
#define CHANGED_BYTES (CHANGED * PAGE_BYTES)

static uint8_t *moved_to(unsigned round)
{
	return (uint8_t *)UINT64_C(0x300000000000) + (uint64_t)round * 16 * CHANGED_BYTES;
}

/* Zero, but for what is written here the first time. */
static bool is_ours(uint8_t *at, bool first)
{
	for (unsigned i = 0; i < CHANGED; i++) {
		uint8_t *page = at + (size_t)i * PAGE_BYTES;

		if (!first && page[5] != i + 1)
			return false;
		if (!first)
			page[5] = 0;
		if (!is_zero(page))
			return false;
		page[5] = (uint8_t)(i + 1);
	}
	return true;
}

static bool child_is_right(struct fixture *f, uint64_t page)
{
	pid_t child = fork();
	int status = -1;

	if (child == 0) {
		bool right;

		if (fork() == 0)
			_exit(all_right(f, 0, page + CHANGED, page + 2 * CHANGED) ? 0 : 1);
		right = all_right(f, 0, page, page + CHANGED);
		wait(&status);
		_exit(right && status == 0 ? 0 : 1);
	}
	return waitpid(child, &status, 0) == child && status == 0;
}

static bool map_anew(uint8_t *at)
{
	return mmap(at, CHANGED_BYTES, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == at;
}

/* Returns 0, or what went wrong. */
static int change(struct fixture *f, unsigned round)
{
	uint64_t page = (uint64_t)round * ROUND;
	uint8_t *at = page_at(0, page), *to = moved_to(round);

	switch (round % KINDS) {
	case DISCARD:
		if (madvise(at, CHANGED_BYTES, MADV_DONTNEED) < 0)
			return 20;
		return is_ours(at, true) ? 0 : 21;
	case UNMAP:
		if (munmap(at, CHANGED_BYTES) < 0 || !map_anew(at))
			return 22;
		return is_ours(at, true) ? 0 : 23;
	case MOVE:
		if (mremap(at, CHANGED_BYTES, CHANGED_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, to) !=
			    to ||
		    !map_anew(at))
			return 24;
		return is_ours(at, true) && right_at(f, to, 0, page) ? 0 : 25;
	default:
		return child_is_right(f, page) ? 0 : 26;
	}
}

/* At the end. */
static int look(struct fixture *f, unsigned round)
{
	uint64_t page = (uint64_t)round * ROUND;

	if (round % KINDS == FORK)
		return all_right(f, 0, page, page + ROUND) ? 0 : 30;
	if (!is_ours(page_at(0, page), false))
		return 31;
	for (unsigned i = 0; round % KINDS == MOVE && i < CHANGED; i++)
		if (!right_at(f, moved_to(round) + (size_t)i * PAGE_BYTES, 0, page + i))
			return 32;
	return all_right(f, 0, page + CHANGED, page + ROUND) ? 0 : 33;
}

static unsigned rounds_of(const struct fixture *f)
{
	return (unsigned)(f->pages / ROUND);
}

/* ---- at chosen moments: the pager process is traced ---- */

#define STOPS                                                                              \
	9u /* system calls begun or ended after the read of an event at which it is killed \
	    */

/* Each round when it is told to, by an odd step; an even one is the answer. */
static int change_when_told(struct fixture *f)
{
	for (unsigned i = 0; i < rounds_of(f); i++) {
		int r;

		wait_step(f, (int)(2 * i + 1));
		r = change(f, i);
		if (r)
			return r;
		f->control->step = (int)(2 * i + 2);
	}
	wait_step(f, (int)(2 * rounds_of(f) + 1));
	for (unsigned i = 0; i < rounds_of(f); i++) {
		int r = look(f, i);

		if (r)
			return r;
	}
	return 0;
}

static void next_stop(pid_t pid, struct __ptrace_syscall_info *ret)
{
	int status;

	assert_int_equal(ptrace(PTRACE_SYSCALL, pid, NULL, NULL), 0);
	assert_int_equal(waitpid(pid, &status, __WALL), pid);
	assert_true(WIFSTOPPED(status));
	assert_true(ptrace(PTRACE_GET_SYSCALL_INFO, pid, (void *)sizeof(*ret), ret) > 0);
}

static bool has_change(const struct wire_raw *raw, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (raw->msg[i].event != UFFD_EVENT_PAGEFAULT)
			return true;
	return false;
}

static pid_t trace_pager(pid_t old)
{
	pid_t pid = next_pager(old);
	int status;

	assert_int_equal(ptrace(PTRACE_SEIZE, pid, NULL, (void *)PTRACE_O_TRACESYSGOOD), 0);
	assert_int_equal(ptrace(PTRACE_INTERRUPT, pid, NULL, NULL), 0);
	assert_int_equal(waitpid(pid, &status, __WALL), pid);
	return pid;
}

/* Until it has read a change; then so many more stops. */
static void run_to(struct fixture *f, pid_t pid, unsigned stops)
{
	const struct wire_raw *raw = &f->pager->shared->resume.raw;
	struct __ptrace_syscall_info info;
	bool reads = false;

	for (;;) {
		next_stop(pid, &info);
		if (info.op == PTRACE_SYSCALL_INFO_ENTRY)
			reads = info.entry.nr == SYS_read &&
				info.entry.args[1] == (uintptr_t)raw->msg;
		else if (info.op == PTRACE_SYSCALL_INFO_EXIT && reads && info.exit.rval > 0 &&
			 has_change(raw, (size_t)info.exit.rval / sizeof(raw->msg[0])))
			break;
	}
	for (unsigned i = 0; i < stops; i++)
		next_stop(pid, &info);
}

static void kill_traced(pid_t pid)
{
	int status;

	kill_process(pid);
	assert_int_equal(waitpid(pid, &status, __WALL), pid);
	assert_true(WIFSIGNALED(status));
}

/* Lets through what the task needs to end its round, and not much more: there has to be something
 * left for all rounds, however slow the machine is. */
static void feed(struct fixture *f, unsigned round)
{
	uint64_t start = clock_ns();
	useconds_t pause = 1000;

	while (f->control->step < (int)(2 * round + 2)) {
		if (f->control->pages_open < FRAME)
			f->control->pages_open += FRAME;
		if (clock_ms_since(start) > WAIT_MS || waitpid(f->task[0], NULL, WNOHANG))
			fail_msg("round %u did not end: wrong page %d", round, f->control->bad - 1);
		usleep(pause);
		if (pause < 100000)
			pause += pause / 4;
	}
}

static void test_killed_within_an_event(void **state)
{
	struct fixture *f = *state;
	pid_t pid = 0;

	make_checkpoint(f, 1, (uint64_t)KINDS * STOPS * ROUND, 0);
	f->control->pages_open = FRAME;
	restore_all(f, PAGER_NOW, change_when_told);
	expect_event(f, PAGER_EVENT_TOUCHED, NULL);
	for (unsigned i = 0; i < rounds_of(f); i++) {
		pid = trace_pager(pid);
		f->control->step = (int)(2 * i + 1);
		run_to(f, pid, i / KINDS);
		kill_traced(pid);
		feed(f, i);
	}
	f->control->pages_open = -1;
	f->control->step = (int)(2 * rounds_of(f) + 1);
	expect_all_counted(f);
}

/* What the kernel did not give to us, and forgot: as if its copy had failed. */
static void test_lost_fork(void **state)
{
	struct fixture *f = *state;
	pid_t keeper, pid;

	make_checkpoint(f, 1, 20 * ROUND, 0);
	f->control->pages_open = 0;
	restore_all(f, PAGER_NOW, change_when_told);
	expect_event(f, PAGER_EVENT_TOUCHED, NULL);
	for (unsigned i = 0; i < FORK; i++) {
		f->control->step = (int)(2 * i + 1);
		feed(f, i);
	}
	pid = trace_pager(0);
	f->control->step = 2 * FORK + 1;
	run_to(f, pid, 0);
	keeper = keeper_pid();
	assert_int_equal(kill(keeper, SIGSTOP), 0);
	kill_traced(pid);
	memset(f->pager->shared->resume.raw.msg, 0, sizeof(f->pager->shared->resume.raw.msg));
	assert_int_equal(kill(keeper, SIGCONT), 0);
	expect_failure(f, "was not heard of");
	assert_int_equal(task_status(f, 0), KILLED);
	assert_int_equal(f->control->bad, 0);
}

/* ---- a journal that grows ---- */

#define CHANGES 60000u

/* Memory is moved to and fro, and some discarded in between. */
static int change_often(struct fixture *f)
{
	for (unsigned i = 0; i < CHANGES; i++)
		if (madvise(page_at(0, 900 + i % 100), PAGE_BYTES, MADV_DONTNEED) < 0)
			return 9;
	f->control->step = 1;
	for (unsigned round = 0; round < KINDS - 1; round++) {
		int r = change(f, round);

		if (r)
			return r;
	}
	f->control->step = 2;
	wait_step(f, 3);
	for (uint64_t i = 900; i < f->pages; i++)
		if (!is_zero(page_at(0, i)))
			return 10;
	return all_right(f, 0, 2 * ROUND + CHANGED, 900) ? 0 : 11;
}

static void test_long_journal(void **state)
{
	struct fixture *f = *state;
	const struct wire_resume *resume;

	make_checkpoint(f, 1, PAGES, 0);
	f->control->pages_open = 0;
	restore_all(f, PAGER_NOW, change_often);
	resume = &f->pager->shared->resume;
	expect_event(f, PAGER_EVENT_TOUCHED, NULL);
	while (f->control->step == 0) {
		assert_true(resume->log[resume->log_current].len < 2000000);
		usleep(1000);
	}
	feed(f, 0); /* until what was moved is there */
	assert_true(resume->log_current == 1 || resume->log[1].len > 0);
	kill_process(await_pager());
	expect_event(f, PAGER_EVENT_NOTICE, NULL);
	f->control->pages_open = -1;
	f->control->step = 3;
	expect_all_counted(f);
}

/* ---- at random moments ---- */

static int change_at_once(struct fixture *f)
{
	for (unsigned pass = 0; pass < 2; pass++) {
		for (unsigned i = 0; i < rounds_of(f); i++) {
			int r = pass ? look(f, i) : change(f, i);

			if (r)
				return r;
		}
	}
	return 0;
}

static void test_killed_at_random(void **state)
{
	struct fixture *f = *state;
	unsigned long settled = 0;
	unsigned kills = 0, vain = 0, seed = (unsigned)clock_ns();
	struct pager_event e = {.type = PAGER_EVENT_NOTICE};
	pid_t pid = 0;

	print_message("seed %u\n", seed);
	make_checkpoint(f, 1, 10 * ROUND, 300);
	f->control->pages_open = f->control->touch_open = 0;
	restore_all(f, PAGER_NOW, change_at_once);
	while (e.type != PAGER_EVENT_DRAINED) {
		f->control->pages_open += 3 * FRAME;
		f->control->touch_open += FRAME;
		if (event_within(f, (int)(rand_r(&seed) % 20), &e)) {
			if (e.type == PAGER_EVENT_FAILED)
				fail_msg("%s", e.err.text);
			continue;
		}
		pid = pager_pid();
		if (f->pager->shared->resume.settled != settled)
			vain = 0;
		settled = f->pager->shared->resume.settled;
		/* on a slow machine, each has to get something done now and then */
		if (pid > 1 && rand_r(&seed) % 3 == 0 && vain++ < 10) {
			kills += try_kill(pid);
			usleep(rand_r(&seed) % 3000);
		}
	}
	assert_int_equal(task_status(f, 0), 0);
	assert_int_equal(f->control->bad, 0);
	assert_true(kills > 2);
	assert_int_equal(pager_stats(f->pager)->pages_in, f->pages);
}

/* ---- the OOM killer ---- */

static int oom_score(pid_t pid)
{
	char path[64], text[32] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", pid);
	f = fopen(path, "re");
	assert_non_null(f);
	assert_non_null(fgets(text, sizeof(text), f));
	fclose(f);
	return (int)strtol(text, NULL, 10);
}

static bool set_own_score(int value)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	char text[16];
	bool done;

	snprintf(text, sizeof(text), "%d", value);
	done = fd >= 0 && write(fd, text, strlen(text)) > 0;
	close(fd);
	return done;
}

/* The lowest that is permitted, found out by trying all. */
static void test_oom_score(void **state)
{
	struct fixture *f = *state;
	int least = -1000, before = oom_score(getpid());

	while (!set_own_score(least))
		least++;
	assert_true(set_own_score(321));
	make_checkpoint(f, 1, PAGES, 0);
	f->control->pages_open = 0;
	start_pager(f, PAGER_NOW);
	expect_event(f, PAGER_EVENT_READY, NULL);
	assert_int_equal(oom_score(keeper_pid()), least);
	assert_int_equal(oom_score(pager_pid()), least);
	assert_int_equal(oom_score(next_holder(0)), least);
	assert_true(set_own_score(before));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PAGER_TEST(test_another_one_goes_on),
		PAGER_TEST(test_what_is_there_stays),
		PAGER_TEST(test_touch_set_goes_on),
		PAGER_TEST(test_faults_are_raised_again),
		PAGER_TEST(test_killed_during_the_restore),
		PAGER_TEST(test_plain_images),
		PAGER_TEST(test_again_and_again_in_vain),
		PAGER_TEST(test_killed_at_the_start),
		PAGER_TEST(test_recording_is_lost),
		PAGER_TEST(test_killed_within_an_event),
		PAGER_TEST(test_lost_fork),
		PAGER_TEST(test_long_journal),
		PAGER_TEST(test_killed_at_random),
		PAGER_TEST(test_oom_score),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

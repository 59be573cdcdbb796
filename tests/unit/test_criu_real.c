/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Dumps and restores small programs (criu_victim.c) with the real CRIU: trees, hooks, refusals. */
#include "criu_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "criu/image_dir.h"
#include "criu/image_files.h"

#define HOOK_SECONDS 11

static void runs_on_and_comes_back(struct fixture *f, const char *role)
{
	start(f, role, NULL, NULL, true);
	assert_goes_on(f);
	dump(f, (struct criu_dump){0});
	assert_goes_on(f);
	assert_true(f->frozen > 0.1 && f->frozen < 5000);
	assert_false(has_file(f->images, "criu.log"));
	end_victim(f);
	restore(f, (struct criu_restore){0});
	assert_goes_on(f);
	assert_goes_on(f);
}

static void one_process(void **state)
{
	struct fixture *f = *state;
	pid_t before;

	runs_on_and_comes_back(f, "plain");
	before = f->pid;
	assert_int_equal(waitpid(f->pid, NULL, WNOHANG), 0); /* our own child */
	end_victim(f);
	/* the same image once more, and a second dump of what was restored */
	restore(f, (struct criu_restore){0});
	assert_int_equal(f->pid, before);
	assert_goes_on(f);
	file_empty_dir(f->images);
	dump(f, (struct criu_dump){0});
	end_victim(f);
	restore(f, (struct criu_restore){0});
	assert_goes_on(f);
}

static void many_threads(void **state)
{
	runs_on_and_comes_back(*state, "threads");
}

static void three_processes(void **state)
{
	runs_on_and_comes_back(*state, "tree");
}

static void with_a_zombie(void **state)
{
	runs_on_and_comes_back(*state, "zombie");
}

/* The victim's 4 MiB are lazy pages of one task, numbered from 0 and found by address. */
static void memory_is_mapped(void **state)
{
	struct fixture *f = *state;
	struct image_map *m = NULL;
	const struct image_task *t;
	const struct image_extent *x;

	start(f, "tree", NULL, NULL, true);
	assert_goes_on(f);
	dump(f, (struct criu_dump){0});
	if (image_map_read(f->images, &m, &f->err) < 0)
		fail_with(&f->err);
	assert_int_equal(m->n_tasks, 3);
	assert_int_equal(m->tasks[0].pid, f->pid);
	assert_int_equal(m->tasks[1].ppid, f->pid);
	assert_string_equal(m->tasks[2].comm, "criu_victim");
	assert_int_equal(m->tasks[0].threads, 1);
	assert_true(m->lazy_pages >= 3072);
	assert_true(m->eager_pages > 0 && m->eager_pages < 300);
	image_map_locate(m, m->lazy_pages - 1, &t, &x);
	assert_ptr_equal(t, &m->tasks[2]);
	assert_int_equal(x->first + x->pages, m->lazy_pages);
	assert_ptr_equal(image_task_find(t, x->address + x->pages * PAGE_BYTES - 1), x);
	image_map_free(m);
}

static uint64_t bytes_on_disk(int dirfd, const char *name)
{
	struct stat st;

	return fstatat(dirfd, name, &st, 0) < 0 ? 0 : (uint64_t)st.st_blocks * 512;
}

/* What image_dir_unpack() leaves out is exactly the lazy pages: with them, it is the image. */
static void image_survives_packing(void **state)
{
	struct fixture *f = *state;
	struct image_map *m = NULL, *again = NULL;
	struct frame_index *index = NULL, *index2 = NULL;
	struct buffer head = {0};
	uint8_t page[PAGE_BYTES];
	char path[128];
	int old = f->images;

	start(f, "plain", NULL, NULL, true);
	assert_goes_on(f);
	dump(f, (struct criu_dump){.stop = true});
	end_victim(f);
	assert_int_equal(image_map_read(old, &m, &f->err), 0);
	assert_int_equal(frame_index_new(m->lazy_pages, &index, &f->err), 0);
	for (size_t i = 0; i < index->frames; i++) /* no payload: every page left out */
		index->entries[i].zero_mask = UINT32_MAX >> (FRAME_PAGES - frame_pages(index, i));
	frame_index_seal(index);
	if (image_dir_pack(old, m, index, &head, &f->err) < 0)
		fail_with(&f->err);
	assert_true(head.len < 1 << 20);
	snprintf(path, sizeof(path), "%s/again", f->dir);
	assert_int_equal(mkdir(path, 0700), 0);
	f->images = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (image_dir_unpack(f->images, head.data, head.len, &index2, &f->err) < 0)
		fail_with(&f->err);
	assert_int_equal(index2->pages, m->lazy_pages);
	assert_int_equal(image_map_read(f->images, &again, &f->err), 0);
	assert_int_equal(again->lazy_pages, m->lazy_pages);
	assert_true(bytes_on_disk(f->images, "pages-1.img") < 1 << 20);
	assert_true(bytes_on_disk(old, "pages-1.img") > 4 << 20);
	/* over an existing image: refused, nothing is overwritten */
	assert_int_equal(image_dir_unpack(f->images, head.data, head.len, &index, &f->err),
			 -EEXIST);
	int from = openat(old, "pages-1.img", O_RDONLY | O_CLOEXEC);
	int to = openat(f->images, "pages-1.img", O_WRONLY | O_CLOEXEC);

	for (uint64_t i = 0; i < m->lazy_pages; i++) {
		const struct image_task *t;
		const struct image_extent *x;
		uint64_t at;

		image_map_locate(m, i, &t, &x);
		at = x->file_offset + (i - x->first) * PAGE_BYTES;
		assert_int_equal(file_pread_all(from, page, PAGE_BYTES, at), 0);
		assert_int_equal(file_pwrite_all(to, page, PAGE_BYTES, at), 0);
	}
	restore(f, (struct criu_restore){0});
	assert_goes_on(f);
	close(from);
	close(to);
	close(old);
	buffer_done(&head);
	frame_index_free(index);
	frame_index_free(index2);
	image_map_free(m);
	image_map_free(again);
}

struct hook {
	struct fixture *f;
	pid_t pids[16];
	size_t n;
	int answer;
	uint64_t before, after; /* the victim's count in the hook, at its start and end */
	pid_t root;
};

static int dump_hook(void *arg, const pid_t *pids, size_t n, struct frem_error *err)
{
	struct hook *h = arg;

	h->n = n;
	for (size_t i = 0; i < n && i < 16; i++)
		h->pids[i] = pids[i];
	h->before = count_of(h->f);
	if (h->answer)
		usleep(100000);
	else
		sleep(HOOK_SECONDS); /* longer than CRIU's own time-out of ten seconds */
	h->after = count_of(h->f);
	return h->answer ? frem_fail(err, FREM_STORE, 0, "the hook says no") : 0;
}

/* The hook may take its time; the program is frozen throughout, and gone only afterwards. */
static void stop_waits_for_its_hook(void **state)
{
	struct fixture *f = *state;
	struct hook h = {.f = f};

	start(f, "tree", NULL, NULL, true);
	assert_goes_on(f);
	dump(f, (struct criu_dump){.stop = true, .hooks = {.post_dump = dump_hook, .arg = &h}});
	assert_int_equal(h.n, 3);
	assert_int_equal(h.pids[0], f->pid);
	assert_int_equal(h.before, h.after);
	assert_true(f->frozen > HOOK_SECONDS * 1000 && f->frozen < HOOK_SECONDS * 1000 + 3000);
	assert_int_equal(state_of(f->pid), 'Z');
	end_victim(f);
	restore(f, (struct criu_restore){0});
	assert_goes_on(f);
}

static void failing_hook_lets_it_run(void **state)
{
	struct fixture *f = *state;
	struct hook h = {.f = f, .answer = 1};

	start(f, "tree", NULL, NULL, true);
	for (int stop = 0; stop < 2; stop++) {
		assert_goes_on(f);
		assert_true(try_dump(f, (struct criu_dump){
						.stop = stop,
						.hooks = {.post_dump = dump_hook, .arg = &h}}) < 0);
		assert_int_equal(f->err.code, FREM_STORE);
		assert_string_equal(f->err.text, "the hook says no");
		assert_int_equal(h.before, h.after);
		assert_goes_on(f);
		file_empty_dir(f->images);
	}
}

static int die_hook(void *arg, const pid_t *pids, size_t n, struct frem_error *err)
{
	(void)arg, (void)pids, (void)n, (void)err;
	kill(getpid(), SIGKILL);
	return 0;
}

/* frem is killed in the middle: the program notices nothing, even where it was to be stopped. */
static void death_of_frem_lets_it_run(void **state)
{
	struct fixture *f = *state;
	pid_t pid;
	int status;

	start(f, "tree", NULL, NULL, true);
	assert_goes_on(f);
	pid = fork();
	if (pid == 0) {
		try_dump(f, (struct criu_dump){.stop = true, .hooks = {.post_dump = die_hook}});
		_exit(1);
	}
	waitpid(pid, &status, 0);
	assert_true(WIFSIGNALED(status));
	assert_goes_on(f);
}

static int resume_hook(void *arg, pid_t root, struct frem_error *err)
{
	struct hook *h = arg;

	h->root = root;
	h->before = count_of(h->f);
	usleep(50000);
	h->after = count_of(h->f);
	return h->answer ? frem_fail(err, FREM_STORE, 0, "the hook says no") : 0;
}

static int restore_hook(void *arg, struct frem_error *err)
{
	(void)arg;
	return frem_fail(err, FREM_STORE, 0, "not even begun");
}

static bool anything_left(struct fixture *f)
{
	struct image_map *m = NULL;
	bool left = false;

	assert_int_equal(image_map_read(f->images, &m, &f->err), 0);
	for (size_t i = 0; i < m->n_tasks; i++) {
		left |= kill(m->tasks[i].pid, 0) == 0;
	}
	image_map_free(m);
	return left;
}

static void restore_hooks(void **state)
{
	struct fixture *f = *state;
	struct hook h = {.f = f, .answer = 1};

	start(f, "tree", NULL, NULL, true);
	assert_goes_on(f);
	dump(f, (struct criu_dump){.stop = true});
	end_victim(f);
	assert_true(try_restore(f, (struct criu_restore){.hooks = {.pre_restore = restore_hook}}) <
		    0);
	assert_string_equal(f->err.text, "not even begun");
	assert_false(anything_left(f));
	assert_true(try_restore(f, (struct criu_restore){
					   .hooks = {.pre_resume = resume_hook, .arg = &h}}) < 0);
	assert_string_equal(f->err.text, "the hook says no");
	assert_true(h.root > 0);
	assert_int_equal(h.before, h.after);
	assert_false(anything_left(f));
	assert_int_equal(count_of(f), h.after);
	h.answer = 0;
	restore(f, (struct criu_restore){.hooks = {.pre_resume = resume_hook, .arg = &h}});
	assert_int_equal(h.root, f->pid);
	assert_goes_on(f);
}

static int resume_and_die(void *arg, pid_t root, struct frem_error *err)
{
	(void)arg, (void)root, (void)err;
	kill(getpid(), SIGKILL);
	return 0;
}

/* frem is killed when all is restored and about to run: the program must not run without it. */
static void death_of_frem_ends_a_restore(void **state)
{
	struct fixture *f = *state;
	uint64_t count;
	pid_t pid;

	start(f, "tree", NULL, NULL, true);
	assert_goes_on(f);
	dump(f, (struct criu_dump){.stop = true});
	end_victim(f);
	pid = fork();
	if (pid == 0) {
		try_restore(f, (struct criu_restore){.hooks = {.pre_resume = resume_and_die}});
		_exit(1);
	}
	waitpid(pid, NULL, 0);
	for (int i = 0; i < 5000 && anything_left(f); i++) {
		while (waitpid(-1, NULL, WNOHANG) > 0) /* orphans of the tree come to us */
			;
		usleep(1000);
	}
	assert_false(anything_left(f));
	count = count_of(f);
	restore(f, (struct criu_restore){0});
	assert_goes_on(f);
	assert_true(count_of(f) > count);
}

/* Ends CRIU, as the out-of-memory killer might. */
static void kill_criu(void)
{
	char path[64], comm[32], word[16];
	FILE *children, *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	children = fopen(path, "re");
	while (children && fscanf(children, "%15s", word) == 1) {
		int pid = (int)strtol(word, NULL, 10);

		snprintf(path, sizeof(path), "/proc/%d/comm", pid);
		f = fopen(path, "re");
		if (f && fgets(comm, sizeof(comm), f) &&
		    (strstr(comm, "criu\n") || strstr(comm, "ld-")))
			kill(pid, SIGKILL);
		if (f)
			fclose(f);
	}
	if (children)
		fclose(children);
}

static int kill_criu_dumping(void *arg, const pid_t *pids, size_t n, struct frem_error *err)
{
	(void)arg, (void)pids, (void)n, (void)err;
	kill_criu();
	return 0;
}

static int kill_criu_restoring(void *arg, pid_t root, struct frem_error *err)
{
	(void)arg, (void)root, (void)err;
	kill_criu();
	return 0;
}

static void death_of_criu(void **state)
{
	struct fixture *f = *state;

	start(f, "tree", NULL, NULL, true);
	assert_goes_on(f);
	assert_true(try_dump(f, (struct criu_dump){.stop = true,
						   .hooks = {.post_dump = kill_criu_dumping}}) < 0);
	assert_non_null(strstr(f->err.text, "criu was killed by signal 9"));
	assert_goes_on(f);
	file_empty_dir(f->images);
	dump(f, (struct criu_dump){.stop = true});
	end_victim(f);
	assert_true(try_restore(f, (struct criu_restore){
					   .hooks = {.pre_resume = kill_criu_restoring}}) < 0);
	assert_non_null(strstr(f->err.text, "criu was killed by signal 9"));
	assert_false(anything_left(f));
	restore(f, (struct criu_restore){0});
	assert_goes_on(f);
}

/* Nobody listens on lazy-pages.socket. */
static void lazy_without_a_pager(void **state)
{
	struct fixture *f = *state;

	start(f, "plain", NULL, NULL, true);
	assert_goes_on(f);
	dump(f, (struct criu_dump){.stop = true});
	end_victim(f);
	assert_true(try_restore(f, (struct criu_restore){.lazy = true}) < 0);
	assert_int_equal(f->err.code, FREM_REFUSED);
	assert_true(f->err.detail[0] != '\0');
	assert_false(anything_left(f));
}

static void taken_pid(void **state)
{
	struct fixture *f = *state;
	struct image_map *m = NULL;
	pid_t pid = 0;

	start(f, "threads", NULL, NULL, true);
	assert_goes_on(f);
	dump(f, (struct criu_dump){0});
	assert_int_equal(image_map_read(f->images, &m, &f->err), 0);
	assert_int_equal(image_pids_free(f->images, m, &f->err), -EIO);
	assert_int_equal(f->err.code, FREM_REFUSED);
	assert_non_null(strstr(f->err.text, "is taken by 'criu_victim'"));
	assert_true(f->err.hint[0] != '\0');
	/* CRIU refuses too, and what runs under that pid stays untouched */
	pid = f->pid;
	assert_true(try_restore(f, (struct criu_restore){0}) < 0);
	assert_int_equal(f->err.code, FREM_REFUSED);
	f->pid = pid;
	assert_goes_on(f);
	end_victim(f);
	assert_int_equal(image_pids_free(f->images, m, &f->err), 0);
	image_map_free(m);
}

static void refusals_are_passed_on(void **state)
{
	struct fixture *f = *state;
	char text[128];
	pid_t tracer;

	start(f, "refuse", NULL, NULL, true);
	assert_goes_on(f);
	assert_true(try_dump(f, (struct criu_dump){0}) < 0);
	assert_int_equal(f->err.code, FREM_REFUSED);
	snprintf(text, sizeof(text), "dumping process %d: CRIU refused", f->pid);
	assert_string_equal(f->err.text, text);
	assert_non_null(strstr(f->err.detail, "packetized mode for pipes is not supported"));
	assert_goes_on(f);
	end_victim(f);

	file_empty_dir(f->images);
	start(f, "plain", NULL, NULL, true);
	assert_goes_on(f);
	tracer = f->pid;
	assert_int_equal(ptrace(PTRACE_SEIZE, tracer, 0, 0), 0);
	assert_true(try_dump(f, (struct criu_dump){0}) < 0);
	assert_int_equal(f->err.code, FREM_REFUSED);
	assert_true(f->err.detail[0] != '\0');
	assert_non_null(strstr(f->err.hint, "is traced by 'test_criu_real'"));
	assert_int_equal(ptrace(PTRACE_INTERRUPT, tracer, 0, 0), 0);
	waitpid(tracer, NULL, 0);
	assert_int_equal(ptrace(PTRACE_DETACH, tracer, 0, 0), 0);
	assert_goes_on(f);
}

static void impossible_targets(void **state)
{
	struct fixture *f = *state;

	f->pid = 1 << 22; /* above every pid */
	assert_true(try_dump(f, (struct criu_dump){0}) < 0);
	assert_int_equal(f->err.code, FREM_REFUSED);
	assert_non_null(strstr(f->err.text, "no such process"));
	/* the dump would freeze who asks for it */
	f->pid = getpid();
	assert_true(try_dump(f, (struct criu_dump){0}) < 0);
	assert_non_null(strstr(f->err.text, "is what this command runs in"));
	f->pid = getppid();
	assert_true(f->pid == 0 || try_dump(f, (struct criu_dump){0}) < 0);
	f->pid = 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		VICTIM_TEST(one_process),
		VICTIM_TEST(many_threads),
		VICTIM_TEST(three_processes),
		VICTIM_TEST(with_a_zombie),
		VICTIM_TEST(memory_is_mapped),
		VICTIM_TEST(image_survives_packing),
		VICTIM_TEST(stop_waits_for_its_hook),
		VICTIM_TEST(failing_hook_lets_it_run),
		VICTIM_TEST(death_of_frem_lets_it_run),
		VICTIM_TEST(restore_hooks),
		VICTIM_TEST(death_of_frem_ends_a_restore),
		VICTIM_TEST(death_of_criu),
		VICTIM_TEST(lazy_without_a_pager),
		VICTIM_TEST(taken_pid),
		VICTIM_TEST(refusals_are_passed_on),
		VICTIM_TEST(impossible_targets),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, fixture_find_criu, NULL);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * threads STATUS: eight threads, each with memory, a thread-local counter and a counter of its own.
 * Each walks over its pages for ever, verifies that a page holds what it wrote there a round
 * before, and writes the next round's content.
 */
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "victim.h"

#define THREADS 8
#define PAGES 2048u /* of each thread: 8 MB */

struct worker {
	pthread_t thread;
	uint64_t seed;
	uint8_t *at;
	uint64_t steps;	 /* pages written since the start */
	uint64_t seen;	 /* the last question answered */
	uint64_t answer; /* steps at that moment */
};

static struct worker workers[THREADS];
static _Thread_local uint64_t own_steps;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static uint64_t question; /* raised by main: verify everything */

/* Page i was last written in round steps / PAGES, or the round before where i is still to come. */
static void verify_page(const struct worker *w, uint64_t i)
{
	uint64_t round = w->steps / PAGES + (i < w->steps % PAGES);

	victim_verify(w->at + i * VICTIM_PAGE, w->seed + round, i);
}

static void answer(struct worker *w)
{
	uint64_t asked;

	pthread_mutex_lock(&lock);
	asked = question;
	pthread_mutex_unlock(&lock);
	if (asked == w->seen)
		return;
	if (own_steps != w->steps)
		victim_bad("thread-local counter %llu, own counter %llu",
			   (unsigned long long)own_steps, (unsigned long long)w->steps);
	for (uint64_t i = 0; i < PAGES; i++)
		verify_page(w, i);
	pthread_mutex_lock(&lock);
	w->seen = asked;
	w->answer = w->steps;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

static void *work(void *arg)
{
	const struct timespec pause = {.tv_nsec = 2000000};
	struct worker *w = arg;

	for (;;) {
		uint64_t i = w->steps % PAGES;

		verify_page(w, i);
		victim_fill(w->at + i * VICTIM_PAGE, w->seed + w->steps / PAGES + 1, i);
		w->steps++;
		own_steps++;
		answer(w);
		nanosleep(&pause, NULL);
	}
	return NULL;
}

static void start(struct worker *w, uint64_t number)
{
	w->seed = (number + 1) << 40;
	w->at = victim_map(PAGES);
	for (uint64_t i = 0; i < PAGES; i++)
		victim_fill(w->at + i * VICTIM_PAGE, w->seed, i);
	if (pthread_create(&w->thread, NULL, work, w))
		victim_die("pthread_create");
}

static uint64_t ask_all(void)
{
	uint64_t sum = 0;

	pthread_mutex_lock(&lock);
	question++;
	for (int i = 0; i < THREADS; i++)
		while (workers[i].seen != question)
			pthread_cond_wait(&changed, &lock);
	for (int i = 0; i < THREADS; i++)
		sum += workers[i].answer;
	pthread_mutex_unlock(&lock);
	return sum;
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fputs("usage: threads STATUS\n", stderr);
		return 2;
	}
	victim_init(argv[1]);
	for (uint64_t i = 0; i < THREADS; i++)
		start(&workers[i], i);
	victim_ready();
	for (;;)
		if (victim_asked(60000))
			victim_ok(ask_all());
}

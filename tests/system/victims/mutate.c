/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mutate STATUS SEED THREADS PAGES PAUSE_US: threads with an arena each (arena.h), which rest until
 * SIGUSR2. From then on each takes random steps, PAUSE_US apart, until SIGUSR1 asks: then they rest
 * again, and all memory is verified. Mappings grow only in a program of one thread.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "arena.h"
#include "victim.h"

#define THREADS_MOST 16u

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int running;	 /* the threads take steps */
static unsigned at_work; /* threads that do */
static useconds_t pause_us;

/* Waits until there is work; false once it is over. */
static int is_running(void)
{
	int now;

	pthread_mutex_lock(&lock);
	now = running;
	pthread_mutex_unlock(&lock);
	return now;
}

static void *work(void *arg)
{
	struct arena *a = arg;

	for (;;) {
		pthread_mutex_lock(&lock);
		while (!running)
			pthread_cond_wait(&changed, &lock);
		at_work++;
		pthread_mutex_unlock(&lock);
		while (is_running()) {
			arena_step(a);
			usleep(pause_us);
		}
		arena_join(a);
		pthread_mutex_lock(&lock);
		at_work--;
		pthread_cond_broadcast(&changed);
		pthread_mutex_unlock(&lock);
	}
	return NULL;
}

static void set_running(int on)
{
	pthread_mutex_lock(&lock);
	running = on;
	pthread_cond_broadcast(&changed);
	while (!on && at_work)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
}

static int next_signal(void)
{
	sigset_t set;
	int number;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	return sigwait(&set, &number) ? 0 : number;
}

static void answer(struct arena *arenas, uint64_t threads)
{
	uint64_t steps = 0;

	set_running(0);
	for (uint64_t i = 0; i < threads; i++) {
		arena_verify(&arenas[i]);
		steps += arenas[i].steps;
	}
	victim_ok(steps);
}

int main(int argc, char **argv)
{
	uint64_t threads, seed;
	struct arena *arenas;
	pthread_t thread;
	sigset_t set;

	if (argc != 6) {
		fputs("usage: mutate STATUS SEED THREADS PAGES PAUSE_US\n", stderr);
		return 2;
	}
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, NULL);
	victim_init(argv[1]);
	seed = victim_number(argv[2]);
	threads = victim_number(argv[3]);
	pause_us = (useconds_t)victim_number(argv[5]);
	arenas = threads <= THREADS_MOST ? calloc(threads, sizeof(*arenas)) : NULL;
	if (!arenas)
		victim_die("too many threads");
	for (uint64_t i = 0; i < threads; i++)
		arena_init(&arenas[i], seed * THREADS_MOST + i, (uint32_t)victim_number(argv[4]),
			   threads == 1);
	for (uint64_t i = 0; i < threads; i++)
		if (pthread_create(&thread, NULL, work, &arenas[i]))
			victim_die("pthread_create");
	victim_ready();
	for (;;) {
		int number = next_signal();

		if (number == SIGUSR1)
			answer(arenas, threads);
		else if (number == SIGUSR2)
			set_running(1);
	}
}

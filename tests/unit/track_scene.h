/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A tracked program that runs functions of the test, and what is expected of its pages. */
#ifndef FREM_TESTS_TRACK_SCENE_H
#define FREM_TESTS_TRACK_SCENE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "track/track.h"
#include "track_child.h"

#define SCENE_PAGES 256u /* of the program's memory, c.memory */
#define SCENE_NUMBERS 16

struct scene {
	struct child c;
	struct tracker *tracker;
	uint8_t *elsewhere;    /* SCENE_PAGES addresses, aligned alike, where nothing is mapped */
	uint64_t *numbers;     /* shared with the program: SCENE_NUMBERS for the test's use */
	struct touch_set *set; /* after scene_end() */
	uint64_t start;	       /* the image is SCENE_PAGES from here */
};

/* In the program; ends it if the condition does not hold. */
#define MUST(condition) ((condition) ? (void)0 : must_failed(#condition, __FILE__, __LINE__))
_Noreturn void must_failed(const char *what, const char *file, int line);

typedef void (*scene_function)(const struct scene *s);

/* Starts the program; it runs setup (may be NULL), and is tracked from then on. */
void scene_start(struct scene *s, scene_function setup);
/* Has the program run a function to its end. */
void scene_do(const struct scene *s, scene_function act);
/* Has the program run a function that ends it, and waits until the tracker knows. */
void scene_last(const struct scene *s, scene_function act);
void scene_wait_ended(const struct scene *s);
/* For waits on what only a later scan can tell, begun at `since` (clock_ns()): not for ever. */
void scene_breathe(uint64_t since);
/* Closes the window, and ends the program. The image is c.memory unless `start` was set. */
void scene_end(struct scene *s);
void scene_free(struct scene *s);

/* Which of the image's SCENE_PAGES pages were found. */
void scene_found(const struct scene *s, bool *found);
/* Of the image's pages, exactly those of a list of ranges [first, end) were found; -1 ends it. */
void scene_expect(const struct scene *s, ...);

/* In the program: accesses pages [first, end) of its memory. */
void read_pages(const struct scene *s, unsigned first, unsigned end);
void write_pages(const struct scene *s, unsigned first, unsigned end);
/* Maps new memory over pages [first, end), where nothing is mapped. */
void map_pages(const struct scene *s, unsigned first, unsigned end);
void unmap_pages(const struct scene *s, unsigned first, unsigned end);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tree STATUS: a root with three children, each with two of its own. All share memory inherited
 * from the root copy-on-write, of which each writes its own quarter page by page, and have memory
 * that they mapped themselves. A token goes down and up the tree through pipes for ever: every
 * process checks that the token's number is the one that comes next, so nothing in a pipe may be
 * lost.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "victim.h"

#define CHILDREN 3
#define GRANDCHILDREN 2
#define INHERITED 4096u /* pages, 16 MB, of the root */
#define OWN 1024u	/* pages, 4 MB, of each */
#define SEED_INHERITED UINT64_C(0x74726565)

struct token {
	uint64_t number;
	uint64_t verify; /* check all memory before answering */
	uint64_t sum;	 /* processes that passed it on */
};

struct pipes {
	int down, up; /* this process's ends */
};

struct node {
	uint64_t id; /* 0 the root, 1..3 its children, 4.. theirs */
	uint8_t *inherited, *own;
	uint64_t next;			 /* number of the token to come */
	struct pipes parent;		 /* read down, write up */
	struct pipes children[CHILDREN]; /* write down, read up */
	unsigned n_children;
};

static void send_token(int fd, const struct token *t)
{
	if (write(fd, t, sizeof(*t)) != sizeof(*t))
		_exit(0); /* the other side has ended, and so does the tree */
}

static void receive_token(int fd, struct token *t)
{
	ssize_t n;

	do
		n = read(fd, t, sizeof(*t));
	while (n < 0 && errno == EINTR);
	if (n != sizeof(*t))
		_exit(0);
}

static uint64_t seed_of(uint64_t id)
{
	return (id + 1) << 40;
}

static uint64_t parent_of(uint64_t id)
{
	return id <= CHILDREN ? 0 : (id - CHILDREN - 1) / GRANDCHILDREN + 1;
}

/* Who wrote an inherited page last, as process id sees it: each but the root writes a quarter. */
static uint64_t inherited_seed(uint64_t id, uint64_t page)
{
	for (; id > 0; id = parent_of(id))
		if (page % 4 == id % 4)
			return seed_of(id);
	return SEED_INHERITED;
}

static void make_memory(struct node *n)
{
	for (uint64_t i = 0; i < INHERITED; i++)
		if (n->id > 0 && i % 4 == n->id % 4)
			victim_fill(n->inherited + i * VICTIM_PAGE, seed_of(n->id), i);
	n->own = victim_map(OWN);
	for (uint64_t i = 0; i < OWN; i++)
		victim_fill(n->own + i * VICTIM_PAGE, seed_of(n->id), INHERITED + i);
}

static void verify_memory(const struct node *n)
{
	for (uint64_t i = 0; i < INHERITED; i++)
		victim_verify(n->inherited + i * VICTIM_PAGE, inherited_seed(n->id, i), i);
	for (uint64_t i = 0; i < OWN; i++)
		victim_verify(n->own + i * VICTIM_PAGE, seed_of(n->id), INHERITED + i);
}

/* Checks the token, has the sub-tree do so, and counts. */
static void pass_on(struct node *n, struct token *t)
{
	if (t->number != n->next)
		victim_bad("process %llu: token %llu instead of %llu", (unsigned long long)n->id,
			   (unsigned long long)t->number, (unsigned long long)n->next);
	n->next++;
	if (t->verify)
		verify_memory(n);
	t->sum++;
	for (unsigned i = 0; i < n->n_children; i++) {
		send_token(n->children[i].down, t);
		receive_token(n->children[i].up, t);
	}
}

static _Noreturn void run_below(struct node *n)
{
	struct token t;

	for (;;) {
		receive_token(n->parent.down, &t);
		pass_on(n, &t);
		send_token(n->parent.up, &t);
	}
}

static void start_children(struct node *n, unsigned count);

static _Noreturn void child_main(struct node *n, uint64_t id, struct pipes ends)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (unsigned i = 0; i < n->n_children; i++) {
		close(n->children[i].down);
		close(n->children[i].up);
	}
	n->parent = ends;
	n->n_children = 0;
	n->id = id;
	make_memory(n);
	if (id <= CHILDREN)
		start_children(n, GRANDCHILDREN);
	run_below(n);
}

static void start_children(struct node *n, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		uint64_t id = n->id ? CHILDREN + (n->id - 1) * GRANDCHILDREN + i + 1 : i + 1;
		int down[2], up[2];
		pid_t pid;

		if (pipe(down) < 0 || pipe(up) < 0)
			victim_die("pipe");
		pid = fork();
		if (pid < 0)
			victim_die("fork");
		if (pid == 0) {
			close(down[1]);
			close(up[0]);
			child_main(n, id, (struct pipes){.down = down[0], .up = up[1]});
		}
		close(down[0]);
		close(up[1]);
		n->children[n->n_children++] = (struct pipes){.down = down[1], .up = up[0]};
	}
}

static void round_trip(struct node *root, uint64_t verify)
{
	struct token t = {.number = root->next, .verify = verify};

	pass_on(root, &t);
	if (t.sum != 1 + CHILDREN + CHILDREN * GRANDCHILDREN)
		victim_bad("token passed on by %llu processes", (unsigned long long)t.sum);
}

int main(int argc, char **argv)
{
	struct node root = {.id = 0};

	if (argc != 2) {
		fputs("usage: tree STATUS\n", stderr);
		return 2;
	}
	victim_init(argv[1]);
	root.inherited = victim_map(INHERITED);
	for (uint64_t i = 0; i < INHERITED; i++)
		victim_fill(root.inherited + i * VICTIM_PAGE, SEED_INHERITED, i);
	make_memory(&root);
	start_children(&root, CHILDREN);
	round_trip(&root, 1);
	victim_ready();
	for (;;) {
		int asked = victim_asked(2);

		round_trip(&root, (uint64_t)asked);
		if (asked)
			victim_ok(root.next);
	}
}

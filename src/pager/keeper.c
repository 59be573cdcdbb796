/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "engine.h"
#include "fds.h"
#include "report.h"
#include "tree_kill.h"
#include "uffd.h"

#define KILL_MS \
	10000 /* until the caller is told; the keeper itself waits for as long as it takes */
#define GUARD_MS 250
#define HOLDER_NAME "memory-holder" /* not frem: who kills all that has that name leaves it */
#define VAIN_MAX 20 /* deaths in a row of pager processes that put no page in place */

struct keeper {
	const struct pager_options *o;
	struct wire_shared *shared;
	const struct keeper_ends *ends;
	int listener, criu; /* -1 before and after their time */
	int news[2];	    /* to the pager process; ours first */
	int pidfd;	    /* of the pager process */
	pid_t pager, caller;
	pid_t holder; /* 0: none */
	int holder_pidfd;
	bool holder_lags; /* more is known than when it was made */
	int32_t uffd_of;  /* the task whose userfaultfd comes next; 0: a pid comes next */
	bool caller_gone;
	bool finished; /* CRIU's word came: behind the last userfaultfd */
	struct job_tree tree;
	struct wire_news *uffds; /* all that came from CRIU */
	size_t n_uffds, cap_uffds;
	struct fds inherited;  /* descriptors that are not the pager process's */
	bool again;	       /* the pager process is not the first one */
	unsigned vain;	       /* of them have died since a page was put in place */
	unsigned long settled; /* when the last one died */
};

/* Listens by a path through the descriptor, because the socket's own address is too short. */
static int listen_for_criu(struct keeper *k, struct frem_error *err)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int on = 1;

	if (k->o->mode == PAGER_FULL)
		return 0;
	snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/%s", k->o->work_fd, WIRE_SOCKET);
	k->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (k->listener < 0)
		return frem_fail(err, FREM_FAILED, errno, "making a socket");
	setsockopt(k->listener, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)); /* for receive() */
	unlinkat(k->o->work_fd, WIRE_SOCKET, 0);
	if (bind(k->listener, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(k->listener, 1) < 0)
		return frem_fail(err, FREM_FAILED, errno, "listening on '%s'", WIRE_SOCKET);
	return 0;
}

/* It is not closed: its number would be given to the next userfaultfd, while the holder still takes
 * it for a socket. */
static void hang_up(struct keeper *k, int *fd)
{
	if (*fd < 0)
		return;
	shutdown(*fd, SHUT_RDWR);
	*fd = -1;
	k->holder_lags = true;
}

static void stop_listening(struct keeper *k)
{
	if (k->listener < 0)
		return;
	unlinkat(k->o->work_fd, WIRE_SOCKET, 0);
	hang_up(k, &k->listener);
}

static void accept_criu(struct keeper *k)
{
	struct ucred peer;
	socklen_t n = sizeof(peer);

	k->criu = accept4(k->listener, NULL, NULL, SOCK_CLOEXEC);
	if (k->criu < 0)
		return;
	if (getsockopt(k->criu, SOL_SOCKET, SO_PEERCRED, &peer, &n) == 0)
		k->tree.ancestors[1] = peer.pid;
	stop_listening(k);
}

static void tell_pager(struct keeper *k, const struct wire_news *n)
{
	/* its socket outlives the pager process, being ours as well: never wait for that alone */
	while (send(k->news[0], n, sizeof(*n), MSG_NOSIGNAL | MSG_DONTWAIT) < 0 &&
	       errno == EAGAIN) {
		struct pollfd fds[] = {{.fd = k->news[0], .events = POLLOUT},
				       {.fd = k->pidfd, .events = POLLIN}};

		if (poll(fds, 2, -1) > 0 && fds[1].revents)
			return;
	}
}

/* One message of CRIU's: n bytes, a descriptor where one comes with them, and the sender, which is
 * the task that speaks of itself. Returns what recvmsg says. */
static ssize_t receive(int fd, void *data, size_t n, int *ret_fd, struct ucred *ret_sender)
{
	union {
		char space[CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {.iov_base = data, .iov_len = n};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control.space,
			   .msg_controllen = sizeof(control.space)};
	ssize_t got;

	do
		got = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	for (struct cmsghdr *c = got < 0 ? NULL : CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
			memcpy(ret_fd, CMSG_DATA(c), sizeof(*ret_fd));
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS)
			memcpy(ret_sender, CMSG_DATA(c), sizeof(*ret_sender));
	}
	return got;
}

static void tell_caller(struct keeper *k)
{
	struct wire_held held = {0};

	if (k->finished && k->tree.root)
		send(k->ends->keeper_cmd, &held, sizeof(held), MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Nobody but CRIU drives this restore: the caller has nothing to tell about it. */
static bool stands_alone(const struct keeper *k)
{
	return !k->o->store;
}

static void learn_root(struct keeper *k, pid_t root)
{
	job_tree_set_root(&k->tree, root);
	k->shared->root = root;
	k->holder_lags = true;
}

/* Of the tasks that have sent their userfaultfds. */
static void find_root(struct keeper *k)
{
	pid_t root = job_tree_top(&k->tree);

	if (root)
		learn_root(k, root);
}

/* A pid, a zombie's negative pid, or the word that ends the restore. */
static int take_number(struct keeper *k, int32_t number, pid_t sender)
{
	struct wire_news news = {.type = WIRE_FINISHED};

	if (number == WIRE_RESTORE_FINISHED) {
		if (stands_alone(k))
			find_root(k);
		tell_pager(k, &news);
		k->finished = true;
		tell_caller(k);
		return 0;
	}
	if (number <= 0)
		return 0;
	k->uffd_of = number;
	return job_tree_add_seen(&k->tree, number, sender);
}

/* For a later pager process. */
static int note_uffd(struct keeper *k, const struct wire_news *news)
{
	if (k->n_uffds == k->cap_uffds) {
		size_t cap = k->cap_uffds ? 2 * k->cap_uffds : 16;
		struct wire_news *more = realloc(k->uffds, cap * sizeof(*more));

		if (!more)
			return -ENOMEM;
		k->uffds = more;
		k->cap_uffds = cap;
	}
	k->uffds[k->n_uffds++] = *news;
	return 0;
}

static int take_uffd(struct keeper *k, int fd)
{
	struct wire_news news = {.type = WIRE_UFFD, .pid = k->uffd_of, .fd = fd};

	if (fd < 0)
		return -EPROTO;
	k->uffd_of = 0;
	k->holder_lags = true;
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	tell_pager(k, &news);
	return note_uffd(k, &news);
}

static void hear_criu(struct keeper *k)
{
	struct ucred sender = {0};
	int32_t number;
	int fd = -1, r = 0;
	ssize_t n;

	/* CRIU sends one filler byte with a descriptor */
	n = receive(k->criu, &number, k->uffd_of ? 1 : sizeof(number), &fd, &sender);
	if (n <= 0) {
		hang_up(k, &k->criu);
		return;
	}
	if (k->uffd_of)
		r = take_uffd(k, fd);
	else if (n == sizeof(number))
		r = take_number(k, number, sender.pid);
	else
		r = -EPROTO;
	/* which makes CRIU give the restore up */
	if (r < 0)
		hang_up(k, &k->criu);
}

/* One of ours, not yet waited for. */
static void kill_child(pid_t *pid)
{
	if (*pid <= 0)
		return;
	kill(*pid, SIGKILL);
	while (waitpid(*pid, NULL, 0) < 0 && errno == EINTR)
		;
	*pid = 0;
}

/* Nothing is left to be held. */
static _Noreturn void leave(struct keeper *k, int status)
{
	stop_listening(k);
	kill_child(&k->holder);
	_exit(status);
}

/* What CRIU has sent: a userfaultfd that is not received would be closed with the connection. */
static void take_what_was_sent(struct keeper *k)
{
	struct pollfd fd = {.fd = k->listener, .events = POLLIN};

	if (k->listener >= 0 && poll(&fd, 1, 0) > 0)
		accept_criu(k);
	for (fd.fd = k->criu; k->criu >= 0 && poll(&fd, 1, 0) > 0;)
		hear_criu(k);
}

/* Ends the tree; this process stays until the last of its address spaces is gone. */
static _Noreturn void abandon(struct keeper *k, const struct frem_error *why)
{
	bool gone;

	take_what_was_sent(k);
	stop_listening(k);
	hang_up(k, &k->criu);
	gone = job_tree_kill_all(&k->tree, KILL_MS);
	if (why) {
		struct frem_error err = *why;

		if (!gone)
			frem_detail(&err, "some tasks could not be killed: they wait for their "
					  "memory, and are kept waiting");
		report_event(PAGER_EVENT_FAILED, NULL, &err);
	}
	while (!gone)
		gone = job_tree_kill_all(&k->tree, GUARD_MS);
	leave(k, 1);
}

/* fork() that shares the table of descriptors; there is one thread. */
static pid_t fork_sharing_files(int *ret_pidfd)
{
	int pidfd = -1;
	pid_t pid = (pid_t)syscall(SYS_clone, CLONE_FILES | CLONE_PIDFD | SIGCHLD, NULL, &pidfd,
				   NULL, 0);

	if (pid > 0)
		*ret_pidfd = pidfd;
	return pid;
}

/* It was killed between being through and saying so. */
static void say_drained(void)
{
	report_event(PAGER_EVENT_TOUCHED, NULL, NULL);
	report_event(PAGER_EVENT_DRAINED, NULL, NULL);
}

/* The holder's whole life. The pager process dies with the keeper. */
static _Noreturn void hold(struct keeper *k, pid_t keeper)
{
	struct frem_error err = {0};
	sigset_t end;

	prctl(PR_SET_NAME, HOLDER_NAME);
	sigemptyset(&end);
	sigaddset(&end, SIGHUP);
	sigprocmask(SIG_BLOCK, &end, NULL);
	prctl(PR_SET_PDEATHSIG, SIGHUP);
	while (getppid() == keeper)
		sigwaitinfo(&end, NULL);
	k->holder = 0;
	k->news[0] = k->news[1] = -1; /* as they were when this process was made */
	shutdown(k->ends->keeper_cmd, SHUT_RDWR);
	if (k->shared->drained) {
		say_drained();
		leave(k, 0);
	}
	frem_fail(&err, FREM_FAILED, 0, "bringing the memory in: the keeper process was killed");
	abandon(k, &err);
}

/* One that knows all that is known now, in the place of the one that is there. */
static int renew_holder(struct keeper *k, struct frem_error *err)
{
	pid_t keeper = getpid(), holder;
	int pidfd;

	holder = fork_sharing_files(&pidfd);
	if (holder < 0)
		return frem_fail(err, FREM_FAILED, errno, "starting the holder of userfaultfds");
	if (holder == 0)
		hold(k, keeper);
	kill_child(&k->holder);
	cleanup_close(&k->holder_pidfd);
	k->holder = holder;
	k->holder_pidfd = pidfd;
	k->holder_lags = false;
	return 0;
}

static void keep_holder(struct keeper *k)
{
	struct frem_error err = {0};

	if (renew_holder(k, &err) == 0)
		return;
	kill_child(&k->pager);
	abandon(k, &err);
}

static void hear_caller(struct keeper *k)
{
	struct wire_command c;
	ssize_t n = recv(k->ends->keeper_cmd, &c, sizeof(c), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n == sizeof(c) && c.type == WIRE_RESTORED) {
		learn_root(k, c.pid);
		keep_holder(k);
		tell_caller(k);
		return;
	}
	k->caller_gone = true;
	/* a job that stands on its own feet goes on without frem, unless that was told to end it */
	if (n == sizeof(c) || !k->tree.root) {
		kill_child(&k->pager);
		if (!k->shared->drained)
			abandon(k, NULL);
		leave(k, 0);
	}
}

/* What the caller said before the pager process ended counts. */
static void hear_last_words(struct keeper *k)
{
	struct pollfd fd = {.fd = k->ends->keeper_cmd, .events = POLLIN};

	while (!k->caller_gone && poll(&fd, 1, 0) > 0)
		hear_caller(k);
}

/* Last in line for the OOM killer, as far as that is permitted: without CAP_SYS_RESOURCE, not below
 * where a process that has it has put us. */
static void protect_from_oom(const char *name)
{
	int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC), refused = -1001,
	    least = 1000;
	char text[16] = "";

	if (fd >= 0 && read(fd, text, sizeof(text) - 1) > 0)
		least = (int)strtol(text, NULL, 10);
	while (fd >= 0 && least - refused > 1) {
		/* the lowest of all first */
		int value = refused < -1000 ? -1000 : refused + (least - refused) / 2;

		snprintf(text, sizeof(text), "%d", value);
		if (pwrite(fd, text, strlen(text), 0) < 0)
			refused = value;
		else
			least = value;
	}
	if (least > -1000)
		log_debug("the OOM score of %s cannot be lowered below %d, ignoring", name, least);
	cleanup_close(&fd);
}

/* Own session, no terminal, no stop by a signal meant for the caller. */
static void become_daemon(const char *name)
{
	static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGUSR1, SIGUSR2};
	sigset_t none;

	setsid();
	prctl(PR_SET_NAME, name);
	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		signal(ignored[i], SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	protect_from_oom(name);
}

static void let_go_of_terminal(void)
{
	file_let_go_of_streams();
	if (chdir("/") < 0)
		log_debug("cannot leave the working directory, ignoring");
}

static int start_pager(struct keeper *k, struct frem_error *err)
{
	pid_t keeper = getpid();

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, k->news) < 0)
		return frem_fail(err, FREM_FAILED, errno, "making a socket");
	k->pager = fork_sharing_files(&k->pidfd);
	if (k->pager < 0)
		return frem_fail(err, FREM_FAILED, errno, "starting the pager process");
	if (k->pager == 0) {
		struct engine_ends e = {
			.news = k->news[1],
			.caller = k->ends->pager_cmd,
			.recording = k->again ? -1 : k->ends->recording,
			.again = k->again,
			.uffds = k->uffds,
			.n_uffds = k->n_uffds,
			.finished = k->finished,
		};

		become_daemon("frem-pager");
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != keeper)
			_exit(1);
		_exit(engine_main(k->o, k->shared, &e));
	}
	/* both ends stay open: closing one here would close it for the pager process */
	return 0;
}

/* What the killed one had open is closed, but for the userfaultfds. */
static int clear_away(struct keeper *k)
{
	const struct wire_resume *r = &k->shared->resume;
	const int kept[] = {k->listener,
			    k->criu,
			    k->tree.pidfd,
			    k->holder_pidfd,
			    r->image,
			    r->bits,
			    r->log[r->log_current & 1].fd};
	struct fds keep = {0};
	int e = k->inherited.n ? 0 : -EBADF; /* they could not be found out */

	for (size_t i = 0; i < k->inherited.n && e == 0; i++)
		e = fds_add(&keep, k->inherited.fd[i]);
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]) && e == 0; i++)
		e = fds_add(&keep, kept[i]);
	if (e == 0)
		e = fds_close_others(&keep);
	fds_done(&keep);
	return e;
}

/* A recording that was under way has lost what it kept in memory. */
static void void_recording(struct keeper *k)
{
	if (k->shared->recording.state != RECORDING_OPEN)
		return;
	k->shared->stats.recorded_pages = 0;
	k->shared->stats.recorded_ms = 0;
	k->shared->recording.state = RECORDING_NONE;
}

/* Starts another pager process in the place of one that was killed by a signal. Returns whether it
 * goes on. */
static bool start_again(struct keeper *k, int number, struct frem_error *err)
{
	unsigned long settled = k->shared->resume.settled;

	if (!k->shared->resume.possible)
		return false;
	k->vain = settled == k->settled ? k->vain + 1 : 1;
	k->settled = settled;
	if (k->vain > VAIN_MAX) {
		frem_fail(err, FREM_FAILED, 0,
			  "bringing the memory in: the pager process was killed %u times without "
			  "putting a page in place: signal %d",
			  k->vain, number);
		return false;
	}
	if (clear_away(k) < 0)
		return false;
	void_recording(k);
	if (!k->again)
		report_event(PAGER_EVENT_NOTICE,
			     "the pager process was killed: another one goes on in its place",
			     NULL);
	log_info("the pager process was killed by signal %d: starting another one", number);
	k->again = true;
	if (start_pager(k, err) == 0)
		return true;
	kill_child(&k->pager);
	return false;
}

static void pager_ended(struct keeper *k)
{
	struct frem_error err = {0};
	siginfo_t info = {0};

	while (waitid(P_PID, (id_t)k->pager, &info, WEXITED) < 0 && errno == EINTR)
		;
	k->pager = 0;
	if (k->shared->drained) {
		if (info.si_code != CLD_EXITED)
			say_drained();
		leave(k, 0);
	}
	hear_last_words(k);
	if (info.si_code != CLD_EXITED && start_again(k, info.si_status, &err))
		return;
	if (k->shared->failed)
		err = k->shared->err;
	else if (err.code == FREM_OK)
		frem_fail(&err, FREM_FAILED, 0,
			  "bringing the memory in: the pager process ended: %s %d",
			  info.si_code == CLD_EXITED ? "status" : "signal", info.si_status);
	abandon(k, &err);
}

/* CRIU broke off. Where there is a caller that drives it, that is the caller's to say. */
static void look_after_criu(struct keeper *k)
{
	struct frem_error err = {0};

	if (!stands_alone(k) || k->criu >= 0 || k->finished)
		return;
	frem_fail(&err, FREM_REFUSED, 0, "criu has ended the restore early");
	kill_child(&k->pager);
	abandon(k, &err);
}

static _Noreturn void keep(struct keeper *k)
{
	for (;;) {
		struct pollfd fds[] = {
			{.fd = k->pidfd, .events = POLLIN},
			{.fd = k->caller_gone ? -1 : k->ends->keeper_cmd, .events = POLLIN},
			{.fd = k->listener, .events = POLLIN},
			{.fd = k->criu, .events = POLLIN},
			{.fd = k->holder_pidfd, .events = POLLIN},
		};

		if (poll(fds, 5, -1) < 0)
			continue;
		if (fds[1].revents)
			hear_caller(k);
		if (fds[2].revents)
			accept_criu(k);
		if (fds[3].revents) {
			hear_criu(k);
			look_after_criu(k);
		}
		if (k->holder_lags || fds[4].revents)
			keep_holder(k);
		if (fds[0].revents)
			pager_ended(k);
	}
}

_Noreturn void keeper_main(const struct pager_options *o, struct wire_shared *shared,
			   const struct keeper_ends *ends, pid_t caller)
{
	struct keeper k = {.o = o,
			   .shared = shared,
			   .ends = ends,
			   .listener = -1,
			   .criu = -1,
			   .pidfd = -1,
			   .holder_pidfd = -1,
			   .caller = caller};
	struct frem_error err = {0};
	int r;

	report_start(ends->events);
	become_daemon("frem-keeper");
	let_go_of_terminal();
	file_let_go_of_inherited();
	file_raise_nofile();
	if (fds_add_open(&k.inherited) < 0)
		fds_done(&k.inherited);
	job_tree_init(&k.tree, caller);
	r = listen_for_criu(&k, &err);
	if (r == 0)
		r = renew_holder(&k, &err);
	if (r == 0)
		r = start_pager(&k, &err);
	if (r < 0) {
		kill_child(&k.pager);
		abandon(&k, &err);
	}
	keep(&k);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * linkem: joins two network namespaces by a link of given round-trip time and rate.
 *
 * Each namespace gets a TUN device; a thread a direction reads packets from one device and writes
 * them to the other when they are due. A packet first takes its turn on the link (bytes / rate;
 * packets that would wait longer than the queue allows are dropped at the tail, as routers do),
 * then travels for half the round-trip time. The rate counts IP bytes at an MTU of 1500: TCP gets
 * 1448/1500 of it. TCP's segmentation offload is on, so that a fast link costs a system call a 64
 * KB and not one a packet; a large segment is charged the headers of all packets that it stands
 * for.
 *
 * Memory is bounded by what can be on the link and in its queue. The devices disappear with this
 * process, which runs until SIGTERM or SIGINT, or, with -p, until its parent ends.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"

#define LINK_MTU 1500
#define DEVICE_QUEUE 10000 /* packets that wait in the kernel while a thread is not scheduled */
#define PACKET_MAX (sizeof(struct virtio_net_hdr) + 65536)
#define RECORD_ALIGN 16
#define RECORD_MAX (sizeof(struct record) + PACKET_MAX + RECORD_ALIGN)
#define RING_MOST (UINT64_C(1) << 30)
#define READ_BATCH 32 /* packets read before the due ones are looked at again */
#define USAGE "usage: linkem [-p] NS_A IP_A NS_B IP_B RTT_MS RATE_MBYTES_S [QUEUE_MS]\n"

/* A packet in flight, in the ring; its bytes follow. len 0: the ring goes on at its start. */
struct record {
	uint64_t due; /* clock_ns() at which the other side gets it */
	uint32_t len;
	uint32_t size; /* of the record, aligned */
};

/* Records in the order of their due time; none ever wraps around the end. */
struct ring {
	uint8_t *bytes;
	size_t size;
	size_t head; /* the oldest record */
	size_t tail; /* where the next one goes; head == tail: empty */
};

/* One direction of the link. */
struct lane {
	int in, out;
	double ns_per_byte;
	uint64_t delay_ns; /* half the round-trip time */
	uint64_t queue_ns; /* the longest wait for a turn on the link */
	uint64_t busy_until;
	uint64_t lateness; /* of wake-ups, a running mean: aimed ahead of */
	struct ring ring;
	struct frem_error err; /* why the thread ended */
};

struct link_options {
	const char *ns[2];
	struct in_addr ip[2];
	double rtt_ms, rate, queue_ms;
	bool with_parent;
};

/* ---- the ring ---- */

static int ring_init(struct ring *r, uint64_t most, struct frem_error *err)
{
	if (most > RING_MOST)
		return frem_fail(err, FREM_USAGE, 0,
				 "rate times delay is more than %llu MB of packets in flight",
				 (unsigned long long)(RING_MOST >> 20));
	r->size = most + 2 * RECORD_MAX;
	r->bytes = mmap(NULL, r->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (r->bytes == MAP_FAILED)
		return frem_fail(err, FREM_FAILED, errno, "memory for %zu bytes in flight",
				 r->size);
	return 0;
}

/* Where a record of RECORD_MAX bytes can be written, or NULL where the ring is full. */
static struct record *ring_room(struct ring *r)
{
	if (r->tail >= r->head) {
		if (r->size - r->tail >= RECORD_MAX + sizeof(struct record))
			return (struct record *)(r->bytes + r->tail);
		if (r->head <= RECORD_MAX)
			return NULL;
		*(struct record *)(r->bytes + r->tail) = (struct record){.len = 0};
		r->tail = 0;
	}
	return r->head - r->tail > RECORD_MAX ? (struct record *)(r->bytes + r->tail) : NULL;
}

static void ring_commit(struct ring *r, struct record *record)
{
	size_t size = sizeof(*record) + record->len;

	record->size = (uint32_t)((size + RECORD_ALIGN - 1) & ~(size_t)(RECORD_ALIGN - 1));
	r->tail += record->size;
}

static struct record *ring_oldest(struct ring *r)
{
	struct record *record;

	if (r->head == r->tail)
		return NULL;
	record = (struct record *)(r->bytes + r->head);
	if (record->len)
		return record;
	r->head = 0;
	return r->head == r->tail ? NULL : (struct record *)r->bytes;
}

/* ---- one direction ---- */

/* Bytes that the packets take on a link of LINK_MTU: a large segment stands for several. */
static uint64_t wire_bytes(const uint8_t *packet, size_t len)
{
	const struct virtio_net_hdr *hdr = (const struct virtio_net_hdr *)packet;
	size_t ip = len - sizeof(*hdr), tcp = hdr->csum_start, headers;

	if ((hdr->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) == VIRTIO_NET_HDR_GSO_NONE ||
	    !hdr->gso_size || tcp + 13 > ip)
		return ip;
	headers = tcp + (packet[sizeof(*hdr) + tcp + 12] >> 4) * 4u;
	if (headers >= ip)
		return ip;
	return ip + (ip - headers - 1) / hdr->gso_size * headers;
}

/* A packet that the device refuses (it is down, or full) is lost, as on any link. */
static int deliver_due(struct lane *l)
{
	struct record *record;

	while ((record = ring_oldest(&l->ring)) != NULL) {
		uint64_t now = clock_ns();

		if (record->due > now + l->lateness)
			break;
		if (write(l->out, record + 1, record->len) < 0 && errno == EBADFD)
			return frem_fail(&l->err, FREM_FAILED, errno, "writing to the device");
		l->ring.head += record->size;
	}
	return 0;
}

static void enqueue(struct lane *l, struct record *record, size_t len)
{
	uint64_t now = clock_ns();

	if (l->busy_until < now)
		l->busy_until = now;
	if (l->busy_until - now > l->queue_ns)
		return;
	l->busy_until +=
		(uint64_t)((double)wire_bytes((uint8_t *)(record + 1), len) * l->ns_per_byte);
	record->due = l->busy_until + l->delay_ns;
	record->len = (uint32_t)len;
	ring_commit(&l->ring, record);
}

static int take_in(struct lane *l)
{
	uint8_t lost[PACKET_MAX];

	for (int i = 0; i < READ_BATCH; i++) {
		struct record *record = ring_room(&l->ring);
		ssize_t n = read(l->in, record ? (void *)(record + 1) : lost, PACKET_MAX);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return 0;
		if (n < 0)
			return frem_fail(&l->err, FREM_FAILED, errno, "reading from the device");
		if (record && (size_t)n > sizeof(struct virtio_net_hdr))
			enqueue(l, record, (size_t)n);
	}
	return 0;
}

/* Sleeps until a packet comes in or the oldest one is due. */
static void wait_for_work(struct lane *l)
{
	struct pollfd in = {.fd = l->in, .events = POLLIN};
	struct record *record = ring_oldest(&l->ring);
	struct timespec left;
	uint64_t now, until;

	if (!record) {
		poll(&in, 1, -1);
		return;
	}
	now = clock_ns();
	if (record->due <= now + l->lateness)
		return;
	until = record->due - l->lateness;
	left = (struct timespec){.tv_sec = (time_t)((until - now) / NSEC_PER_SEC),
				 .tv_nsec = (long)((until - now) % NSEC_PER_SEC)};
	if (ppoll(&in, 1, &left, NULL) == 0) {
		uint64_t late = clock_ns() - until;

		/* one long preemption must not make packets early */
		if (late < l->delay_ns / 2)
			l->lateness += (uint64_t)(((int64_t)late - (int64_t)l->lateness) / 16);
	}
}

static void *lane_run(void *arg)
{
	struct lane *l = arg;

	prctl(PR_SET_TIMERSLACK, 1UL);
	while (deliver_due(l) == 0 && take_in(l) == 0)
		wait_for_work(l);
	kill(getpid(), SIGTERM);
	return NULL;
}

/* ---- the devices ---- */

static int device_ioctl(int fd, unsigned long request, struct ifreq *ifr, const char *what,
			struct frem_error *err)
{
	if (ioctl(fd, request, ifr) < 0)
		return frem_fail(err, FREM_FAILED, errno, "%s of '%s'", what, ifr->ifr_name);
	return 0;
}

static void set_address(struct ifreq *ifr, struct in_addr ip)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr = ip};

	memcpy(&ifr->ifr_addr, &sin, sizeof(sin));
}

static int interface_up(int s, const char *name, struct frem_error *err)
{
	struct ifreq ifr = {0};
	int r;

	memcpy(ifr.ifr_name, name, strnlen(name, IFNAMSIZ - 1));
	r = device_ioctl(s, SIOCGIFFLAGS, &ifr, "flags", err);
	if (r < 0)
		return r;
	ifr.ifr_flags |= IFF_UP;
	return device_ioctl(s, SIOCSIFFLAGS, &ifr, "flags", err);
}

/* Address, peer, MTU and queue of the device, then up with it and the loopback. */
static int device_configure(const char *name, struct in_addr ip, struct in_addr peer,
			    struct frem_error *err)
{
	_cleanup_close_ int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = {0};
	int r;

	if (s < 0)
		return frem_fail(err, FREM_FAILED, errno, "opening a socket");
	memcpy(ifr.ifr_name, name, strnlen(name, IFNAMSIZ - 1));
	set_address(&ifr, ip);
	r = device_ioctl(s, SIOCSIFADDR, &ifr, "address", err);
	if (r < 0)
		return r;
	set_address(&ifr, peer);
	r = device_ioctl(s, SIOCSIFDSTADDR, &ifr, "peer address", err);
	if (r < 0)
		return r;
	ifr.ifr_mtu = LINK_MTU;
	r = device_ioctl(s, SIOCSIFMTU, &ifr, "MTU", err);
	if (r < 0)
		return r;
	ifr.ifr_qlen = DEVICE_QUEUE;
	r = device_ioctl(s, SIOCSIFTXQLEN, &ifr, "queue length", err);
	if (r < 0)
		return r;
	r = interface_up(s, name, err);
	return r < 0 ? r : interface_up(s, "lo", err);
}

/* Makes the device in the calling thread's namespace. */
static int device_open(struct in_addr ip, struct in_addr peer, int *ret_fd, struct frem_error *err)
{
	struct ifreq ifr = {.ifr_name = "link%d", .ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR};
	_cleanup_close_ int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	int r;

	if (fd < 0)
		return frem_fail(err, FREM_UNABLE, errno, "opening '/dev/net/tun'");
	r = device_ioctl(fd, TUNSETIFF, &ifr, "creation", err);
	if (r < 0)
		return r;
	if (ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6) < 0)
		return frem_fail(err, FREM_UNABLE, errno, "segmentation offload of '%s'",
				 ifr.ifr_name);
	r = device_configure(ifr.ifr_name, ip, peer, err);
	if (r < 0)
		return r;
	*ret_fd = take_fd(&fd);
	return 0;
}

/* Makes the device in the named namespace; the caller is back in its own afterwards. */
static int device_in(const char *ns, struct in_addr ip, struct in_addr peer, int *ret_fd,
		     struct frem_error *err)
{
	_cleanup_close_ int own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int other = -1;
	char path[4096];
	int n, r;

	if (own < 0)
		return frem_fail(err, FREM_FAILED, errno, "opening the own namespace");
	n = snprintf(path, sizeof(path), "/run/netns/%s", ns);
	if (n < 0 || (size_t)n >= sizeof(path))
		return frem_fail(err, FREM_USAGE, ENAMETOOLONG, "namespace");
	other = open(path, O_RDONLY | O_CLOEXEC);
	if (other < 0 || setns(other, CLONE_NEWNET) < 0)
		return frem_fail(err, FREM_FAILED, errno, "entering namespace '%s'", ns);
	r = device_open(ip, peer, ret_fd, err);
	if (setns(own, CLONE_NEWNET) < 0)
		return frem_fail(err, FREM_FAILED, errno, "leaving namespace '%s'", ns);
	return frem_context(err, r, "namespace '%s'", ns);
}

/* ---- the link ---- */

static int lane_init(struct lane *l, const struct link_options *o, int in, int out,
		     struct frem_error *err)
{
	double bytes_per_ms = o->rate * 1e3;

	*l = (struct lane){.in = in, .out = out};
	l->ns_per_byte = 1e3 / o->rate;
	l->delay_ns = (uint64_t)(o->rtt_ms / 2 * 1e6);
	l->queue_ns = (uint64_t)(o->queue_ms * 1e6);
	return ring_init(&l->ring, (uint64_t)((o->rtt_ms / 2 + o->queue_ms) * bytes_per_ms), err);
}

static int link_start(const struct link_options *o, struct lane lanes[2], struct frem_error *err)
{
	int fds[2] = {-1, -1}, r = 0;

	for (int i = 0; i < 2 && r == 0; i++)
		r = device_in(o->ns[i], o->ip[i], o->ip[!i], &fds[i], err);
	for (int i = 0; i < 2 && r == 0; i++)
		r = lane_init(&lanes[i], o, fds[i], fds[!i], err);
	for (int i = 0; i < 2 && r == 0; i++) {
		pthread_t thread;

		r = -pthread_create(&thread, NULL, lane_run, &lanes[i]);
		if (r < 0)
			return frem_fail(err, FREM_FAILED, -r, "starting a thread");
	}
	return r;
}

/* Keeps the link up until a signal comes; the process's end releases everything. */
static int link_run(const struct link_options *o, struct frem_error *err)
{
	static struct lane lanes[2];
	sigset_t ends;
	int r, sig;

	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	sigprocmask(SIG_BLOCK, &ends, NULL);
	if (o->with_parent)
		prctl(PR_SET_PDEATHSIG, SIGTERM);
	r = link_start(o, lanes, err);
	if (r < 0)
		return r;
	puts("ready");
	fflush(stdout);
	sigwait(&ends, &sig);
	for (int i = 0; i < 2; i++)
		if (lanes[i].err.code != FREM_OK) {
			*err = lanes[i].err;
			return -EIO;
		}
	return 0;
}

static int parse_number(const char *text, const char *what, double least, double *ret,
			struct frem_error *err)
{
	char *end;
	double v;

	errno = 0;
	v = strtod(text, &end);
	if (errno || end == text || *end || !(v >= least) || v > 1e6)
		return frem_fail(err, FREM_USAGE, 0, "%s '%s' is not a number from %g to 1e6", what,
				 text, least);
	*ret = v;
	return 0;
}

static int parse_arguments(int argc, char **argv, struct link_options *o, struct frem_error *err)
{
	int r;

	for (int i = 0; i < 2; i++) {
		o->ns[i] = argv[2 * i];
		if (inet_pton(AF_INET, argv[2 * i + 1], &o->ip[i]) != 1)
			return frem_fail(err, FREM_USAGE, 0, "'%s' is no IPv4 address",
					 argv[2 * i + 1]);
	}
	r = parse_number(argv[4], "round-trip time", 0, &o->rtt_ms, err);
	if (r < 0)
		return r;
	r = parse_number(argv[5], "rate", 0.001, &o->rate, err);
	if (r < 0)
		return r;
	o->queue_ms = o->rtt_ms > 100 ? o->rtt_ms : 100;
	return argc > 6 ? parse_number(argv[6], "queue", 0, &o->queue_ms, err) : 0;
}

int main(int argc, char **argv)
{
	struct link_options o = {0};
	struct frem_error err = {0};
	int r;

	if (argc > 1 && !strcmp(argv[1], "-p")) {
		o.with_parent = true;
		argc--;
		argv++;
	}
	if (argc < 7 || argc > 8) {
		fputs(USAGE, stderr);
		return FREM_USAGE;
	}
	r = parse_arguments(argc - 1, argv + 1, &o, &err);
	if (r == 0)
		r = link_run(&o, &err);
	if (r < 0)
		fprintf(stderr, "linkem: %s\n", err.text);
	return r < 0 ? (int)err.code : 0;
}

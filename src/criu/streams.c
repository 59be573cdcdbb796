/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "streams.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "image_file.h"
#include "images.pb-c.h"
#include "moved.h"
#include "terminals.h"

/* Types of files and terminals, and a flag of a unix socket, in CRIU's images (fdinfo.proto,
 * tty.proto, criu/sk-unix.c). */
#define FILE_REG 1u
#define FILE_PIPE 2u
#define FILE_UNIX 5u
#define FILE_EPOLL 7u
#define FILE_TTY 11u
#define TTY_PTY 1u
#define TTY_EXTERNAL 5u
#define UNIX_EXTERN 1u

#define STD_NONE 255
#define UNTOUCHED (-1)

/* One entry of files.img. */
struct file {
	ImageFile *entry;
	const ImageTtyInfo *tty; /* of a terminal */
	uint64_t object;	 /* what it is open on: entries with the same value share it */
	bool outside;		 /* that has no other end in the tree */
	uint8_t std;		 /* lowest of the numbers 0 to 2 that it is open under */
	int8_t stream;		 /* that it already stands for, or UNTOUCHED */
	bool moved;		 /* a regular file; mappings may refer to it as well */
	bool gone;		 /* nothing refers to it any more */
};

/* One descriptor that goes to a stream now: epoll sets refer to it by number. */
struct change {
	uint32_t table; /* of its fdinfo image */
	uint32_t fd;
	int stream;
};

struct rewrite {
	int dirfd;
	struct streams *streams;
	struct moved moved;
	int terminal; /* the stream that is a terminal of the caller, or STREAM_NULL */
	bool pollable[STREAMS];
	struct file *files; /* by id */
	size_t n_files;
	ImageTtyInfo **ttys;
	size_t n_ttys;
	struct change *changes;
	size_t n_changes;
	uint32_t first_id; /* of the entries of regular files that stand for the streams */
	bool used[STREAMS];
	bool nonblocking[STREAMS]; /* the job had set them so, and would wait for ever now */
};

const char *streams_key(int i)
{
	static const char *const keys[STREAMS] = {"frem stream 0", "frem stream 1", "frem stream 2",
						  "frem stream null"};

	return keys[i];
}

static void *more_room(void *array, size_t n, size_t size)
{
	/* doubles at each power of two */
	if (n & (n - 1) || (n == 0 && array))
		return array;
	return reallocarray(array, n ? n * 2 : 1, size);
}

static int read_ttys(struct rewrite *w, struct frem_error *err)
{
	_cleanup_image_file_ struct image_file f = {0};
	const uint8_t *data;
	size_t n;
	int r;

	if (faccessat(w->dirfd, "tty-info.img", F_OK, 0) < 0)
		return 0;
	r = image_file_read(w->dirfd, "tty-info.img", IMAGE_MAGIC_TTY_INFO, &f, err);
	while (r == 0) {
		ImageTtyInfo **more = more_room(w->ttys, w->n_ttys, sizeof(void *));

		if (!more)
			return frem_oom(err);
		w->ttys = more;
		r = image_file_next(&f, &data, &n, err);
		if (r <= 0)
			break;
		w->ttys[w->n_ttys] = image_tty_info__unpack(NULL, n, data);
		if (!w->ttys[w->n_ttys])
			return image_file_damaged(&f, err, "an unreadable entry");
		w->n_ttys++;
		r = 0;
	}
	return r;
}

static const ImageTtyInfo *tty_of(const struct rewrite *w, uint32_t id)
{
	for (size_t i = 0; i < w->n_ttys; i++)
		if (w->ttys[i]->id == id)
			return w->ttys[i];
	return NULL;
}

/* Does the image hold the master of this slave? */
static bool has_master(const struct rewrite *w, const ImageTtyInfo *slave)
{
	for (size_t i = 0; i < w->n_ttys; i++)
		if (terminal_is_master(w->ttys[i]->rdev) && w->ttys[i]->pty && slave->pty &&
		    w->ttys[i]->pty->index == slave->pty->index)
			return true;
	return false;
}

static void describe_tty(const struct rewrite *w, struct file *f)
{
	const ImageTtyInfo *tty = f->entry->tty ? tty_of(w, f->entry->tty->tty_info_id) : NULL;

	if (!tty)
		return;
	f->tty = tty;
	f->object = (uint64_t)FILE_TTY << 56 | (uint64_t)(tty->dev & 0xffffff) << 32 | tty->rdev;
	f->outside = tty->type == TTY_EXTERNAL ||
		     (tty->type == TTY_PTY && terminal_is_slave(tty->rdev) && !has_master(w, tty));
}

/* Was this made a stream by an earlier restore of the same directory? */
static int8_t stream_of(const ImageFile *e)
{
	const char *name = e->type == FILE_REG && e->reg && e->reg->name ? e->reg->name : "";

	for (int8_t i = 0; i < STREAMS; i++)
		if (name[0] == '/' && !strcmp(name + 1, streams_key(i)))
			return i;
	return UNTOUCHED;
}

/* A regular file that is to be a stream. */
static void describe_moved(const struct rewrite *w, struct file *f)
{
	const ImageRegFile *reg = f->entry->type == FILE_REG ? f->entry->reg : NULL;
	int number = reg && reg->name ? moved_find(&w->moved, reg->name) : -1;

	if (number < 0)
		return;
	f->object = (uint64_t)FILE_REG << 56 | (uint64_t)number;
	f->moved = f->outside = true;
}

static void describe(const struct rewrite *w, struct file *f)
{
	f->stream = stream_of(f->entry);
	f->outside = f->stream != UNTOUCHED;
	describe_moved(w, f);
	if (f->entry->type == FILE_TTY)
		describe_tty(w, f);
	else if (f->entry->type == FILE_PIPE && f->entry->pipe)
		f->object = (uint64_t)FILE_PIPE << 56 | f->entry->pipe->pipe_id;
	else if (f->entry->type == FILE_UNIX && f->entry->usk)
		f->object = (uint64_t)FILE_UNIX << 56 | f->entry->usk->ino;
}

static int read_files(struct rewrite *w, struct frem_error *err)
{
	_cleanup_image_file_ struct image_file f = {0};
	const uint8_t *data;
	size_t n;
	int r = image_file_read(w->dirfd, "files.img", IMAGE_MAGIC_FILES, &f, err);

	while (r == 0) {
		struct file *more = more_room(w->files, w->n_files, sizeof(*more)), *new;

		if (!more)
			return frem_oom(err);
		w->files = more;
		r = image_file_next(&f, &data, &n, err);
		if (r <= 0)
			break;
		r = 0;
		new = &w->files[w->n_files];
		*new = (struct file){
			.std = STD_NONE,
			.stream = UNTOUCHED,
			.entry = image_file__unpack(NULL, n, data),
		};
		if (!new->entry)
			return image_file_damaged(&f, err, "an unreadable entry");
		w->n_files++;
		if (new->entry->id >= UINT32_MAX - STREAMS)
			return image_file_damaged(&f, err, "an impossible file id");
		if (new->entry->id >= w->first_id)
			w->first_id = new->entry->id + 1;
		describe(w, new);
	}
	return r;
}

static int by_object(const void *a, const void *b)
{
	const struct file *x = a, *y = b;

	return x->object < y->object ? -1 : x->object > y->object;
}

static int by_id(const void *a, const void *b)
{
	uint32_t x = ((const struct file *)a)->entry->id, y = ((const struct file *)b)->entry->id;

	return x < y ? -1 : x > y;
}

static bool is_extern(const struct rewrite *w, uint32_t ino)
{
	for (size_t i = 0; i < w->n_files; i++) {
		const ImageUnix *usk = w->files[i].entry->usk;

		if (w->files[i].entry->type == FILE_UNIX && usk && usk->ino == ino)
			return usk->uflags & UNIX_EXTERN;
	}
	return false;
}

/* Of one object's entries (n of them): a pipe is outside if the tree holds only one of its ends. */
static void judge_object(struct rewrite *w, struct file *f, size_t n)
{
	bool reads = false, writes = false;

	if (f->entry->type == FILE_UNIX && f->entry->usk) {
		f->outside = f->entry->usk->peer && !(f->entry->usk->uflags & UNIX_EXTERN) &&
			     is_extern(w, f->entry->usk->peer);
		return;
	}
	if (f->entry->type != FILE_PIPE)
		return;
	for (size_t i = 0; i < n; i++) {
		uint32_t mode = f[i].entry->pipe->flags & O_ACCMODE;

		reads |= mode != O_WRONLY;
		writes |= mode != O_RDONLY;
	}
	for (size_t i = 0; i < n; i++)
		f[i].outside = !(reads && writes);
}

/* Calls visit for each run of entries that share an object. */
static void each_object(struct rewrite *w,
			void (*visit)(struct rewrite *w, struct file *f, size_t n))
{
	size_t n;

	if (w->n_files == 0)
		return;
	qsort(w->files, w->n_files, sizeof(*w->files), by_object);
	for (size_t i = 0; i < w->n_files; i += n) {
		n = 1;
		while (i + n < w->n_files && w->files[i + n].object == w->files[i].object)
			n++;
		if (w->files[i].object)
			visit(w, &w->files[i], n);
	}
	qsort(w->files, w->n_files, sizeof(*w->files), by_id);
}

static struct file *file_of(struct rewrite *w, const ImageFdinfo *fd)
{
	size_t low = 0, high = w->n_files;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (w->files[mid].entry->id < fd->id)
			low = mid + 1;
		else
			high = mid;
	}
	for (; low < w->n_files && w->files[low].entry->id == fd->id; low++)
		if (w->files[low].entry->type == fd->type)
			return &w->files[low];
	return NULL;
}

static int note_number(struct rewrite *w, uint32_t table, ImageFdinfo *fd)
{
	struct file *f = file_of(w, fd);

	(void)table;
	if (f && f->outside && fd->fd <= STDERR_FILENO && fd->fd < f->std)
		f->std = (uint8_t)fd->fd;
	return 0;
}

/* What one entry of an object is used as, all of them are. */
static void share_number(struct rewrite *w, struct file *f, size_t n)
{
	uint8_t lowest = STD_NONE;

	(void)w;
	for (size_t i = 0; i < n; i++)
		if (f[i].std < lowest)
			lowest = f[i].std;
	for (size_t i = 0; i < n; i++)
		f[i].std = lowest;
}

static int choose_stream(const struct rewrite *w, const struct file *f, uint32_t fd)
{
	if (!f || !f->outside)
		return UNTOUCHED;
	if (f->stream != UNTOUCHED)
		return f->stream;
	if (f->std == STD_NONE)
		/* a pipe or socket beside the standard streams: its other end is gone */
		return f->tty ? w->terminal : UNTOUCHED;
	return fd <= STDERR_FILENO ? (int)fd : f->std;
}

/* The job's terminal settings, if what it had as a terminal is one again. */
static void keep_settings(struct streams *s, const struct file *f, int stream)
{
	const ImageTermios *e = f->tty ? f->tty->termios : NULL;
	struct termios *t = &s->terminal;

	/* c_cc is written as bytes, four of them a number */
	if (s->has_terminal || !e || e->n_c_cc * sizeof(*e->c_cc) < sizeof(t->c_cc) ||
	    !isatty(s->fds[stream]) || tcgetattr(s->fds[stream], t) < 0)
		return;
	t->c_iflag = e->c_iflag;
	t->c_oflag = e->c_oflag;
	t->c_lflag = e->c_lflag;
	memcpy(t->c_cc, e->c_cc, sizeof(t->c_cc));
	s->has_terminal = true;
}

static uint32_t flags_of(const struct file *f)
{
	const ImageFile *e = f->entry;

	return e->tty ? e->tty->flags : e->pipe ? e->pipe->flags : e->usk ? e->usk->flags : 0;
}

static int redirect(struct rewrite *w, uint32_t table, ImageFdinfo *fd)
{
	struct file *f = file_of(w, fd);
	int stream = choose_stream(w, f, fd->fd);
	struct change *more;

	if (stream == UNTOUCHED)
		return 0;
	more = more_room(w->changes, w->n_changes, sizeof(*more));
	if (!more)
		return -ENOMEM;
	w->changes = more;
	w->changes[w->n_changes++] = (struct change){
		.table = table,
		.fd = fd->fd,
		.stream = stream,
	};
	keep_settings(w->streams, f, stream);
	w->nonblocking[stream] |= (flags_of(f) & O_NONBLOCK) != 0;
	f->gone = !f->moved;
	w->used[stream] = true;
	fd->type = FILE_REG;
	fd->id = w->first_id + (uint32_t)stream;
	return 1;
}

/* Passes one table of descriptors through `visit`; rewritten if that returned 1 for any. */
struct table_pass {
	struct rewrite *w;
	int (*visit)(struct rewrite *w, uint32_t table, ImageFdinfo *fd);
};

static int pass_table(void *arg, const char *name, const char *rest, struct frem_error *err)
{
	_cleanup_image_file_ struct image_file f = {0};
	_cleanup_buffer_ struct buffer out = {0};
	struct table_pass *pass = arg;
	uint32_t table = (uint32_t)strtoul(rest, NULL, 10);
	bool changed = false;
	const uint8_t *data;
	size_t n;
	int r = image_file_read(pass->w->dirfd, name, IMAGE_MAGIC_FDINFO, &f, err);

	if (r == 0 && image_file_start(IMAGE_MAGIC_FDINFO, &out) < 0)
		r = frem_oom(err);
	while (r == 0) {
		_cleanup_free_ uint8_t *packed = NULL;
		ImageFdinfo *fd;

		r = image_file_next(&f, &data, &n, err);
		if (r <= 0)
			break;
		fd = image_fdinfo__unpack(NULL, n, data);
		if (!fd)
			return image_file_damaged(&f, err, "an unreadable entry");
		r = pass->visit(pass->w, table, fd);
		changed |= r > 0;
		n = image_fdinfo__get_packed_size(fd);
		packed = malloc(n);
		if (packed)
			image_fdinfo__pack(fd, packed);
		image_fdinfo__free_unpacked(fd, NULL);
		if (r < 0 || !packed || image_file_add(&out, packed, n) < 0)
			return frem_oom(err);
		r = 0;
	}
	return r < 0 || !changed ? r : image_file_replace(pass->w->dirfd, name, &out, err);
}

static int pass_tables(struct rewrite *w,
		       int (*visit)(struct rewrite *w, uint32_t table, ImageFdinfo *fd),
		       struct frem_error *err)
{
	struct table_pass pass = {.w = w, .visit = visit};

	return image_dir_each(w->dirfd, "fdinfo-", pass_table, &pass, err);
}

/* An epoll set cannot hold a regular file or /dev/null: such a member is taken out of the set, as
 * if it were never ready. */
static int clean_epoll(struct rewrite *w, uint32_t table, ImageFdinfo *fd)
{
	struct file *f = file_of(w, fd);
	ImageEpoll *e = f && f->entry->type == FILE_EPOLL ? f->entry->epfd : NULL;
	size_t kept = 0;
	for (size_t i = 0; e && i < e->n_tfd; i++) {
		bool drop = false;

		for (size_t c = 0; c < w->n_changes; c++)
			drop |= w->changes[c].table == table &&
				w->changes[c].fd == e->tfd[i]->tfd &&
				!w->pollable[w->changes[c].stream];
		if (drop)
			image_epoll_target__free_unpacked(e->tfd[i], NULL);
		else
			e->tfd[kept++] = e->tfd[i];
	}
	if (e)
		e->n_tfd = kept;
	return 0;
}

static int add_file(struct buffer *out, const ImageFile *entry)
{
	size_t n = image_file__get_packed_size(entry);
	_cleanup_free_ uint8_t *packed = malloc(n);

	if (!packed)
		return -ENOMEM;
	image_file__pack(entry, packed);
	return image_file_add(out, packed, n);
}

/* The regular file that stands for a stream; CRIU never opens it, as it has a descriptor for that
 * name. */
static int add_stream(struct buffer *out, uint32_t id, int stream)
{
	ImageFile entry = IMAGE_FILE__INIT;
	ImageRegFile reg = IMAGE_REG_FILE__INIT;
	ImageFown fown = IMAGE_FOWN__INIT;
	char name[64];

	snprintf(name, sizeof(name), "/%s", streams_key(stream));
	fown.has_uid = fown.has_euid = fown.has_signum = fown.has_pid_type = fown.has_pid = 1;
	reg.has_id = reg.has_flags = reg.has_pos = 1;
	reg.id = id;
	reg.flags = O_RDWR;
	reg.fown = &fown;
	reg.name = name;
	entry.has_type = entry.has_id = 1;
	entry.type = FILE_REG;
	entry.id = id;
	entry.reg = &reg;
	return add_file(out, &entry);
}

/* The far end of a socket that has become a stream. */
static bool is_orphan(const struct rewrite *w, const struct file *f)
{
	const ImageUnix *usk = f->entry->usk;

	if (f->entry->type != FILE_UNIX || !usk || !(usk->uflags & UNIX_EXTERN))
		return false;
	for (size_t i = 0; i < w->n_files; i++) {
		const ImageUnix *near = w->files[i].entry->usk;

		if (near && near->peer == usk->ino && !w->files[i].gone)
			return false;
	}
	return true;
}

static int write_files(struct rewrite *w, struct frem_error *err)
{
	_cleanup_buffer_ struct buffer out = {0};
	int r = image_file_start(IMAGE_MAGIC_FILES, &out);

	for (size_t i = 0; r == 0 && i < w->n_files; i++)
		if (!w->files[i].gone && !is_orphan(w, &w->files[i]))
			r = add_file(&out, w->files[i].entry);
	for (int i = 0; r == 0 && i < STREAMS; i++)
		if (w->used[i])
			r = add_stream(&out, w->first_id + (uint32_t)i, i);
	return r < 0 ? frem_oom(err) : image_file_replace(w->dirfd, "files.img", &out, err);
}

static bool tty_is_used(const struct rewrite *w, const ImageTtyInfo *tty)
{
	for (size_t i = 0; i < w->n_files; i++)
		if (w->files[i].tty == tty && !w->files[i].gone)
			return true;
	return false;
}

static int write_ttys(struct rewrite *w, struct frem_error *err)
{
	_cleanup_buffer_ struct buffer out = {0};
	int r = image_file_start(IMAGE_MAGIC_TTY_INFO, &out);

	if (w->n_ttys == 0)
		return 0;
	for (size_t i = 0; r == 0 && i < w->n_ttys; i++) {
		size_t n = image_tty_info__get_packed_size(w->ttys[i]);
		_cleanup_free_ uint8_t *packed = malloc(n);

		if (!tty_is_used(w, w->ttys[i]))
			continue;
		if (!packed)
			return frem_oom(err);
		image_tty_info__pack(w->ttys[i], packed);
		r = image_file_add(&out, packed, n);
	}
	return r < 0 ? frem_oom(err) : image_file_replace(w->dirfd, "tty-info.img", &out, err);
}

static void rewrite_done(struct rewrite *w)
{
	for (size_t i = 0; i < w->n_files; i++)
		image_file__free_unpacked(w->files[i].entry, NULL);
	for (size_t i = 0; i < w->n_ttys; i++)
		image_tty_info__free_unpacked(w->ttys[i], NULL);
	free(w->files);
	free(w->ttys);
	free(w->changes);
	moved_done(&w->moved);
}

static int rewrite(struct rewrite *w, struct frem_error *err)
{
	int r = read_ttys(w, err);

	if (r == 0)
		r = read_files(w, err);
	if (r < 0)
		return r;
	each_object(w, judge_object);
	r = pass_tables(w, note_number, err);
	if (r < 0)
		return r;
	each_object(w, share_number);
	r = pass_tables(w, redirect, err);
	if (r < 0 || w->n_changes == 0)
		return r;
	r = pass_tables(w, clean_epoll, err);
	if (r == 0)
		r = write_files(w, err);
	return r < 0 ? r : write_ttys(w, err);
}

static bool can_poll(int fd)
{
	_cleanup_close_ int set = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event event = {.events = EPOLLIN};

	return set >= 0 && (epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) == 0 || errno != EPERM);
}

static int open_streams(struct streams *s, struct frem_error *err)
{
	for (int i = 0; i < STREAMS; i++) {
		s->fds[i] = i;
		if (i != STREAM_NULL && fcntl(i, F_GETFD) >= 0)
			continue;
		s->fds[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
		if (s->fds[i] < 0)
			return frem_fail(err, FREM_FAILED, errno, "opening /dev/null");
		s->opened[i] = true;
	}
	return 0;
}

/* Opened again where it can be, so that the caller's own descriptor does not change with it. */
static void make_nonblocking(struct streams *s, int i)
{
	int flags = fcntl(s->fds[i], F_GETFL), again = -1;
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", s->fds[i]);
	if (flags < 0 || flags & O_NONBLOCK || fstat(s->fds[i], &st) < 0)
		return;
	if (S_ISCHR(st.st_mode) || S_ISFIFO(st.st_mode))
		again = open(path, (flags & O_ACCMODE) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (again < 0) {
		fcntl(s->fds[i], F_SETFL, flags | O_NONBLOCK);
		return;
	}
	if (s->opened[i])
		close(s->fds[i]);
	s->fds[i] = again;
	s->opened[i] = true;
}

int streams_connect(int dirfd, struct streams *ret, struct frem_error *err)
{
	struct rewrite w = {.dirfd = dirfd, .streams = ret, .terminal = STREAM_NULL};
	int r;

	*ret = (struct streams){0};
	r = open_streams(ret, err);
	for (int i = STREAMS - 1; r == 0 && i >= 0; i--) {
		w.pollable[i] = can_poll(ret->fds[i]);
		if (isatty(ret->fds[i]))
			w.terminal = i;
	}
	if (r == 0)
		r = moved_read(dirfd, &w.moved, err);
	if (r == 0)
		r = rewrite(&w, err);
	for (int i = 0; r == 0 && i < STREAMS; i++)
		if (w.nonblocking[i])
			make_nonblocking(ret, i);
	rewrite_done(&w);
	return r;
}

void streams_set_terminal(const struct streams *s)
{
	for (int i = 0; s->has_terminal && i < STREAM_NULL; i++)
		/* from the background, this would only stop us */
		if (isatty(s->fds[i]) && tcgetpgrp(s->fds[i]) == getpgrp()) {
			tcsetattr(s->fds[i], TCSANOW, &s->terminal);
			return;
		}
}

void streams_done(struct streams *s)
{
	for (int i = 0; i < STREAMS; i++)
		if (s->opened[i])
			close(s->fds[i]);
	*s = (struct streams){0};
}

# SPDX-License-Identifier: GPL-2.0-or-later
"""The ways in which one image is restarted over a link: the classic restart, CRIU's own lazy pages, the
paper's FREM, and frem as it is by default.

Each restart is watched from outside by the user processor time of the restarted tree, and runs to the
program's end. Times are seconds since the start of the restart's command.
"""

import contextlib
import dataclasses
import json
import os
import resource
import signal
import subprocess
import time

import lab
from job import END_SECONDS, Curve, Marker, time_of
from watch import state_of

CRIU_PORT = 7071
PIPE_BYTES = 16 << 20  # what CRIU's page server asks of the kernel for one pipe
PIPE_LIMIT = "/proc/sys/fs/pipe-max-size"


@dataclasses.dataclass(frozen=True)
class Contender:
    """A row of the list: `mode` is frem's --resume, or "criu"."""

    name: str
    mode: str
    encoding: str
    what: str


CONTENDERS = tuple(
    Contender(f"{name}-{encoding}", mode, encoding, what)
    for name, mode, encodings, what in (
        ("full", "full", ("raw", "zstd"), "everything is fetched, then restored (the role of BLCR)"),
        ("criu", "criu", ("raw",), "CRIU's lazy pages and page server"),
        ("touch-set", "touch-set", ("raw", "zstd"), "frem, the touch set first (the paper's FREM)"),
        ("now", "now", ("raw", "zstd"), "frem, resumed at once (its default)"),
    )
    for encoding in encodings
)


@dataclasses.dataclass
class Restarted:
    """What came of a restart; None where it is not known."""

    resumed: float = None
    work: float = None  # user processor time from then to its end
    completed: float = None
    gave_up: float = None  # it was ended then, at its limit
    drained: float = None
    received: int = None  # bytes that came over the link
    stats: dict = dataclasses.field(default_factory=dict)
    samples: list = dataclasses.field(default_factory=list)  # (time, work) since it was resumed
    steps: list = dataclasses.field(default_factory=list)  # (time, progress) since then
    arrivals: list = dataclasses.field(default_factory=list)  # (time, bytes)

    def follow(self, curve):
        """What a tree has done since it was resumed."""
        self.samples = curve.since(self.resumed)
        self.work = self.samples[-1][1] if self.samples else None
        self.steps = curve.progress_since(self.resumed)

    def responsive(self, work):
        """When the work was done, from the start of the command."""
        return self._reached(self.samples, work)

    def progressed(self, steps):
        """When its own marker had come so far."""
        return self._reached(self.steps, steps)

    def _reached(self, samples, value):
        """At the latest at its end: all of the work is done then, whatever time it took."""
        after = time_of(samples, value)
        return self.completed if after is None else self.resumed + after


class Arrivals:
    """What has come in over a link, read now and then by a process on it."""

    def __init__(self, pid, begin, first):
        self.pid, self.begin, self.next, self.first = pid, begin, begin, first
        self.seen = []

    def look(self):
        now = time.monotonic()
        if now >= self.next:
            self.next = now + 0.1
            with contextlib.suppress(OSError):
                more = lab.received_bytes(self.pid) - self.first
                if more >= 0:  # or it has not yet entered the namespace
                    self.seen.append((now - self.begin, more))


def start(namespace, command, log, **more):
    """A process of the restart, whose output goes into a file."""
    with open(log, "wb") as f:
        return subprocess.Popen(
            lab.within(namespace, command),
            stdin=subprocess.DEVNULL,
            stdout=f,
            stderr=f,
            start_new_session=True,
            preexec_fn=raise_files,
            **more,
        )


def raise_files():
    """For preexec_fn: CRIU's page server takes two descriptors for each MB."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    lab.die_with_parent()


@contextlib.contextmanager
def large_pipes():
    """CRIU's page server wants pipes of 16 MB, and there may be no right to make them: the limit is
    raised for as long as it runs."""
    with open(PIPE_LIMIT, encoding="ascii") as f:
        before = int(f.read())
    if before < PIPE_BYTES:
        set_pipe_limit(PIPE_BYTES)
    try:
        yield
    finally:
        if before < PIPE_BYTES:
            set_pipe_limit(before)


def set_pipe_limit(limit):
    try:
        with open(PIPE_LIMIT, "w", encoding="ascii") as f:
            f.write(str(limit))
    except OSError as e:
        raise lab.LabError(f"CRIU's page server needs {PIPE_LIMIT} to be {limit}: {e}") from e


def tail(log, most=400):
    with open(log, encoding="utf-8", errors="replace") as f:
        lines = [line for line in f.read().splitlines() if line.strip()]
    errors = [line for line in lines if "Error" in line or line.startswith("frem: ")]
    return " | ".join((errors or lines)[-3:])[-most:]


class Restart:
    """One restart of one image over one link. work: a directory for its own files; limit: seconds
    after which it is ended, and what it has done until then counts; None: a failure if it is not at
    its end in END_SECONDS."""

    def __init__(self, image, link, contender, work, limit=None):
        self.image, self.link, self.contender, self.work = image, link, contender, work
        self.limit = limit
        self.result = Restarted()
        self.helpers = []
        self.before = 0  # bytes that had come over the link

    def path(self, *names):
        return os.path.join(self.work, *names)

    def run(self):
        """Restarts, waits for the program's end, and leaves nothing behind."""
        self.image.frozen.put_back()
        os.makedirs(self.work)
        try:
            with self.link.served(self.image.store(self.contender.encoding)) as url:
                self.before = self.link.received()
                if self.contender.mode == "criu":
                    with large_pipes():
                        self._run_criu(url)
                else:
                    self._run_frem(url)
        finally:
            self._end()
        return self.result

    def _end(self):
        self.image.end()
        for helper in self.helpers:
            if helper.poll() is None:
                lab.kill_tree(helper.pid)
                helper.returncode = -signal.SIGKILL  # it was reaped there
        lab.reap_orphans()

    def _watch(self, process, log, began, resumed=None):
        """Until the process has ended, which does so with the program."""
        arrivals = Arrivals(process.pid, began, self.before)
        marker = Marker(self.image.program, self.image.directory, self.image.pid)
        with Curve(self.image.pid, began, marker) as curve:
            while process.poll() is None:
                now = time.monotonic() - began
                arrivals.look()
                if resumed and self.result.resumed is None:
                    self.result.resumed = resumed(now)
                if now > (self.limit or END_SECONDS):
                    break
                time.sleep(min(0.005 + now / 2000, 0.1))
            took = time.monotonic() - began
        self.result.arrivals = arrivals.seen
        self.result.received = arrivals.seen[-1][1] if arrivals.seen else None
        self._took(took, process, log)
        return curve

    def _took(self, took, process, log):
        if process.returncode is None:
            if not self.limit:
                raise lab.LabError(f"not at its end after {END_SECONDS} s: {tail(log)}")
            self.result.gave_up = self.limit
            return
        self.result.completed = took
        if process.returncode:
            said = [tail(log), tail(os.path.join(self.image.directory, "err"))]
            raise lab.LabError(f"{process.returncode}: {' | '.join(filter(None, said))}")

    # -- frem --

    def _run_frem(self, url):
        stats, log = self.path("stats.json"), self.path("frem.log")
        command = [lab.FREM, "--store", url, "restart", self.image.name, "--record", "off"]
        command += ["--resume", self.contender.mode, "--stats", stats]
        began = time.monotonic()
        process = start(self.link.namespace, command, log)
        self.helpers.append(process)
        curve = self._watch(process, log, began)
        with contextlib.suppress(FileNotFoundError), open(stats, encoding="utf-8") as f:
            self.result.stats = json.load(f)
        if not self.result.stats:
            raise lab.LabError(f"no statistics: {tail(log)}")
        self.result.resumed = self.result.stats["resumed_ms"] / 1e3
        drained = self.result.stats.get("drained_ms")
        self.result.drained = drained / 1e3 if drained else None
        self.result.follow(curve)

    # -- CRIU --

    def _criu(self, name, namespace, *arguments):
        log = self.path(f"{name}.out")
        options = ["-D", self.image.images, "-o", f"{name}.log", "-v3", "--manage-cgroups=ignore"]
        command = [os.environ["FREM_CRIU"], name, "-W", self.work, *options, *arguments]
        process = start(namespace, command, log)
        self.helpers.append(process)
        return process

    def _criu_said(self, name):
        said = [tail(self.path(f)) for f in (f"{name}.log", f"{name}.out") if os.path.exists(self.path(f))]
        return " | ".join(filter(None, said))

    def _run_criu(self, url):
        """The page server has read the image before the clock starts. What is not lazy would have to
        be copied before the restore: that is a fetch of frem's head, which holds just this."""
        address = ("--address", self.link.hosts.ip_a, "--port", str(CRIU_PORT))
        server = self._criu("page-server", self.link.hosts.a, "--lazy-pages", *address)
        self.link.wait_for_port(CRIU_PORT, server, lambda: self._criu_said("page-server"))
        began = time.monotonic()
        head = f"{url}/{self.image.name.replace('@', '/')}/head"
        fetch = start(self.link.namespace, ["curl", "-sfo", self.path("head"), head], self.path("curl"))
        self.helpers.append(fetch)
        if fetch.wait(END_SECONDS):
            raise lab.LabError("the head cannot be fetched")
        daemon = self._criu("lazy-pages", self.link.namespace, "--page-server", *address)
        socket = self.path("lazy-pages.socket")

        def listening():
            if daemon.poll() is not None:
                raise lab.LabError(f"criu lazy-pages: {self._criu_said('lazy-pages')}")
            return os.path.exists(socket)

        lab.wait_until("criu lazy-pages", listening)
        options = ("--shell-job", "--file-locks", "--ext-unix-sk", "--tcp-close")
        restore = self._criu("restore", self.link.namespace, "--lazy-pages", *options)
        try:
            curve = self._watch(restore, self.path("restore.log"), began, self._is_resumed)
        except lab.LabError as e:
            said = [f"criu {n}: {self._criu_said(n)}" for n in ("lazy-pages", "page-server")]
            raise lab.LabError(" | ".join((str(e), *said))) from e
        if self.result.resumed is None:
            raise lab.LabError(f"criu restore: {self._criu_said('restore')}")
        self.result.follow(curve)

    def _is_resumed(self, now):
        state = state_of(self.image.pid)
        with contextlib.suppress(FileNotFoundError), open(
            self.path("restore.log"), encoding="utf-8", errors="replace"
        ) as f:
            if state and not state[1] and "Restore finished successfully" in f.read():
                return now
        return None

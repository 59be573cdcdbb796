# SPDX-License-Identifier: GPL-2.0-or-later
"""Two hosts on one machine, for the demo and for the system tests.

Two network namespaces joined by linkem stand for two hosts on a network with a given round-trip
time and rate. On them run `frem serve` and redis-server with a content that can be verified.
"""

import contextlib
import ctypes
import hashlib
import json
import os
import random
import re
import select
import signal
import subprocess
import time

import redis

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.abspath(os.environ.get("FREM_BUILD") or os.path.join(ROOT, "build"))
FREM = os.path.join(BUILD, "frem")
LINKEM = os.path.join(BUILD, "bench", "linkem")

SLOW = (200, 7)  # the paper's links: round trip in ms, MB/s
FAST = (70, 32)

_libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


class LabError(Exception):
    """Something of the lab itself did not work."""


class Interrupted(Exception):
    """Ctrl-C, or another request to end."""


def _end_on_signal(number, _):
    signal.signal(number, signal.SIG_IGN)  # what follows is the cleaning up
    raise Interrupted(signal.Signals(number).name)


def interruptible():
    """From here on a request to end is an exception, so that everything is cleaned up."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end_on_signal)


def wait_until(what, condition, seconds=30.0):
    """Waits for a condition that nothing announces; returns its first true value."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise LabError(f"waited {seconds:g} s in vain: {what}")
        time.sleep(0.005)


# ---- processes ----


def become_subreaper():
    """Orphans of what we start become our children: none can get away unnoticed."""
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with_parent():
    """For preexec_fn: a helper ends when this program is killed."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def processes():
    """{pid: (ppid, state, name)} of all processes."""
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as f:
                stat = f.read()
        except OSError:
            continue
        name = stat[stat.index("(") + 1 : stat.rindex(")")]
        state, ppid = stat[stat.rindex(")") + 2 :].split()[:2]
        found[int(entry)] = (int(ppid), state, name)
    return found


def descendants(root):
    """{pid: (ppid, state, name)} of everything below root, zombies too."""
    all_of_them = processes()
    found, frontier = {}, {root}
    while frontier:
        frontier = {p for p, (ppid, _, _) in all_of_them.items() if ppid in frontier}
        found.update((p, all_of_them[p]) for p in frontier)
    return found


def reap_orphans(only=None):
    """Collects zombies that are ours; only those in `only` where others wait for theirs."""
    for pid, (ppid, state, _) in processes().items():
        if ppid == os.getpid() and state == "Z" and (only is None or pid in only):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def kill_tree(root):
    """kill -9 of a process and all below it; returns when their pids are free."""
    pids = {root, *descendants(root)}
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def gone():
        reap_orphans(pids)
        return not pids & processes().keys()

    wait_until(f"the end of process {root}", gone)


def end_process(process, seconds=10.0):
    """SIGTERM, then SIGKILL, to a subprocess.Popen of ours."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream:
            stream.close()
    return process.returncode


def first_line(process, what, seconds=20.0):
    """The first line that a process prints, which says that it is up."""
    ready, _, _ = select.select([process.stdout], [], [], seconds)
    line = process.stdout.readline() if ready else b""
    if not line:
        error = b""
        process.kill()
        if process.stderr:
            error = process.stderr.read()
        raise LabError(f"{what} did not start: {error.decode(errors='replace').strip()}")
    return line.decode()


def first_json(process, what):
    """The JSON value that a process prints first, over several lines perhaps."""
    text = first_line(process, what)
    while True:
        with contextlib.suppress(json.JSONDecodeError):
            return json.loads(text)
        line = process.stdout.readline().decode()
        if not line:
            raise LabError(f"{what} printed no JSON: {text}")
        text += line


# ---- hosts ----


def _ip(*arguments):
    done = subprocess.run(("ip", *arguments), capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


def namespaces():
    try:
        return set(os.listdir("/run/netns"))
    except FileNotFoundError:
        return set()


def sweep_namespaces():
    """Removes the namespaces that killed runs have left; their names hold the run's pid."""
    for name in namespaces():
        match = re.fullmatch(r"frem-(\d+)-\d+-[ab]", name)
        if match and not os.path.exists(f"/proc/{match[1]}"):
            with contextlib.suppress(LabError):
                _ip("netns", "del", name)


@contextlib.contextmanager
def network_of(namespace):
    """Sockets that this thread opens within are of the namespace (None: our own)."""
    if namespace is None:
        yield
        return
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    other = os.open(f"/run/netns/{namespace}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(other, CLONE_NEWNET):
            raise LabError(f"namespace {namespace}: {os.strerror(ctypes.get_errno())}")
        yield
    finally:
        _libc.setns(own, CLONE_NEWNET)
        os.close(own)
        os.close(other)


def within(namespace, command):
    """The command line that runs a command in a namespace, under the pid it is started as."""
    if namespace is None:
        return list(command)
    return ["nsenter", f"--net=/run/netns/{namespace}", "--", *command]


def received_bytes(pid, device="link0"):
    """What has come in over a device of a process's network, in bytes."""
    with open(f"/proc/{pid}/net/dev", encoding="utf-8") as f:
        return next((int(x.split()[1]) for x in f if x.strip().startswith(f"{device}:")), 0)


class Hosts:
    """Two hosts, `a` (10.77.0.1) and `b` (10.77.0.2), and the link between them."""

    _count = 0
    ip_a, ip_b = "10.77.0.1", "10.77.0.2"

    def __init__(self, rtt_ms, megabytes_per_s):
        sweep_namespaces()
        Hosts._count += 1
        name = f"frem-{os.getpid()}-{Hosts._count}"
        self.a, self.b = f"{name}-a", f"{name}-b"
        self.link = None
        try:
            for ns in (self.a, self.b):
                _ip("netns", "add", ns)
            command = [LINKEM, "-p", self.a, self.ip_a, self.b, self.ip_b]
            self.link = subprocess.Popen(
                [*command, str(rtt_ms), str(megabytes_per_s)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
            first_line(self.link, "linkem")
        except BaseException:
            self.close()
            raise

    def close(self):
        if self.link:
            end_process(self.link)
        for ns in {self.a, self.b} & namespaces():
            _ip("netns", "del", ns)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Served:
    """`frem serve` of a directory, on a free port unless one is given."""

    def __init__(self, root, address="127.0.0.1", namespace=None, port=0):
        os.makedirs(root, exist_ok=True)
        command = [FREM, "--json", "serve", "--root", root, "--listen", f"{address}:{port}"]
        self.root = root
        self.process = subprocess.Popen(
            within(namespace, command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
        try:
            self.url = first_json(self.process, "frem serve")["url"]
        except BaseException:
            self.close()
            raise

    def close(self):
        return end_process(self.process)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


# ---- redis ----

KEYS = 450_000  # about 500 MB in redis
VALUE_BYTES = 1000
HOT = range(KEYS * 3 // 10, KEYS * 4 // 10)  # the tenth that the load uses


def value_of(number):
    """The incompressible value of a key: it is computed again to verify, not kept."""
    return hashlib.shake_128(b"frem %d" % number).digest(VALUE_BYTES)


def key_of(number):
    return b"customer:%07d" % number


class WrongValue(Exception):
    """redis gave back something else than what was put in."""


def check_value(number, value):
    if value != value_of(number):
        raise WrongValue(f"{key_of(number).decode()} holds a wrong value")


def redis_command(directory, port, binary="redis-server"):
    """The command line of a redis-server without persistence of its own."""
    options = {
        "port": port,
        "bind": "127.0.0.1",
        "dir": directory,
        "save": "",
        "appendonly": "no",
        "logfile": os.path.join(directory, "redis.log"),
        "daemonize": "no",
    }
    return [binary] + [x for k, v in options.items() for x in (f"--{k}", str(v))]


def fill_redis(client, keys, progress=None):
    """Fills the server, in the order of the keys."""
    connect(client)
    for start in range(0, keys, 1000):
        pipeline = client.pipeline(transaction=False)
        for i in range(start, min(start + 1000, keys)):
            pipeline.set(key_of(i), value_of(i))
        pipeline.execute()
        if progress:
            progress(start)


class Redis:
    """redis-server in a namespace."""

    def __init__(self, directory, namespace=None, port=6390, binary="redis-server"):
        self.namespace, self.port = namespace, port
        os.makedirs(directory, exist_ok=True)
        self.process = subprocess.Popen(
            within(namespace, redis_command(directory, port, binary)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=directory,
            start_new_session=True,
        )
        self.pid = self.process.pid

    def client(self):
        return redis.Redis(host="127.0.0.1", port=self.port, socket_timeout=120)

    def load(self, keys=KEYS, progress=None):
        with network_of(self.namespace), contextlib.closing(self.client()) as client:
            fill_redis(client, keys, progress)

    def verify(self, numbers):
        """Reads values, many at once, and compares them; returns how many."""
        numbers = list(numbers)
        with network_of(self.namespace), contextlib.closing(self.client()) as client:
            for start in range(0, len(numbers), 500):
                part = numbers[start : start + 500]
                for number, value in zip(part, client.mget([key_of(n) for n in part])):
                    check_value(number, value)
        return len(numbers)

    def kill(self):
        """kill -9; its pid is free afterwards."""
        self.process.kill()
        self.process.wait()


def connect(client, seconds=300.0, still_wanted=lambda: True):
    """Retries until the server answers; a refused connection and one cut off count as not yet."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return client.ping()
        except (redis.ConnectionError, redis.TimeoutError):
            client.connection_pool.disconnect()
            if time.monotonic() > deadline or not still_wanted():
                raise
            time.sleep(0.002)


class Load:
    """A client that reads keys of the hot tenth one by one, always in the same random sequence."""

    def __init__(self, server, hot=HOT):
        self.server, self.hot = server, hot
        self.stop = False
        self.answered = 0

    def run(self, requests=None, per_second=None, still_wanted=lambda: True):
        """Reads and verifies until stopped, or so many requests; returns the monotonic times of
        the first and of the last answer."""
        numbers = random.Random(2008)
        first = last = None
        with network_of(self.server.namespace), contextlib.closing(self.server.client()) as client:
            connect(client, still_wanted=still_wanted)
            started = time.monotonic()
            self.answered = 0
            while not self.stop and (requests is None or self.answered < requests):
                number = numbers.choice(self.hot)
                check_value(number, client.get(key_of(number)))
                last = time.monotonic()
                first = first or last
                self.answered += 1
                if per_second:
                    ahead = self.answered / per_second - (last - started)
                    time.sleep(ahead if ahead > 0.01 else 0)
        return first, last


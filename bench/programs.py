# SPDX-License-Identifier: GPL-2.0-or-later
"""The programs that the benchmarks checkpoint, one row each, and the work that they do.

A row says how to make the program's input, its command line, and its *progress marker*: a number
that grows with the work it has done, from which is known when it is at its checkpoint point, and
whether a restarted program has done the same work as another run of it.

    counter   the program shows it in a mapped file of 8 bytes (the programs in bench/work)
    written   bytes that it has written since it went on: a compiler's output
    requests  that its client got answered
    cpu       user processor time in seconds, where there is nothing better
"""

import contextlib
import dataclasses
import functools
import os
import random
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
import typing

import lab
from watch import cpu_seconds, tree

WORK = os.path.join(lab.ROOT, "bench", "work")
sys.path.insert(0, WORK)
import generate  # noqa: E402


def nothing(_directory):
    """A program that needs no input."""


@dataclasses.dataclass(frozen=True)
class Program:
    """A row of the table; every function gets the directory that the program may use."""

    name: str
    what: str
    packages: tuple  # Debian packages that only this row needs
    command: typing.Callable
    marker: str
    point: float  # the marker's value at which it is checkpointed
    prepare: typing.Callable = nothing
    load: typing.Callable = None  # makes the client that keeps it busy
    quick: bool = True  # part of a quick run


# ---- what the rows need ----


def in_directory(*words):
    """A command line in which DIR stands for the directory."""
    return lambda directory: [w.replace("DIR", directory) for w in words]


def compile_java(directory):
    subprocess.run(
        ["javac", "-d", directory, os.path.join(WORK, "Orders.java")], check=True, stdout=2
    )


def compiler(directory):
    """The compiler proper: the driver would only wait for it."""
    asked = ["gcc", "-print-prog-name=cc1"]
    cc1 = subprocess.run(asked, capture_output=True, check=True, text=True).stdout.strip()
    return [cc1, "-quiet", "-O2", f"{directory}/input.c", "-o", "-"]


def generated(name, generator, *sizes):
    return lambda directory: generator(os.path.join(directory, name), *sizes)


REDIS_KEYS = 200_000
REDIS_RATE = 1500  # requests a second
REDIS_PORT_FILE = "port"


def redis_prepare(directory):
    with socket.create_server(("127.0.0.1", 0)) as s, open(
        os.path.join(directory, REDIS_PORT_FILE), "w", encoding="ascii"
    ) as f:
        f.write(str(s.getsockname()[1]))


def redis_port(directory):
    with open(os.path.join(directory, REDIS_PORT_FILE), encoding="ascii") as f:
        return int(f.read())


def redis_command(directory):
    return lab.redis_command(directory, redis_port(directory))


class RedisLoad:
    """A client that reads keys of the hot tenth one by one, at a fixed rate, and verifies them. The
    sequence is fixed: the n-th request is always the same, so that a restarted server can be asked
    just what the other one was."""

    hot = range(REDIS_KEYS * 3 // 10, REDIS_KEYS * 4 // 10)

    def __init__(self, directory):
        self.port = redis_port(directory)
        self.sequence = random.Random(2008).choices(self.hot, k=REDIS_RATE * 120)
        self.rate = REDIS_RATE  # None: as fast as it goes
        self.answered = 0
        self.error = None
        self.stopping = False
        self.thread = None

    def client(self):
        return lab.redis.Redis(host="127.0.0.1", port=self.port, socket_timeout=120)

    def fill(self):
        with contextlib.closing(self.client()) as client:
            lab.fill_redis(client, REDIS_KEYS)

    def start(self, position=0):
        """From the request with this number on, in the background."""
        self.answered, self.stopping = position, False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            with contextlib.closing(self.client()) as client:
                lab.connect(client, still_wanted=lambda: not self.stopping)
                started = time.monotonic() - self.answered / REDIS_RATE
                while not self.stopping:
                    number = self.sequence[self.answered % len(self.sequence)]
                    lab.check_value(number, client.get(lab.key_of(number)))
                    self.answered += 1
                    if self.rate:
                        ahead = self.answered / self.rate - (time.monotonic() - started)
                        time.sleep(ahead if ahead > 0.005 else 0)
        except (lab.redis.RedisError, lab.WrongValue, OSError) as e:
            self.error = None if self.stopping else e

    def stop(self):
        self.stopping = True
        self.thread.join()
        if self.error:
            raise lab.LabError(f"the client of redis-server: {self.error}")


JAVA = ("java", "-cp", "DIR", "-Xms400m", "-Xmx400m")
PATTERN = os.path.join(lab.BUILD, "bench", "pattern")

PROGRAMS = (
    Program(
        name="pattern",
        what="a C program that touches known pages",
        packages=(),
        command=in_directory(PATTERN, "DIR/counter", "256"),
        marker="counter",
        point=1000,
    ),
    Program(
        name="cpython",
        what="CPython, reports over 240 MB of objects",
        packages=(),
        command=in_directory("/usr/bin/python3", f"{WORK}/orders.py", "DIR/counter", "240"),
        marker="counter",
        point=1000,
    ),
    Program(
        name="redis",
        what=f"redis-server, {REDIS_RATE} requests/s on a tenth of 230 MB",
        packages=(),
        prepare=redis_prepare,
        command=redis_command,
        marker="requests",
        point=1500,
        load=RedisLoad,
    ),
    Program(
        name="jvm",
        what="the JVM, reports over 200 MB of objects, heap of 400 MB",
        packages=("openjdk-17-jdk-headless",),
        prepare=compile_java,
        command=in_directory(*JAVA, "Orders", "DIR/counter", "200"),
        marker="counter",
        point=8000,
    ),
    Program(
        name="cc1",
        what="the C compiler on a file of 3 MB, as it writes its output",
        packages=(),
        prepare=generated("input.c", generate.c_source, 3000),
        command=compiler,
        marker="written",
        point=500_000,
    ),
    Program(
        name="glpsol",
        what="GLPK's simplex, 14,706 rows and 172,240 columns",
        packages=("glpk-utils",),
        prepare=generated("input.lp", generate.linear_program, 60, 200, 40),
        command=in_directory("glpsol", "--lp", "DIR/input.lp"),
        marker="cpu",
        point=6,
    ),
    Program(
        name="pattern-huge",
        what="the C program, its memory in huge pages",
        packages=(),
        command=in_directory(PATTERN, "DIR/counter", "256", "huge"),
        marker="counter",
        point=1000,
        quick=False,
    ),
    Program(
        name="jvm-huge",
        what="the JVM, its heap in huge pages",
        packages=("openjdk-17-jdk-headless",),
        prepare=compile_java,
        command=in_directory(*JAVA, "-XX:+UseTransparentHugePages", "Orders", "DIR/counter", "200"),
        marker="counter",
        point=8000,
        quick=False,
    ),
)


# ---- a row at work ----


class Job:
    """A program of the table, started, and perhaps restarted, in a directory of its own."""

    def __init__(self, program, directory):
        self.program, self.directory = program, directory
        os.makedirs(directory)
        program.prepare(directory)
        self.process = subprocess.Popen(
            program.command(directory),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=directory,
            start_new_session=True,
        )
        self.pid = self.process.pid
        self.load = program.load(directory) if program.load else None
        self._read = getattr(self, f"_read_{program.marker}")

    def wait_for_point(self, seconds=180):
        """Returns when it has come to the point at which it is to be checkpointed."""
        if self.load:
            self.load.fill()
            self.load.start()
        lab.wait_until(
            f"the checkpoint point of {self.program.name}",
            lambda: self.process.poll() is not None or self.progress() >= self.program.point,
            seconds,
        )
        if self.process.returncode is not None:
            raise lab.LabError(f"{self.program.name} ended: {self.process.returncode}")

    # -- the markers --

    def progress(self):
        try:
            return self._read()
        except (OSError, struct.error, StopIteration):
            return 0

    @functools.cached_property
    def relative(self):
        """Whether a restarted program counts from 0 again."""
        return self.program.marker in ("written", "cpu")

    def _read_counter(self):
        with open(os.path.join(self.directory, "counter"), "rb") as f:
            return struct.unpack("<Q", f.read(8))[0]

    def _read_written(self):
        with open(f"/proc/{self.pid}/io", encoding="ascii") as f:
            return int(next(line for line in f if line.startswith("wchar")).split()[1])

    def _read_requests(self):
        return self.load.answered

    def _read_cpu(self):
        return cpu_seconds(tree(self.pid), system=False)

    def forget(self):
        """Before a restart: what the killed one has shown last is not yet true again."""
        if self.program.marker == "counter":
            with open(os.path.join(self.directory, "counter"), "r+b") as f:
                f.write(bytes(8))

    def kill(self):
        """kill -9; all its pids are free afterwards."""
        if self.load and self.load.thread:
            self.load.stopping = True
        lab.kill_tree(self.pid)
        self.process.poll()
        if self.load and self.load.thread:
            self.load.stop()

    def close(self):
        if self.pid in lab.processes():
            self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

# SPDX-License-Identifier: GPL-2.0-or-later
"""A program of the evaluation at work: started, watched, and its files put back to a checkpoint."""

import bisect
import contextlib
import functools
import hashlib
import os
import shutil
import signal
import subprocess
import time

import lab
from watch import Sampler, cpu_seconds, state_of, tree

WORK_SECONDS = (1, 10)  # whose work is waited for after a restart
START_SECONDS = 300
END_SECONDS = 900


def user_seconds(root):
    """User processor time of a process tree, with that of its ended members."""
    return cpu_seconds(tree(root), system=False)


class Marker:
    """How far a program is by what it shows itself, as a number. For one thread: lines are counted
    on from where it was read to."""

    def __init__(self, program, directory, pid):
        self.directory, self.pid = directory, pid
        self.lines, self.at = 0, 0  # of `out`, as far as it has been read
        self._number = getattr(self, f"_{program.marker}")
        self.own = program.marker != "cpu"  # not what is measured of every program

    def read(self):
        """0 where there is nothing to be read."""
        with contextlib.suppress(OSError):
            return self._number()
        return 0

    def _out(self):
        return os.path.join(self.directory, "out")

    def _lines(self):
        with open(self._out(), "rb") as f:
            f.seek(self.at)
            more = f.read()
        self.at += len(more)
        self.lines += more.count(b"\n")
        return self.lines

    def _written(self):
        return os.path.getsize(self._out())

    def _cpu(self):
        return user_seconds(self.pid)

    def _read(self):
        """How far the input has been read, by the position of its descriptor."""
        name = os.path.join(self.directory, "input")
        with contextlib.suppress(OSError, StopIteration):
            for fd in os.listdir(f"/proc/{self.pid}/fd"):
                if os.readlink(f"/proc/{self.pid}/fd/{fd}") == name:
                    with open(f"/proc/{self.pid}/fdinfo/{fd}", encoding="ascii") as f:
                        return int(next(f).split()[1])
        return 0


class Curve(Sampler):
    """The user processor time of a tree over time, and its own progress if it has a marker; zero is
    given."""

    period = 0.01

    def __init__(self, pid, zero=None, marker=None):
        super().__init__()
        self.pid, self.zero = pid, zero or time.monotonic()
        self.marker = marker
        self.times, self.values, self.steps = [], [], []

    def look(self):
        state = state_of(self.pid)
        if state is None or state[0] == "Z" or state[1]:
            return  # not there, or held by CRIU
        value = user_seconds(self.pid)
        if value:
            step = self.marker.read() if self.marker and self.marker.own else 0
            self.times.append(time.monotonic() - self.zero)
            self.values.append(value)
            self.steps.append(step)

    def since(self, begin):
        """The work from a time on, both relative to it: [(seconds, user seconds)]."""
        return self._since(begin, self.values)

    def progress_since(self, begin):
        """The same by the program's own marker; without one, nothing."""
        return self._since(begin, self.steps) if self.marker and self.marker.own else []

    def _since(self, begin, values):
        i = bisect.bisect_left(self.times, begin)
        base = values[min(i, len(values) - 1)] if values else 0
        return [(t - begin, v - base) for t, v in zip(self.times[i:], values[i:])]


def work_by(samples, seconds):
    """User seconds worked by then."""
    done = [v for t, v in samples if t <= seconds]
    return done[-1] if done else 0.0


def time_of(samples, work):
    """When so much was worked, or None."""
    return next((t for t, v in samples if v >= work), None)


class Job:
    """A program started in a directory, which has to be the same one each time."""

    def __init__(self, program, directory):
        self.program, self.directory = program, directory
        shutil.rmtree(directory, ignore_errors=True)
        os.makedirs(directory)
        program.prepare(directory)
        self.inputs = set(os.listdir(directory))
        with open(self.path("out"), "wb") as out, open(self.path("err"), "wb") as err:
            self.process = subprocess.Popen(
                [self._word(w) for w in program.command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=directory,
                env={
                    **{k: v for k, v in os.environ.items() if not k.startswith("FREM_")},
                    **{"LC_ALL": "C", "PERL_HASH_SEED": "0", "PYTHONHASHSEED": "0"},
                    **dict(program.environment),
                },
                start_new_session=True,
            )
        self.pid = self.process.pid
        self.marker = Marker(program, directory, self.pid)

    def path(self, *names):
        return os.path.join(self.directory, *names)

    def _word(self, word):
        return compiler() if word == "CC1" else word.replace("DIR", self.directory)

    def wait_for_point(self):
        def there():
            return self.process.poll() is not None or self.marker.read() >= self.program.point

        lab.wait_until("the checkpoint point", there, START_SECONDS)
        if self.process.returncode is not None:
            raise lab.LabError(f"ended before its point with {self.process.returncode}: {self.said()}")

    def said(self):
        with open(self.path("err"), encoding="utf-8", errors="replace") as f:
            return f.read()[-300:].strip()

    # -- the end --

    def wait_for_end(self):
        lab.wait_until("the program's end", lambda: self.process.poll() is not None, END_SECONDS)
        if self.process.returncode:
            raise lab.LabError(f"ended with {self.process.returncode}: {self.said()}")

    def kill(self):
        """Nothing else is at work meanwhile: what is left of it may have lost its parent."""
        for pid, (parent, _, _) in lab.processes().items():
            if parent == os.getpid() and pid != os.getpid():
                lab.kill_tree(pid)
        if self.process.poll() is None:
            self.process.returncode = -signal.SIGKILL  # it was reaped there

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()


def digest_of(program, directory):
    """Of what the program has written."""
    return hashlib.sha256(program.result(directory)).hexdigest()


@functools.cache
def compiler():
    """The compiler proper: the driver would only wait for it."""
    asked = ["gcc", "-print-prog-name=cc1"]
    return subprocess.run(asked, capture_output=True, check=True, text=True).stdout.strip()


def copy(directory, into):
    """With owners, holes and all."""
    subprocess.run(["cp", "-a", "--reflink=auto", directory, into], check=True)


class Frozen(Sampler):
    """Notes how long the files of a directory are while a tree is held by a dump: what a restart
    goes on with, and copies them, directories too: the program may change or remove them when the
    dump is over. What is large must not change until the copy is made."""

    period = 0.002

    def __init__(self, pid, directory, kept):
        super().__init__()
        self.pid, self.directory, self.kept = pid, directory, kept
        self.sizes = None
        os.makedirs(kept)

    def _held(self):
        """By a tracer; zombies cannot be, but one that is the program itself has just ended."""
        states = [state_of(pid) for pid in tree(self.pid)]
        return all(s and (s[1] or s[0] == "Z") for s in states) and states[0][0] != "Z"

    def look(self):
        """A dump that CRIU refuses may be followed by another: the last one counts."""
        if not self._held():
            return
        found = list(os.scandir(self.directory))
        files = [entry for entry in found if entry.is_file(follow_symlinks=False)]
        sizes = {entry.name: entry.stat().st_size for entry in files}
        if not self._held():
            return
        self.sizes = sizes
        for entry in found:
            if not os.path.lexists(os.path.join(self.kept, entry.name)):
                self._keep(entry)

    def _keep(self, entry):
        if entry.is_file(follow_symlinks=False):
            shutil.copy2(entry.path, os.path.join(self.kept, entry.name))
        elif entry.is_dir(follow_symlinks=False):
            copy(entry.path, self.kept)

    def put_back(self):
        """Files as long as they were, and no others: a restore makes sockets itself."""
        for entry in os.scandir(self.directory):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                os.unlink(entry.path)
        for entry in os.scandir(self.kept):
            if entry.is_dir(follow_symlinks=False):
                copy(entry.path, self.directory)
            elif entry.name in self.sizes:
                path = os.path.join(self.directory, entry.name)
                shutil.copy2(entry.path, path)
                os.truncate(path, min(self.sizes[entry.name], os.path.getsize(path)))

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
import threading
import time

import lab

PERIOD = 0.01
WORK_SECONDS = (1, 10)  # whose work is waited for after a restart
START_SECONDS = 300
END_SECONDS = 900


def tree(root):
    """The pids of a process and all below, cheaply."""
    found = [root]
    for pid in found:
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as f:
                    found += map(int, f.read().split())
    return found


def user_seconds(root):
    """User processor time of a process tree, with that of its ended members."""
    total = 0.0
    for pid in tree(root):
        with contextlib.suppress(OSError, IndexError), open(
            f"/proc/{pid}/stat", encoding="latin-1"
        ) as f:
            fields = f.read().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[13])) / os.sysconf("SC_CLK_TCK")
    return total


def state_of(pid):
    """The state letter of a process and its tracer's pid; None where there is none."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as f:
            lines = dict(line.split(":\t", 1) for line in f if ":\t" in line)
        return lines["State"][0], int(lines["TracerPid"])
    except (OSError, KeyError, ValueError, ProcessLookupError):
        return None


class Curve:
    """User processor time over time, sampled on a thread while a tree runs; zero is given."""

    def __init__(self, pid, zero=None):
        self.pid, self.zero = pid, zero or time.monotonic()
        self.times, self.values = [], []
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join()

    def _run(self):
        while not self.stopping.wait(PERIOD):
            state = state_of(self.pid)
            if state is None or state[0] == "Z" or state[1]:
                continue  # not there, or held by CRIU
            value = user_seconds(self.pid)
            if value:
                self.times.append(time.monotonic() - self.zero)
                self.values.append(value)

    def since(self, begin):
        """The samples from a time on, both relative to it: [(seconds, user seconds)]."""
        i = bisect.bisect_left(self.times, begin)
        base = self.values[min(i, len(self.values) - 1)] if self.values else 0
        return [(t - begin, v - base) for t, v in zip(self.times[i:], self.values[i:])]


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
        self._marker = getattr(self, f"_{program.marker}")

    def path(self, *names):
        return os.path.join(self.directory, *names)

    def _word(self, word):
        return compiler() if word == "CC1" else word.replace("DIR", self.directory)

    def wait_for_point(self):
        def there():
            return self.process.poll() is not None or self._marker() >= self.program.point

        lab.wait_until("the checkpoint point", there, START_SECONDS)
        if self.process.returncode is not None:
            raise lab.LabError(f"ended before its point with {self.process.returncode}: {self.said()}")

    def said(self):
        with open(self.path("err"), encoding="utf-8", errors="replace") as f:
            return f.read()[-300:].strip()

    # -- markers --

    def _lines(self):
        with open(self.path("out"), "rb") as f:
            return f.read().count(b"\n")

    def _written(self):
        return os.path.getsize(self.path("out"))

    def _cpu(self):
        return user_seconds(self.pid)

    def _read(self):
        """How far the input has been read, by the position of its descriptor."""
        with contextlib.suppress(OSError, StopIteration):
            for fd in os.listdir(f"/proc/{self.pid}/fd"):
                if os.readlink(f"/proc/{self.pid}/fd/{fd}") == self.path("input"):
                    with open(f"/proc/{self.pid}/fdinfo/{fd}", encoding="ascii") as f:
                        return int(next(f).split()[1])
        return 0

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


class Frozen:
    """Notes how long the files of a directory are while a tree is held by a dump: what a restart
    goes on with, and copies them, directories too: the program may change or remove them when the
    dump is over. What is large must not change until the copy is made."""

    def __init__(self, pid, directory, kept):
        self.pid, self.directory, self.kept = pid, directory, kept
        self.sizes = None
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        os.makedirs(kept)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join()

    def _held(self):
        states = [state_of(pid) for pid in tree(self.pid)]
        return all(s and (s[1] or s[0] == "Z") for s in states)

    def _run(self):
        """A dump that CRIU refuses may be followed by another: the last one counts."""
        while not self.stopping.wait(0.002):
            if not self._held():
                continue
            found = list(os.scandir(self.directory))
            files = [entry for entry in found if entry.is_file(follow_symlinks=False)]
            sizes = {entry.name: entry.stat().st_size for entry in files}
            if not self._held():
                continue
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

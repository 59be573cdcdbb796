# SPDX-License-Identifier: GPL-2.0-or-later
"""What a job does, as seen from outside: how far it is, over time, and when it was let go."""

import bisect
import contextlib
import os
import threading
import time

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


class Sampler:
    """Calls look() on a thread, again and again, within a with statement."""

    period = 0.005

    def __init__(self):
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def look(self):
        raise NotImplementedError

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join()

    def _run(self):
        while not self.stopping.wait(self.period):
            self.look()


class Watch(Sampler):
    """Samples a job's progress, and who holds it; times are time.monotonic()."""

    def __init__(self, job):
        super().__init__()
        self.job = job
        self.samples = []  # (time, progress)
        self.held = 0  # the last time at which it was seen held, by a dump

    def look(self):
        tracer = tracer_of(self.job.pid)
        if tracer is None:
            return
        self.samples.append((time.monotonic(), self.job.progress()))
        if tracer:
            self.held = self.samples[-1][0]

    def went_on(self):
        """When it ran again after the dump or the restore, and how far it was then."""
        times = [t for t, _ in self.samples]
        return self.samples[min(bisect.bisect_right(times, self.held), len(times) - 1)]

    def _steps(self):
        """The samples from then on at which its progress was a new one."""
        first = self.went_on()
        steps = [first]
        for sample in self.samples:
            if sample[0] > first[0] and sample[1] > steps[-1][1]:
                steps.append(sample)
        return steps

    def progress_at(self, when):
        """Interpolated between the steps: a coarse marker tells more than its last value."""
        steps = self._steps()
        times = [t for t, _ in steps]
        return _between(times, [p for _, p in steps], when)

    def time_at(self, progress):
        """The other way round; None if it did not come so far."""
        steps = self._steps()
        if steps[-1][1] < progress:
            return None
        return _between([p for _, p in steps], [t for t, _ in steps], progress)


def _between(xs, ys, x):
    """y at x, on the line through the points, of which both ends are the limit."""
    i = bisect.bisect_left(xs, x)
    if i == 0:
        return ys[0]
    if i == len(xs):
        return ys[-1]
    share = (x - xs[i - 1]) / (xs[i] - xs[i - 1])
    return ys[i - 1] + share * (ys[i] - ys[i - 1])


# ---- processes ----


def tree(root):
    """The pids of a process and all below, cheaply."""
    found = [root]
    for pid in found:
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as f:
                    found += map(int, f.read().split())
    return found


def cpu_seconds(pids, system=True):
    """Processor time of processes and of their ended children; without that of the system: user
    time."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError, ValueError), open(
            f"/proc/{pid}/stat", encoding="latin-1"
        ) as f:
            user, kernel, users, kernels = map(int, f.read().rpartition(")")[2].split()[11:15])
            ticks += user + users + (kernel + kernels if system else 0)
    return ticks / CLOCK_TICKS


def state_of(pid):
    """The state letter of a process and its tracer's pid, 0 without one; None where there is no such
    process. CRIU traces what it dumps from the freeze on until it lets go."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as f:
            lines = dict(line.split(":\t", 1) for line in f if ":\t" in line)
        return lines["State"][0], int(lines["TracerPid"])
    except (OSError, KeyError, ValueError):
        return None


def tracer_of(pid):
    state = state_of(pid)
    return state and state[1]

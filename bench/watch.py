# SPDX-License-Identifier: GPL-2.0-or-later
"""What a job does, as seen from outside: how far it is, over time, and when it was let go."""

import bisect
import threading
import time

PERIOD = 0.005


class Watch:
    """Samples a job's progress on a thread, and who holds it; times are time.monotonic()."""

    def __init__(self, job):
        self.job = job
        self.samples = []  # (time, progress)
        self.held = 0  # the last time at which it was seen held, by a dump
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
            tracer = tracer_of(self.job.pid)
            if tracer is None:
                continue
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


def tracer_of(pid):
    """The pid of its tracer, 0 without one; None where there is no such process. CRIU traces what it
    dumps from the freeze on until it lets go."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as f:
            return int(next(line for line in f if line.startswith("TracerPid")).split()[1])
    except (OSError, StopIteration):
        return None

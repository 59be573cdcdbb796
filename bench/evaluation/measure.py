# SPDX-License-Identifier: GPL-2.0-or-later
"""All that is measured of one program: an undisturbed run, an image, and its restarts over each link by
each contender."""

import contextlib
import os
import subprocess

import lab
from contenders import CONTENDERS, Restart
from image import Image, run_undisturbed
from job import digest_of, time_of
from records import Records

LINKS = {"SLOW": lab.SLOW, "FAST": lab.FAST, "LAN": (0.2, 1000)}
POINTS = 60  # of a curve that is kept for the plots
CRIU_SECONDS = 7200


class Link:
    """Two hosts, and what is served on one of them."""

    def __init__(self, rtt, rate):
        self.hosts = lab.Hosts(rtt, rate)
        self.namespace = self.hosts.b

    @contextlib.contextmanager
    def served(self, store):
        with lab.Served(store, self.hosts.ip_a, self.hosts.a) as served:
            yield served.url

    def wait_for_port(self, port, process, said):
        """Until a process listens on the far host; it may read its image first."""
        command = lab.within(self.hosts.a, ["ss", "-Hltn", f"sport = :{port}"])

        def listening():
            if process.poll() is not None:
                raise lab.LabError(f"criu page-server: {said()}")
            return subprocess.run(command, capture_output=True, check=True).stdout

        lab.wait_until("criu page-server", listening, 120)

    def received(self):
        """Bytes that have come to the near host."""
        command = lab.within(self.namespace, ["cat", "/proc/self/net/dev"])
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        lines = (line.split() for line in done.stdout.splitlines())
        return next(int(words[1]) for words in lines if words[0] == "link0:")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.hosts.close()


def thin(points):
    """At most POINTS of them, the last one always."""
    step = -(-len(points) // POINTS) or 1
    return points[::step] + points[-1:] if points else []


def bound(trace, samples, link, head, work):
    """The earliest time, from the start of a restart, at which so much work can be done: two round
    trips, then what is restored before the program runs, then its pages in the order in which it
    asks for them, at the rate of the link; the program never waits for anything else. trace: [(work
    before the page is touched, bytes until it is in)]"""
    rtt, rate = link[0] / 1e3, link[1] * 1e6
    late = start = 2 * rtt + head / rate
    for before, size in trace:
        if before > work:
            break
        late = max(late, start + size / rate - (time_of(samples, before) or 0.0))
    return late + (time_of(samples, work) or 0.0)


class Measurement:
    """Of one program. Every failure costs as little as possible: the row it is in. restarts_only: the
    program itself was described by an earlier run."""

    def __init__(self, program, directory, links, contenders, report, restarts_only=False):
        self.program, self.links, self.contenders = program, links, contenders
        self.restarts_only = restarts_only
        self.directory = os.path.join(directory, "program")
        self.work = os.path.join(directory, "image")
        self.report = report
        self.records = Records(program.name)
        self.trace = []

    def run(self):
        with self._failing("", ""):
            self._run()
        return self.records

    @contextlib.contextmanager
    def _failing(self, link, contender):
        """What goes wrong within is recorded, whatever it is, and the rest goes on."""
        try:
            yield
        except lab.Interrupted:
            raise
        except Exception as e:  # noqa: BLE001
            kind = "" if isinstance(e, lab.LabError) else f"{type(e).__name__}: "
            why = " ".join(f"{kind}{e}".split())
            self.report(" ".join(filter(None, (f"{self.program.name}:", link, contender, why))))
            self.records.add({"failed": why}, link, contender)

    def _run(self):
        self.report(f"{self.program.name}: undisturbed")
        self.undisturbed = run_undisturbed(self.program, self.directory)
        self.report(f"{self.program.name}: checkpoint")
        self.image = Image(self.program, self.directory, self.work, lab.SLOW[1])
        try:
            if not self.restarts_only:
                self._describe()
                self._trace()
            for link in self.links:
                with Link(*LINKS[link]) as both:
                    for contender in self.contenders:
                        self._restart(link, both, contender)
                self._bounds(link)
        finally:
            self.image.forget()

    def _describe(self):
        shown, touch = self.image.shown, self.image.shown["touch"]
        self.records.add({"what": self.program.what, "undisturbed": self.undisturbed.seconds})
        self.records.add({"undisturbed_work": self.undisturbed.work})
        self.records.add({f"work_{s}": w for s, w in self.undisturbed.works.items()})
        self.records.add({f"steps_{s}": n for s, n in self.undisturbed.steps.items()})
        self.records.add({"marker": self.program.marker})
        self.records.add({"image": shown["image_bytes"], "touch": touch["bytes"]})
        self.records.add({k: shown[k] for k in ("lazy_pages", "eager_pages")})
        for encoding in ("raw", "zstd"):
            for name in ("head", "pages", "touch"):
                self.records.add({f"{name}_{encoding}": self.image.stored(encoding, name)})
        costs = ("prepare", "frozen", "scan", "insert", "descriptor", "overhead", "window")
        self.records.add({f"{k}_s": touch[f"{k}_ms"] / 1e3 for k in costs})
        self.records.add({"scans": touch["scans"]})

    def _trace(self):
        """Without it there is no lower bound, but all else."""
        self.report(f"{self.program.name}: trace")
        with self._failing("", "trace"):
            self.trace = self.image.trace()
            self._verify()
        for work, pages, _ in thin(self.trace):
            self.records.add({"touched": f"{work:.3f} {pages}"}, contender="trace")

    def _restart(self, link, both, contender):
        self.report(f"{self.program.name}: {link} {contender.name}")
        work = os.path.join(self.work, f"{link}-{contender.name}")
        with self._failing(link, contender.name):
            done = Restart(self.image, both, contender, work, self._limit(link, contender)).run()
            if not done.gave_up:
                self._verify()
            self._record(link, contender.name, done)

    def _limit(self, link, contender):
        """CRIU's daemon asks for one page at a time: over a link of long round trips it may need
        hours. It is ended when the program was at its end after fetching everything, or has them
        where this is not among what is measured."""
        full = self.records.get(self.program.name, "completed", link, "full-raw")
        return full or CRIU_SECONDS if contender.mode == "criu" else None

    def _verify(self):
        if digest_of(self.program, self.directory) != self.undisturbed.digest:
            raise lab.LabError("wrong output: it is not the undisturbed run's")

    def _record(self, link, contender, done):
        add = {k: getattr(done, k) for k in ("resumed", "drained", "completed", "gave_up", "work")}
        for seconds, work in self.undisturbed.works.items():
            add[f"responsive_{seconds}"] = done.responsive(work)
        for seconds, steps in self.undisturbed.steps.items():
            add[f"progressed_{seconds}"] = done.progressed(steps)
        add["received"] = done.received
        for name in ("bytes_before_resume", "bytes_fetched", "demand_faults", "prefetched_used"):
            add[name] = done.stats.get(name)
        add["stall"] = done.stats.get("stall_ms", 0) / 1e3 if done.stats else None
        if done.completed:
            add["overhead"] = done.completed - done.resumed - self.undisturbed.seconds
        self.records.add(add, link, contender)
        for when, received in thin(done.arrivals):
            self.records.add({"arrived": f"{when:.2f} {received}"}, link, contender)

    def _bounds(self, link):
        """For each encoding: until it was resumed, until its first work was done, until its end."""
        if not self.trace:
            return
        for encoding in ("raw", "zstd"):
            trace = [(w, p * 4096 if encoding == "raw" else z) for w, p, z in self.trace]
            head = self.image.stored(encoding, "head")
            works = {f"responsive_{s}": w for s, w in self.undisturbed.works.items()}
            works["completed"] = self.undisturbed.work
            found = {
                name: bound(trace, self.undisturbed.samples, LINKS[link], head, work)
                for name, work in works.items()
            }
            self.records.add(found, link, f"bound-{encoding}")


def contenders_named(names):
    return [c for c in CONTENDERS if not names or c.name in names]

# SPDX-License-Identifier: GPL-2.0-or-later
"""One image of a program, taken at its checkpoint point, in all the forms in which it is restarted, and
what an undisturbed run of the program does from there."""

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import time

import lab
from job import END_SECONDS, WORK_SECONDS, Curve, Frozen, Job, Marker, digest_of, work_by

PARTS = os.path.join(lab.BUILD, "bench", "parts")
NAME = "job@1"
ATTEMPTS = 5


@dataclasses.dataclass
class Undisturbed:
    """A run without a checkpoint; seconds are from the checkpoint point on."""

    digest: str
    seconds: float  # until its end
    work: float  # user processor time until then
    works: dict  # {seconds: user processor time}
    steps: dict  # {seconds: progress by its own marker}, where there is one
    samples: list


def run_undisturbed(program, directory):
    with Job(program, directory) as job:
        with Curve(job.pid, marker=Marker(program, directory, job.pid)) as curve:
            job.wait_for_point()
            point = time.monotonic() - curve.zero
            job.wait_for_end()
            end = time.monotonic() - curve.zero
        samples, steps = curve.since(point), curve.progress_since(point)
        reached = [s for s in WORK_SECONDS if s < end - point]
        return Undisturbed(
            digest_of(program, directory),
            end - point,
            samples[-1][1],
            {s: work_by(samples, s) for s in reached},
            {s: work_by(steps, s) for s in reached if work_by(steps, s)},
            samples,
        )


def frem(*arguments):
    """frem's answer; what it says on failure is the reason of a row."""
    command = [lab.FREM, "--json", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=END_SECONDS)
    if done.returncode:
        raise lab.LabError(done.stderr.strip().replace("\n", " | ")[-500:])
    return json.loads(done.stdout)


def parts(*arguments):
    done = subprocess.run([PARTS, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise lab.LabError(done.stderr.strip())
    return done.stdout


def groups_of(pid):
    """A process's group and session; none of a process that is not there."""
    try:
        return os.getpgid(pid), os.getsid(pid)
    except ProcessLookupError:
        return ()


class Image:
    """A checkpoint of a program in `work`, compressed, raw, and as a plain image directory. The tracked
    program has run to its end, or was ended with the window."""

    name = NAME

    def __init__(self, program, directory, work, link_rate):
        self.program, self.directory, self.work = program, directory, work
        with Job(program, directory) as job:
            self.pid = job.pid
            job.wait_for_point()
            with Frozen(job.pid, directory, os.path.join(work, "files")) as self.frozen:
                self._checkpoint(job.pid, link_rate)
        self.shown = frem("--store", self.store("zstd"), "show", NAME)
        if not self.shown["touch"]:
            raise lab.LabError("the checkpoint has no touch set")
        if self.frozen.sizes is None:
            raise lab.LabError("the dump was over before it was seen")
        os.makedirs(self.at("raw"))
        parts("raw", self.at("zstd"), self.at("raw"))
        self.images = os.path.join(work, "images")
        frem("--store", self.store("zstd"), "export", NAME, self.images)

    def _checkpoint(self, pid, link_rate):
        """CRIU may refuse what a program is just in the middle of, such as a connection that is not
        yet accepted; a moment later it is over."""
        job, _, number = NAME.partition("@")
        command = ("checkpoint", "--pid", pid, "--name", job, "--link", f"{link_rate}MB/s")
        refused = None
        for _ in range(ATTEMPTS):
            try:
                shown = frem("--store", self.store("zstd"), *command)
                break
            except lab.LabError as e:
                if "CRIU refused" not in str(e):
                    raise refused or e from None  # it may have ended meanwhile
                refused = e
                time.sleep(0.2)
        else:
            raise refused
        if str(shown["seq"]) != number:
            raise lab.LabError(f"the checkpoint is number {shown['seq']}")

    def end(self):
        """Ends what is left of the program; all its pids are free afterwards. What it has started
        since would keep them as its session's or its group's."""
        pids = {self.pid, *(task["pid"] for task in self.shown["tasks"])}

        def gone():
            left = {p for p in lab.processes() if p in pids or pids & set(groups_of(p))}
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            lab.reap_orphans(left)
            return not left

        lab.wait_until("the end of the restarted program", gone)

    def store(self, encoding):
        path = os.path.join(self.work, f"store-{encoding}")
        os.makedirs(path, exist_ok=True)
        return path

    def at(self, encoding):
        return os.path.join(self.store(encoding), *NAME.split("@"))

    def stored(self, encoding, *names):
        return sum(os.path.getsize(os.path.join(self.at(encoding), n)) for n in names)

    def digest(self):
        return digest_of(self.program, self.directory)

    def trace(self):
        """What a restart touches first and when, exactly: every page is kept back until the program
        asks for it. [(user seconds at the latest, pages, bytes raw, bytes zstd)]"""
        store = self.store("trace")
        os.makedirs(self.at("trace"))
        for name in ("pages", "head", "manifest"):
            os.link(os.path.join(self.at("zstd"), name), os.path.join(self.at("trace"), name))
        self.frozen.put_back()
        command = [lab.FREM, "--store", store, "restart", NAME, "--record", f"{END_SECONDS}s"]
        log = os.path.join(self.work, "trace.log")
        began = time.monotonic()
        with open(log, "wb") as f, Curve(self.pid, began) as curve:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=f, stderr=f)
            try:
                process.wait(END_SECONDS)
            finally:
                self.end()
                if process.poll() is None:
                    lab.kill_tree(process.pid)
                    process.returncode = -signal.SIGKILL  # it was reaped there
        touch = os.path.join(self.at("trace"), "touch")
        lab.wait_until("the recording", lambda: os.path.exists(touch), 60)
        return self._by_work(parts("trace", self.at("trace")), curve)

    def _by_work(self, trace, curve):
        """The recorded times count from when the program ran again: as user time then, since a
        restarted program that waits for each page gets less far in the same time."""
        samples = curve.since(curve.times[0]) if curve.times else []
        found, at, work = [], 0, 0.0
        for line in trace.splitlines():
            ms, pages, stored = map(int, line.split())
            while at < len(samples) and samples[at][0] * 1e3 <= ms:
                work = samples[at][1]
                at += 1
            found.append((work, pages, stored))
        return found

    def forget(self):
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.work)

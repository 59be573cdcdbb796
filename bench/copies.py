# SPDX-License-Identifier: GPL-2.0-or-later
"""Many restarts of one checkpoint on one machine, each in pid and mount namespaces of its own."""

import contextlib
import json
import os
import signal
import subprocess
import time

import lab

# $0: what the copy sees in place of $1, the directory that the program writes to
ENTER = 'mount --bind "$0" "$1" && shift && exec "$@"'


def memory_kb(pid, field="VmHWM"):
    """A figure of /proc/PID/status in KB, or 0 where the process is gone."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8") as f:
            return next((int(line.split()[1]) for line in f if line.startswith(field)), 0)
    except OSError:
        return 0


def processor_ms(pid):
    """Processor time of a process and of its children that it has waited for, in ms."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
            fields = f.read().rsplit(")", 1)[1].split()
    except OSError:
        return 0
    return sum(map(int, fields[11:15])) * 1000 / os.sysconf("SC_CLK_TCK")


def below(root, found):
    """{pid: name} of everything below root, of those that still live; found: lab.processes()."""
    names, frontier = {}, {root}
    while frontier:
        frontier = {p for p, (parent, _, _) in found.items() if parent in frontier}
        names.update((p, found[p][2]) for p in frontier if found[p][1] in "RSD")
    return names


class Copy:
    """One restart. What the program appends to its status file is seen by this copy alone."""

    def __init__(self, own, url, name, directory, command, options=(), namespace=None):
        run = own + ".run"  # of its own as well: what cleans it up ends with the pid namespace
        for made in (own, run):
            os.makedirs(made, exist_ok=True)
        self.command = command  # of the program, as `comm`
        self.stats_file = own + ".stats.json"
        self.status = os.path.join(own, "status")
        self.pager_kb = self.pager_ms = 0
        self.log = open(own + ".log", "wb")
        restart = [lab.FREM, "--store", url, "restart", name, "--stats", self.stats_file, *options]
        unshare = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
        self.process = subprocess.Popen(
            lab.within(namespace, [*unshare, "sh", "-c", ENTER, own, directory, *restart]),
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            env={**os.environ, "FREM_RUN_DIR": run},
            start_new_session=True,
        )

    def observe(self, found):
        """Notes what the pager takes; returns the pid of the program, or None."""
        if self.process.poll() is not None:
            raise lab.LabError(f"a restart ended with {self.process.returncode}: {self.said()}")
        job = None
        for pid, name in below(self.process.pid, found).items():
            if name == "frem-pager":
                self.pager_kb = max(self.pager_kb, memory_kb(pid))
                self.pager_ms = max(self.pager_ms, processor_ms(pid))
            elif name == self.command:
                job = pid
        return job

    def said(self):
        with open(self.log.name, encoding="utf-8", errors="replace") as f:
            return f.read()

    def job(self):
        """The pid of the program, seen from here, once it runs; else None."""
        return self.observe(lab.processes())

    def is_drained(self):
        return os.path.exists(self.stats_file)

    def stats(self):
        with open(self.stats_file, encoding="utf-8") as f:
            return json.load(f)

    def answers(self):
        """What the program has said so far."""
        try:
            with open(self.status, encoding="utf-8") as f:
                return f.read().splitlines()
        except FileNotFoundError:
            return []

    def verify(self, seconds=60):
        """Has the program verify all of its memory."""
        before = len(self.answers())
        os.kill(lab.wait_until("the program", self.job, seconds), signal.SIGUSR1)

        def answered():
            self.job()
            return self.answers()[before:]

        answer = lab.wait_until("an answer", answered, seconds)[0]
        if not answer.startswith("ok "):
            raise lab.LabError(answer)

    def close(self):
        """Ends the program, and with it the restart and the namespaces."""
        if self.process.poll() is None:
            with contextlib.suppress(lab.LabError, ProcessLookupError, TypeError):
                os.kill(self.job(), signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
        if self.process.poll() is None:
            lab.kill_tree(self.process.pid)
            self.process.returncode = -signal.SIGKILL  # it was reaped there
        self.log.close()


class Copies:
    """So many restarts at once, started together."""

    def __init__(self, count, scratch, *arguments, **options):
        self.all = []
        try:
            for i in range(count):
                own = os.path.join(scratch, f"copy-{count}-{i}")
                self.all.append(Copy(own, *arguments, **options))
        except BaseException:
            self.close()
            raise

    def wait(self, seconds):
        """Until all memory of all of them is in."""
        deadline = time.monotonic() + seconds
        while not all(copy.is_drained() for copy in self.all):
            found = lab.processes()
            for copy in self.all:
                copy.observe(found)
            if time.monotonic() > deadline:
                raise lab.LabError(f"not all memory was in after {seconds} s")
            time.sleep(0.05)

    def close(self):
        for copy in self.all:
            copy.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

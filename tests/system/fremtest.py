# SPDX-License-Identifier: GPL-2.0-or-later
"""What the system tests have in common: running frem, victims, and looking for leaks."""

import glob
import json
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "bench"))

import lab  # noqa: E402
from lab import BUILD, FREM, kill_tree, wait_until, within  # noqa: E402, F401

VICTIMS = os.path.join(BUILD, "tests", "system", "victims")
CRIU = os.path.join(BUILD, "criu", "criu")
MODES = ("now", "touch-set", "full")

OK, FAILED, USAGE, UNABLE, NOT_FOUND, DAMAGED, STORE, REFUSED = range(8)

STATS_FIELDS = {
    "resume_mode": str,
    "resumed_ms": float,
    "touch_set_ms": float,
    "drained_ms": float,
    "bytes_total": int,
    "bytes_before_resume": int,
    "bytes_touch": int,
    "bytes_fetched": int,
    "pages_total": int,
    "pages_touch": int,
    "prefetched_used": int,
    "demand_faults": int,
    "stall_ms": float,
    "frames_retried": int,
    "recorded_pages": int,
    "recorded_ms": float,
    "rtt_ms": float,
    "bandwidth_bps": float,
}


class Result:
    """How a run of frem ended."""

    def __init__(self, arguments, code, out, err):
        self.arguments, self.code, self.out, self.err = arguments, code, out, err

    def __str__(self):
        return f"frem {' '.join(self.arguments)}: code {self.code}\n{self.out}{self.err}"

    __repr__ = __str__

    def json(self):
        return json.loads(self.out)

    def error(self):
        """The one line of the error: the last that starts with `frem: `, progress comes before."""
        lines = [line for line in self.err.splitlines() if line.startswith("frem: ")]
        assert lines, f"no line starts with 'frem: ' in:\n{self}"
        return lines[-1]


class Frem:
    """The frem binary, against one store. What is started and still runs is ended by close()."""

    def __init__(self, store=None, namespace=None, environment=None):
        self.store, self.namespace = store, namespace
        self.environment = dict(environment or {})
        self.running = []

    def at(self, store=None, namespace=None, **environment):
        """The same frem elsewhere; it is closed with this one."""
        other = Frem(
            store or self.store,
            namespace or self.namespace,
            {**self.environment, **environment},
        )
        other.running = self.running
        return other

    def _command(self, arguments):
        command = [FREM, *(["--store", self.store] if self.store else []), *map(str, arguments)]
        return within(self.namespace, command)

    def start(self, *arguments, **popen):
        """Starts frem in a session of its own, with its output in pipes."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("FREM_STORE")}
        for stream in ("stdout", "stderr"):
            popen.setdefault(stream, subprocess.PIPE)
        process = subprocess.Popen(
            self._command(arguments),
            stdin=popen.pop("stdin", subprocess.DEVNULL),
            env={**environment, **self.environment},
            start_new_session=True,
            **popen,
        )
        process.arguments = [str(a) for a in arguments]
        self.running.append(process)
        return process

    def finish(self, process, timeout=60):
        """Waits for its end."""
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            kill_tree(process.pid)
            process.returncode = -signal.SIGKILL  # it was reaped there
            out, err = process.communicate()
            text = (out or b"").decode(errors="replace") + (err or b"").decode(errors="replace")
            raise AssertionError(f"{process.arguments} took over {timeout} s:\n{text}") from None
        return Result(
            process.arguments,
            process.returncode,
            (out or b"").decode(errors="replace"),
            (err or b"").decode(errors="replace"),
        )

    def run(self, *arguments, code=OK, timeout=60, **popen):
        """Runs frem, which has to end with the code."""
        result = self.finish(self.start(*arguments, **popen), timeout)
        assert result.code == code, f"expected code {code} of {result}"
        return result

    def json(self, *arguments, **options):
        return self.run("--json", *arguments, **options).json()

    def refuse(self, code, *arguments, **options):
        """Runs frem, which has to fail with the code; returns the one-line error."""
        return self.run(*arguments, code=code, **options).error()

    # -- what most tests do --

    def checkpoint(self, victim, name, *options, timeout=60):
        """A checkpoint of a running victim, as JSON."""
        pid = victim if isinstance(victim, int) else victim.pid
        command = ("checkpoint", "--pid", pid, "--name", name, *options)
        return self.json(*command, timeout=timeout)

    def restart(self, name, *options, **popen):
        """Starts a restart in the foreground; wait for its job with Victim.restarted()."""
        return self.start("restart", name, *options, **popen)

    def close(self):
        for process in self.running:
            if process.poll() is None:
                kill_tree(process.pid)
                process.returncode = -signal.SIGKILL  # it was reaped there
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream:
                    stream.close()


def state_of(pid):
    """The state letter in /proc, or None."""
    found = lab.processes().get(pid)
    return found[1] if found else None


def is_alive(pid):
    return state_of(pid) not in (None, "Z", "X")


def tracer_of(pid):
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8") as f:
            return int(next(line for line in f if line.startswith("TracerPid")).split()[1])
    except OSError:
        return 0


def read_stats(path, restart, seconds):
    """The --stats file of a restart, which is there when all memory is in."""

    def written():
        assert restart.poll() is None, "the restart ended"
        return os.path.exists(path)

    wait_until("the statistics", written, seconds)
    with open(path, encoding="utf-8") as f:
        return json.load(f)


class Victim:
    """A program to be checkpointed that can be asked to verify all of its memory."""

    def __init__(self, directory, command, stdout=subprocess.DEVNULL, namespace=None, **popen):
        self.status = os.path.join(directory, "status")
        self.answers = 0
        reads, writes = os.pipe()
        arguments = [command[0], *(self.status if a == "STATUS" else str(a) for a in command[1:])]
        popen.setdefault("start_new_session", True)
        try:
            self.process = subprocess.Popen(
                within(namespace, arguments),
                stdin=popen.pop("stdin", subprocess.DEVNULL),
                stdout=stdout,
                stderr=popen.pop("stderr", subprocess.DEVNULL),
                cwd=directory,
                env={**os.environ, "READY_FD": str(writes)},
                pass_fds=(writes, *popen.pop("pass_fds", ())),
                **popen,
            )
            os.close(writes)
            assert os.read(reads, 1) == b"r", f"{command[0]} did not become ready"
        finally:
            os.close(reads)
        self.pid = self.process.pid

    def lines(self):
        """The answers so far."""
        try:
            with open(self.status, encoding="utf-8") as f:
                lines = f.read().splitlines()
        except FileNotFoundError:
            return []
        return [line for line in lines if line.startswith(("ok", "bad"))]

    def verify(self, seconds=30, alive=None):
        """Has it verify all of its memory; returns its progress, which only grows."""
        before = len(self.lines())
        os.kill(self.pid, signal.SIGUSR1)

        def answered():
            assert (alive or self.is_alive)(), f"{self.pid} ended: {self.lines()[-3:]}"
            return self.lines()[before:]

        answer = wait_until(f"the answer of {self.pid}", answered, seconds)[0]
        assert answer.startswith("ok "), answer
        return int(answer.split()[1])

    def is_alive(self):
        return is_alive(self.pid)

    def assert_runs(self):
        """It goes on: not stopped, not traced, memory right, and progressing."""
        wait_until(f"{self.pid} to be let go", lambda: tracer_of(self.pid) == 0, 10)
        wait_until(f"{self.pid} to go on", lambda: state_of(self.pid) in "RSD", 10)
        first = self.verify()
        wait_until("progress", lambda: self.verify() > first, 10)

    def kill(self):
        """kill -9 of it and all below; their pids are free afterwards."""
        kill_tree(self.pid)
        self.process.returncode = -signal.SIGKILL  # it was reaped there

    def restarted(self, restart, seconds=60):
        """Waits until its pid runs again as the job of a restart in the foreground."""

        def runs():
            if restart.poll() is not None:
                out, err = restart.communicate()
                raise AssertionError(f"the restart ended: {restart.returncode}\n{out}\n{err}")
            parent, state, _ = lab.processes().get(self.pid, (0, "X", ""))
            return parent == restart.pid and state in "RSD" and tracer_of(self.pid) == 0

        wait_until(f"the restart of {self.pid}", runs, seconds)

    def wait_for_end(self, pids, seconds=10):
        """Waits until it has ended by itself, and all of `pids` are free."""

        def gone():
            self.process.poll()
            lab.reap_orphans(pids)
            return not pids & lab.processes().keys()

        wait_until(f"the end of {self.pid}", gone, seconds)

    def close(self):
        if is_alive(self.pid):
            kill_tree(self.pid)


def is_kernel_thread(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
            return int(f.read().rsplit(")", 1)[1].split()[6]) & 0x00200000 != 0  # PF_KTHREAD
    except FileNotFoundError:
        return False


def program(name):
    return os.path.join(VICTIMS, name)


def blake3(data):
    """The digest of docs/format.md, by another program than frem."""
    return subprocess.run(["b3sum", "--raw"], input=data, capture_output=True, check=True).stdout


# ---- leaks ----


def _mounts():
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        return {line.split()[4] for line in f}


def _is_ours(path):
    """Not something that another run of the tests, beside this one, has made."""
    mine = (f"frem-{os.getpid()}-", os.environ["FREM_RUN_DIR"])
    return any(m in path for m in mine) or ("frem-" not in path and "pytest-" not in path)


def _unix_sockets():
    with open("/proc/net/unix", encoding="utf-8") as f:
        return {line.split()[7] for line in f.readlines()[1:] if len(line.split()) > 7}


def _netfilter_rules():
    """CRIU locks connections with rules of its own; they must not stay."""
    try:
        done = subprocess.run(["iptables-save"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return set()
    return {line for line in done.stdout.splitlines() if line.startswith("-A")}


class Leaks:
    """What there was before a test, to be compared with what is there after it."""

    def __init__(self):
        self.before = self._look()

    @staticmethod
    def _look():
        children = lab.descendants(os.getpid())
        return {
            "process": {(p, name) for p, (_, _, name) in children.items()},
            "mount": {m for m in _mounts() if _is_ours(m)},
            "network namespace": {n for n in lab.namespaces() if f"-{os.getpid()}-" in n},
            "run directory": set(glob.glob(os.environ["FREM_RUN_DIR"] + "/*")),
            "socket": {s for s in _unix_sockets() if s.startswith(os.environ["FREM_RUN_DIR"])},
            "netfilter rule": _netfilter_rules(),
        }

    def found(self):
        lab.reap_orphans()
        now = self._look()
        return {k: now[k] - self.before[k] for k in now if now[k] - self.before[k]}

    def settle(self, seconds=5):
        """Janitors clean up on their own: gives them a moment, then says what is left."""
        try:
            wait_until("no leaks", lambda: not self.found(), seconds)
        except lab.LabError:
            pass
        return self.found()

    def clean(self, found):
        for pid, _ in found.get("process", ()):
            kill_tree(pid)
        for mount in found.get("mount", ()):
            subprocess.run(["umount", "-l", mount], check=False)
        for name in found.get("network namespace", ()):
            subprocess.run(["ip", "netns", "del", name], check=False)
        for directory in found.get("run directory", ()):
            subprocess.run(["rm", "-rf", "--one-file-system", directory], check=False)

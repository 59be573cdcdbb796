# SPDX-License-Identifier: GPL-2.0-or-later
"""CRIU's test suite as something that can be asked: which tests there are, and how they end.

zdtm.py runs each test in namespaces of its own. It is given a `criu` that is CRIU, except that
`criu lazy-pages` is the daemon under test, and what it prints is taken apart.
"""

import dataclasses
import json
import os
import re
import selectors
import shlex
import shutil
import signal
import subprocess
import time

import machine

PYTHON = "/usr/bin/python3"
MODES = {  # how the memory gets to the daemon
    "lazy": ["--lazy-pages"],  # it reads the image directory
    "remote": ["--remote-lazy-pages"],  # from a page server, which reads the image directory
    "migrate": ["--lazy-migrate"],  # from the dump, which serves the memory of the frozen tasks
    "plain": [],  # not lazily: what fails here as well is not the daemon's fault
    "pre": ["--lazy-pages", "--pre", "2"],  # the image has parents
    "dedup": ["--lazy-pages", "--pre", "2", "--dedup"],  # with holes where a child has the page
}
FLAVOURS = ("h", "ns", "uns")
# the source of a migration still has its pids when the restore takes them: both need their own
POINTLESS = (("migrate", "h"),)
PASS, FAIL, SKIP = "pass", "fail", "skip"

RUN = re.compile(r"^=== Run \d+/\d+ [=-]+ (\S+)")
SKIPPING = re.compile(r"^Skipping (zdtm/\S+) \((.*)\)$")
PASSED = re.compile(r"^=* ?Test (\S+) PASS =*$")  # a long line has nothing around it
FAILED = re.compile(r"^#* ?Test (\S+) FAIL at (.*?) #*$")
# first, since CRIU says it whatever happens where it lacks CAP_SYS_RESOURCE
HARMLESS = re.compile(r"rlimit: Can't setup RLIMIT_NOFILE|address already assigned", re.I)
RAISED = re.compile(r"^[\w.]*(Error|Exception|Expired|exc)\b")
ERROR = re.compile(r"Error \(.*?\): (.*?)['\"]?$")

WRAPPER = """#!/bin/sh
# CRIU, except that its lazy-pages daemon is the one under test
case $1 in
lazy-pages)
	echo started >>{log}
	exec {daemon} "$@" ;;
*)
	exec {criu} "$@" ;;
esac
"""


# zdtm.py is no module that can be imported by its name: beside it is a package of the same name
LIST = """
import importlib.util, json
spec = importlib.util.spec_from_file_location("zdtm_py", "zdtm.py")
zdtm = importlib.util.module_from_spec(spec)
spec.loader.exec_module(zdtm)
print(json.dumps({t: zdtm.get_test_desc(t) for t in zdtm.all_tests({"set": "zdtm"})}, default=list))
"""


@dataclasses.dataclass
class Outcome:
    """How one run of one test ended."""

    result: str
    why: str = ""  # what it failed at, or why it was skipped
    seconds: float = 0.0
    served: int = 0  # how often the daemon was started

    def text(self):
        return f"{self.result} ({self.why})" if self.why else self.result


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
        return [int(p) for p in f.read().split()]


class Batch:
    """One run of zdtm.py."""

    def __init__(self, suite, command, environment, keep_in, limit):
        self.outcomes, self.hung = {}, False
        self._suite, self._keep_in, self._limit = suite, keep_in, limit
        self._test, self._since, self._lines, self._served = None, 0.0, [], 0
        self._verdict = None
        self._process = subprocess.Popen(
            command,
            cwd=suite.directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def finish(self):
        """Reads until zdtm.py has ended; a test that takes too long is killed."""
        rest = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while True:
                if not selector.select(timeout=1.0):
                    self._watch()
                    continue
                block = os.read(self._process.stdout.fileno(), 65536)
                *lines, rest = (rest + block).split(b"\n")
                for line in lines:
                    self._line(line.decode(errors="replace"))
                self._watch()
                if not block:
                    break
        self._process.stdout.close()
        self._process.wait()
        self._close()
        return self.outcomes

    def end(self):
        """Ends whatever still runs: the tests' pid namespaces end with their first process."""
        if self._process.poll() is None:
            self._kill_test()
            self._process.kill()
            self._process.wait()

    def _watch(self):
        if self._test and time.monotonic() - self._since > self._limit:
            self._verdict = Outcome(FAIL, f"took over {self._limit:g} s")
            self._since = time.monotonic()
            if not self._kill_test():
                self._process.kill()

    def _kill_test(self):
        killed = False
        for ct in children(self._process.pid):
            for first in children(ct):
                os.kill(first, signal.SIGKILL)
                killed = True
        return killed

    def _line(self, line):
        run, skipping = RUN.match(line), SKIPPING.match(line)
        if run:
            self._close()
            self._test, self._since = run[1], time.monotonic()
            self._lines, self._served = [], self._suite.starts()
        elif skipping:  # said while the test before still runs
            self.outcomes[skipping[1]] = Outcome(SKIP, skipping[2])
        self._lines.append(line)
        failed = FAILED.match(line)
        if self._verdict is None and failed:
            self._verdict = Outcome(FAIL, failed[2])
        elif self._verdict is None and PASSED.match(line):
            self._verdict = Outcome(PASS)

    def _close(self):
        if not self._test:
            return
        verdict = self._verdict or Outcome(FAIL, self._last_words())
        verdict.seconds = round(time.monotonic() - self._since, 2)
        verdict.served = self._suite.starts() - self._served
        if verdict.result == FAIL:
            errors = [ERROR.search(x) for x in self._lines if not HARMLESS.search(x)]
            verdict.why += next((f": {e[1]}" for e in errors if e), "")
            self._keep()
        self.outcomes[self._test] = verdict
        self._test, self._verdict = None, None

    def _last_words(self):
        """Of a run without a verdict: what zdtm.py has died of."""
        raised = [x for x in self._lines if RAISED.match(x)]
        return raised[-1] if raised else "ended without a verdict"

    def _keep(self):
        name = os.path.join(self._keep_in, self._test.replace("/", "_") + ".log")
        os.makedirs(self._keep_in, exist_ok=True)
        with open(name, "a", encoding="utf-8") as f:
            f.write("\n".join(self._lines) + "\n\n")


class Suite:
    """The unpacked and built suite in directory/src. Tests can be run inside of it as a context."""

    def __init__(self, directory, criu, limit=120.0):
        self.directory = os.path.join(directory, "src", "test")
        self.logs = os.path.join(directory, "logs")
        self._module = os.path.join(directory, "src", "lib")
        self._base, self._criu, self._limit = directory, criu, limit
        self._private = os.path.join(directory, "tmp")
        self._started = os.path.join(directory, "started")
        self._batch = None

    def __enter__(self):
        for scratch in (self.logs, self._private):
            shutil.rmtree(scratch, ignore_errors=True)
        os.makedirs(self._private)
        os.chmod(self._private, 0o1777)
        return self

    def __exit__(self, *_):
        if self._batch:
            self._batch.end()
        shutil.rmtree(self._private, ignore_errors=True)
        shutil.rmtree(os.path.join(self.directory, "dump"), ignore_errors=True)
        for name in (self._started, os.path.join(self._base, "criu")):
            if os.path.exists(name):
                os.unlink(name)

    def starts(self):
        """How many daemons were started since the suite was opened."""
        try:
            return os.path.getsize(self._started) // len("started\n")
        except FileNotFoundError:
            return 0

    def tests(self):
        """{name: description} of those that run without being asked for."""
        done = subprocess.run(
            [PYTHON, "-c", LIST], cwd=self.directory, env=self._environment(), check=True,
            capture_output=True, text=True,
        )  # fmt: skip
        described = json.loads(done.stdout)
        return {n: d for n, d in described.items() if "noauto" not in d.get("flags", "").split()}

    def run(self, tests, flavour, mode, daemon, label):
        """Runs the tests one by one. Returns {test: Outcome}."""
        wrapper = os.path.join(self._base, "criu")
        text = WRAPPER.format(
            daemon=shlex.join(daemon), log=shlex.quote(self._started), criu=shlex.quote(self._criu)
        )
        with open(wrapper, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(wrapper, 0o755)
        outcomes = {}
        while todo := [t for t in tests if t not in outcomes]:
            options = [word for t in todo for word in ("-t", t)]
            options += ["-f", flavour, "--keep-going", "--keep-img", "never", *MODES[mode]]
            options += ["--criu-bin", wrapper, "--pycriu-search-path", self._module]
            keep_in = os.path.join(self.logs, label, f"{mode}-{flavour}")
            command, environment = self._command(["run", *options]), self._environment(flavour)
            self._batch = Batch(self, command, environment, keep_in, self._limit)
            new = self._batch.finish()
            self._batch = None
            outcomes.update(new or {todo[0]: Outcome(FAIL, "zdtm.py did not come to it")})
        return outcomes

    def _command(self, words):
        """In a mount namespace of its own, with a private /tmp: what is left there goes with it."""
        inner = 'private=$1; shift; [ -z "$private" ] || mount --bind "$private" /tmp; exec "$@"'
        here = os.path.dirname(__file__)
        visible = (self._base, self._criu, here, os.environ.get("FREM_BUILD", "/"))
        hidden = any(os.path.realpath(p).startswith("/tmp/") for p in visible)
        command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", inner, "sh"]
        return [*command, "" if hidden else self._private, PYTHON, "zdtm.py", *words]

    @staticmethod
    def _environment(flavour=None):
        ours = ("FREM_", "ZDTM_", "PYTHON")
        environment = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
        environment |= {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",  # zdtm.py's python3 is the system's
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "ZDTM_IGNORE_TAINT": "1",
        }
        # in a user namespace of its own a task can be dumped whoever it belongs to
        if flavour != "uns" and not machine.has_capability(machine.CAP_SYS_RESOURCE):
            environment |= {"ZDTM_TASK_UID": "0", "ZDTM_TASK_GID": "0"}
        return environment

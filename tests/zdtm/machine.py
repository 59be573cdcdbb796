# SPDX-License-Identifier: GPL-2.0-or-later
"""What of the machine has to be otherwise while CRIU's tests run, and is put back afterwards."""

import contextlib
import fcntl
import json
import os
import resource
import subprocess
import sys
import tempfile
import time

CAP_SYS_RESOURCE = 24
# a hierarchy comes into being, for the whole machine, when it is first mounted
HIERARCHIES = ("none,name=zdtmtst", "none,name=zdtmtst.defaultroot")
SETTINGS = {
    # a task in a user namespace may not create a userfaultfd otherwise; CRIU's own CI sets it, too
    "vm/unprivileged_userfaultfd": 1,
    # zdtm.py reserves some, and leaves them behind when a test has failed
    "vm/nr_hugepages": None,
    # a page server has a pipe of up to 16 MB for each chunk; root without CAP_SYS_RESOURCE may not
    # exceed this
    "fs/pipe-max-size": 16 << 20,
}


def has_capability(number):
    with open("/proc/self/status", encoding="ascii") as f:
        effective = next(line.split()[1] for line in f if line.startswith("CapEff:"))
    return bool(int(effective, 16) >> number & 1)


def read_setting(name):
    with open("/proc/sys/" + name, encoding="ascii") as f:
        return int(f.read())


def write_setting(name, value):
    with open("/proc/sys/" + name, "w", encoding="ascii") as f:
        f.write(f"{value}\n")


def hierarchies():
    """The cgroup hierarchies of version 1, each by the options that mount it."""
    with open("/proc/self/cgroup", encoding="utf-8") as f:
        names = [line.split(":")[1] for line in f]
    return [f"none,{n}" if n.startswith("name=") else n for n in names if n]


@contextlib.contextmanager
def mounted(hierarchy):
    with tempfile.TemporaryDirectory() as where:
        subprocess.run(
            ["mount", "-t", "cgroup", "-o", hierarchy, "zdtm", where],
            check=True,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield where
        finally:
            subprocess.run(["umount", where], check=True)


def hold_hierarchies():
    """With a group in it, a hierarchy outlives its last mount.

    zdtm.py would end and make anew its own ones all the time. Ending takes a while, and no task can
    be dumped meanwhile: CRIU is told of hierarchies which it then cannot mount.
    """
    for hierarchy in HIERARCHIES:
        with mounted(hierarchy) as where:
            os.makedirs(os.path.join(where, "holder.frem"), exist_ok=True)


def remove_hierarchies(*kept):
    """Those of zdtm.py, and those that tests have made of what was in no hierarchy before.

    The last unmount ends a hierarchy only when its groups have gone, and those go a little after
    they were removed.
    """
    deadline = time.monotonic() + 5
    while gone := set(hierarchies()) - (set(kept) - set(HIERARCHIES)):
        for hierarchy in gone:
            with contextlib.suppress(subprocess.CalledProcessError), mounted(hierarchy) as where:
                for group, _, _ in os.walk(where, topdown=False):
                    if group != where:
                        with contextlib.suppress(OSError):
                            os.rmdir(group)
        if time.monotonic() > deadline:
            print(f"zdtm: left behind: cgroup hierarchies {' '.join(gone)}", file=sys.stderr)
            break
        time.sleep(0.05)


def apart(function, *words):
    """Calls one of these functions where its mounts are seen by nobody else."""
    code = f"import sys, machine; machine.{function.__name__}(*sys.argv[1:])"
    here = os.path.dirname(os.path.abspath(__file__))
    command = ["unshare", "--mount", "--propagation", "private", sys.executable, "-B", "-c", code]
    return subprocess.run([*command, *words], cwd=here, check=True)


class Machine:
    """A context: inside of it the machine is ready for the tests. Only one at a time."""

    def __init__(self, directory):
        self._directory = directory
        self._record = os.path.join(directory, "machine.json")
        self._lock = None

    def __enter__(self):
        self._lock = open(os.path.join(self._directory, "lock"), "w", encoding="ascii")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            sys.exit(f"zdtm: another run uses {self._directory}")
        self._put_back()  # what a run that was killed has left
        before = {"settings": {}, "hierarchies": hierarchies()}
        for name in SETTINGS:
            with contextlib.suppress(OSError):
                before["settings"][name] = read_setting(name)
        with open(self._record, "w", encoding="ascii") as f:
            json.dump(before, f)
        for name, value in SETTINGS.items():
            if value is not None and before["settings"].get(name, value) < value:
                write_setting(name, value)
        apart(hold_hierarchies)
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return self

    def __exit__(self, *_):
        self._put_back()
        self._lock.close()

    def _put_back(self):
        try:
            with open(self._record, encoding="ascii") as f:
                before = json.load(f)
        except FileNotFoundError:
            return
        for name, value in before["settings"].items():
            write_setting(name, value)
        apart(remove_hierarchies, *before["hierarchies"])
        os.unlink(self._record)

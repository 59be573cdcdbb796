# SPDX-License-Identifier: GPL-2.0-or-later
"""Every error of docs/troubleshooting.md is provoked: its words and its exit code are as the page says."""

import ctypes
import os
import re
import socket
import subprocess

import pytest

import fremtest
from fremtest import lab, wait_until
from test_cli import Checkpoints
from test_trouble import USERFAULTFD, fake_criu

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def entries():
    """{message: exit code} of the page."""
    found, code = {}, None
    with open(os.path.join(ROOT, "docs", "troubleshooting.md"), encoding="utf-8") as f:
        for line in f:
            if match := re.match(r"## (\d): ", line):
                code = int(match.group(1))
            elif line.startswith("### "):
                found[re.fullmatch(r"### `(.*)`\n", line).group(1)] = code
    return found


PAGE = entries()


class Scene:
    """A store with a made-up checkpoint job@1, and what provokes want besides."""

    def __init__(self, frem, victim, hosts, directory):
        self.store = Checkpoints(str(directory / "store"))
        self.store.add("job", 1)
        self.path, self.new_victim, self.hosts = directory, victim, hosts
        self.without, self.frem = frem, frem.at(self.store.path)

    def run(self, *arguments, **options):
        return self.frem.finish(self.frem.start(*arguments, **options))

    def nowhere(self, *arguments, **options):
        return self.without.finish(self.without.start(*arguments, **options))

    def with_environment(self, *arguments, **environment):
        there = self.frem.at(**environment)
        return there.finish(there.start(*arguments))

    def checkpoint_of(self, pid):
        return self.run("checkpoint", "--pid", pid, "--name", "new")

    def saved(self):
        """A real checkpoint run@1 of a program that goes on."""
        v = self.new_victim("touch_tenth", 20)
        self.frem.checkpoint(v, "run", "--window", "off")
        return v


def configured(scene):
    path = scene.path / "frem.conf"
    path.write_text("stroe = /srv/frem\n")
    return scene.run("list", "--config-file", path)


def full_output(scene):
    with open("/dev/full", "wb") as full:
        return scene.run("list", stdout=full)


def not_empty(scene):
    return scene.run("export", "job", scene.store.path)


def not_root(scene):
    """As nobody; the program may be where nobody can reach it."""
    reachable = subprocess.run(["test", "-x", fremtest.FREM], user=65534, check=False)
    if reachable.returncode:
        pytest.skip("nobody cannot reach the program")
    return scene.run("checkpoint", "--pid", 1, "--name", "new", user=65534)


def damaged(scene):
    scene.store.put("bad", 1, "manifest", b"{}")
    return scene.run("show", "bad")


def store_goes_away(scene):
    v = scene.saved()
    v.kill()
    both = scene.hosts(20, 3)
    with lab.Served(scene.store.path, both.ip_a, both.a) as served:
        there = scene.frem.at(served.url, namespace=both.b)
        restart = there.start("--store-timeout", "1s", "restart", "run")
        v.restarted(restart, 30)
        served.process.kill()
        return there.finish(restart)


def pid_is_taken(scene):
    scene.saved()
    return scene.run("restart", "run")


def run_twice(scene):
    first = scene.frem.start("run", "--name", "twice", "--", "sleep", "100")
    wait_until("the job", lambda: "sleep" in str(lab.descendants(first.pid)), 20)
    second = scene.run("run", "--name", "twice", "--", "true")
    first.terminate()
    scene.frem.finish(first)
    return second


def kernel_thread(scene):
    if not fremtest.is_kernel_thread(2):
        pytest.skip("pid 2 is no kernel thread in this pid namespace")
    return scene.checkpoint_of(2)


def cannot_be_dumped(scene):
    userfaultfd = ctypes.CDLL(None).syscall(USERFAULTFD, 0)
    v = scene.new_victim("tcp_echo", pass_fds=(userfaultfd,))
    os.close(userfaultfd)
    return scene.checkpoint_of(v.pid)


def port_is_taken(scene):
    v = scene.new_victim("tcp_echo")
    with open(v.status, encoding="utf-8") as f:
        port = int(re.search(r"^port (\d+)$", f.read(), re.M).group(1))
    scene.frem.checkpoint(v, "run", "--window", "off")
    v.kill()
    with socket.create_server(("127.0.0.1", port)):
        return scene.run("restart", "run")


def file_is_missing(scene):
    log = scene.path / "program.log"
    with open(log, "ab") as out:
        v = scene.new_victim("logger", stdout=out)
    scene.frem.checkpoint(v, "run", "--window", "off")
    v.kill()
    log.unlink()
    return scene.run("restart", "run")


PROVOKED = {
    "writing the output: …": full_output,
    "making '…': No such file or directory": lambda s: s.run(
        "--run-dir", "/proc", "checkpoint", "--pid", s.new_victim("tcp_echo").pid, "--name", "new"
    ),
    "reading '…': No such file or directory": lambda s: s.run("list", "--config-file", "/nowhere"),
    "starting '…': No such file or directory": lambda s: s.run(
        "run", "--name", "new", "--", "/nowhere"
    ),
    "checkpoint '…' has no touch set": lambda s: s.run(
        "plan", "job", "--mtbf", "1h", "--interval", "1m", "--link", "7MB/s"
    ),
    "…: Directory not empty": not_empty,
    "listening on '…': …": lambda s: s.run("serve", "--root", s.path, "--listen", "192.0.2.1:80"),
    "no store given": lambda s: s.nowhere("list"),
    "store '…': unknown kind of store": lambda s: s.nowhere("list", "--store", "ftp://host"),
    "option '…' needs a value": lambda s: s.nowhere("list", "--store", ""),
    "unknown option '…'": lambda s: s.run("list", "--al"),
    "bad duration '…': Invalid argument": lambda s: s.run("list", "--store-timeout", "10min"),
    "bad rate '…': Invalid argument": lambda s: s.run("checkpoint", "--link", "100"),
    "'…' is a name, not a checkpoint": lambda s: s.run("remove", "job"),
    "…: unknown key '…'": configured,
    "a fast restart cannot run here: missing: …": lambda s: s.run("check", "--run-dir", "/proc"),
    "checkpoints and restarts need root": not_root,
    "FREM_CRIU: '…' is not a criu that runs": lambda s: s.with_environment(
        "checkpoint", "--pid", s.new_victim("tcp_echo").pid, "--name", "new", FREM_CRIU="/nowhere"
    ),
    "criu … is too old, 4.2 or newer is needed": lambda s: s.with_environment(
        *("checkpoint", "--pid", s.new_victim("tcp_echo").pid, "--name", "new"),
        FREM_CRIU=fake_criu(s.path, "3.17.1"),
    ),
    "no checkpoint of '…' in store '…'": lambda s: s.run("restart", "other"),
    "no checkpoint '…'": lambda s: s.run("restart", "job@7"),
    "manifest: … at offset …": damaged,
    "head: … at offset …": lambda s: s.run("restart", "job"),
    "image file '…': No such file or directory": lambda s: s.run(
        "import", s.path, "--name", "new"
    ),
    "opening the directory: No such file or directory": lambda s: s.nowhere(
        "list", "--store", "/nowhere"
    ),
    "could not connect: …": lambda s: s.nowhere(
        "list", "--store", "http://127.0.0.1:1", "--store-timeout", "0"
    ),
    "could not find the host's address": lambda s: s.nowhere(
        "list", "--store", "http://nowhere.invalid", "--store-timeout", "0"
    ),
    "gone for …": store_goes_away,
    "no such process": lambda s: s.checkpoint_of(4194304),
    "'…' is a kernel thread": kernel_thread,
    "'…' is this command itself or runs it": lambda s: s.checkpoint_of(os.getpid()),
    "pid … is taken by '…'": pid_is_taken,
    "'…' runs already, as process …": run_twice,
    "dumping process …: CRIU refused": cannot_be_dumped,
    "restoring '…' (pid …): CRIU refused": port_is_taken,
    "the job's file '…': No such file or directory": file_is_missing,
}


def test_every_entry_has_its_cause():
    assert set(PROVOKED) == set(PAGE)


@pytest.mark.parametrize("message", sorted(PAGE))
def test_provoked(frem, victim, hosts, tmp_path, message):
    result = PROVOKED[message](Scene(frem, victim, hosts, tmp_path))
    assert result.code == PAGE[message], result
    pattern = ".*".join(re.escape(part) for part in message.split("…"))
    assert re.search(pattern, result.error()), result

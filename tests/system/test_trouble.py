# SPDX-License-Identifier: GPL-2.0-or-later
"""Bad input: one clear line, the right exit code, and nothing lost."""

import ctypes
import json
import os
import re
import shutil
import subprocess
import tempfile
import time

import pytest

import fremtest
from fremtest import DAMAGED, FAILED, FREM, NOT_FOUND, REFUSED, STORE, UNABLE, USAGE, lab
from lab import wait_until

UNREACHABLE = "http://127.0.0.1:1"
USERFAULTFD = {"x86_64": 323, "aarch64": 282}[os.uname().machine]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A store directory with job@1 of a program of 60 MB that has ended."""
    directory = tmp_path_factory.mktemp("saved")
    store = str(directory / "store")
    os.mkdir(store)
    command = [fremtest.program("touch_tenth"), "STATUS", "60"]
    v = fremtest.Victim(str(directory), command)
    frem = fremtest.Frem(store)
    try:
        frem.checkpoint(v, "job", "--window", "1500ms")
    finally:
        v.close()
        frem.close()
    return store, v


@pytest.fixture
def copy(saved, tmp_path, frem):
    """(frem with a store that is a copy of the saved one, the saved program, the copy's path)"""
    store = str(tmp_path / "copy")
    shutil.copytree(saved[0], store)
    yield frem.at(store), saved[1], store
    saved[1].close()


def one_line(result, code):
    """A failure that says what it is in one line, and shows no internals."""
    assert result.code == code, result
    assert not result.out
    return result.error()


# ---- what the user typed ----

BAD_NAMES = ["", ".", "..", "a/b", "../a", "a\nb", "\x1b[1mbold", "a\x7f", "x" * 101, "-a"]


@pytest.mark.parametrize("name", BAD_NAMES, ids=map(ascii, BAD_NAMES))
def test_bad_name(frem, store_dir, victim, name):
    v = victim("tcp_echo")
    there = frem.at(store_dir)
    command = ("checkpoint", "--pid", v.pid, f"--name={name}")
    error = there.refuse(USAGE, *command)
    assert "\x1b" not in error
    v.assert_runs()
    assert os.listdir(store_dir) == []
    for command in ("restart", "show"):
        there.refuse(USAGE, command, "--", name)


@pytest.mark.parametrize("name", ["job@0", "job@-1", "job@x", "job@", "job@1@2", "job@99999999999"])
def test_bad_number(frem, store_dir, name):
    frem.at(store_dir).refuse(USAGE, "restart", name)


def test_longest_name(frem, store_dir, victim):
    v = victim("tcp_echo")
    name = "é" * 50
    assert frem.at(store_dir).checkpoint(v, name, "--window", "off")["name"] == name


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["checkpoint", "--name", "job"],
        ["checkpoint", "--pid", "1x", "--name", "job"],
        ["checkpoint", "--pid", "1", "--name", "job", "--window", "soon"],
        ["checkpoint", "--pid", "1", "--name", "job", "--link", "fast"],
        ["restart"],
        ["restart", "a", "b"],
        ["restart", "a", "--resume", "later"],
        ["--store", "gopher://x", "list"],
        ["serve", "--root", "/", "--listen", "nowhere"],
    ],
    ids=" ".join,
)
def test_bad_usage(frem, store_dir, arguments):
    frem.at(store_dir).refuse(USAGE, *arguments)


def test_no_store(frem):
    error = frem.refuse(USAGE, "list")
    assert "store" in error


# ---- the process ----


def test_no_such_process(frem, store_dir):
    child = subprocess.Popen(["true"])
    child.wait()
    error = frem.at(store_dir).refuse(REFUSED, "checkpoint", "--pid", child.pid, "--name", "job")
    assert str(child.pid) in error
    assert os.listdir(store_dir) == []


def test_kernel_thread(frem, store_dir):
    if not fremtest.is_kernel_thread(2):
        pytest.skip("pid 2 is no kernel thread in this pid namespace")
    error = frem.at(store_dir).refuse(REFUSED, "checkpoint", "--pid", 2, "--name", "job")
    assert "kernel thread" in error


def test_zombie(frem, store_dir):
    with subprocess.Popen(["true"]) as child:
        wait_until("a zombie", lambda: fremtest.state_of(child.pid) == "Z")
        frem.at(store_dir).refuse(REFUSED, "checkpoint", "--pid", child.pid, "--name", "job")


def test_itself(frem, store_dir):
    """The test's own process runs the command, which cannot freeze what it depends on."""
    frem.at(store_dir).refuse(REFUSED, "checkpoint", "--pid", os.getpid(), "--name", "job")


def test_criu_refuses(frem, store_dir, victim):
    """CRIU's own words are passed on below the error, and the program goes on."""
    userfaultfd = ctypes.CDLL(None).syscall(USERFAULTFD, 0)
    assert userfaultfd >= 0
    try:
        v = victim("tcp_echo", pass_fds=(userfaultfd,))  # no CRIU can save one
    finally:
        os.close(userfaultfd)
    there = frem.at(store_dir)
    result = there.run("checkpoint", "--pid", v.pid, "--name", "job", code=REFUSED)
    lines = result.err.splitlines()
    assert lines[0].startswith("frem: ") and any("Error" in line for line in lines[1:]), result
    v.assert_runs()
    assert there.json("list") == []


@pytest.mark.parametrize("mode", fremtest.MODES)
def test_pid_taken(copy, victim, mode):
    """The program still runs, so its pid is taken: it is named, and not harmed."""
    there, _, store = copy
    v = victim("touch_tenth", 20)
    there.checkpoint(v, "running", "--window", "1s")
    result = there.run("restart", "running", "--resume", mode, code=REFUSED)
    error = result.error()
    assert f"pid {v.pid}" in error and "touch_tenth" in error
    v.assert_runs()
    assert os.path.exists(os.path.join(store, "running", "1", "manifest"))


# ---- the store ----


@pytest.mark.parametrize("command", [["restart", "job"], ["show", "job"], ["list"]], ids=" ".join)
def test_nothing_there(frem, store_dir, command):
    there = frem.at(store_dir)
    if command == ["list"]:
        assert there.json(*command) == []
        return
    assert "job" in there.refuse(NOT_FOUND, *command)


@pytest.mark.parametrize("name", ["other", "other@1", "job@2"])
@pytest.mark.parametrize("command", ["restart", "show"])
def test_unknown_checkpoint(copy, command, name):
    assert name in copy[0].refuse(NOT_FOUND, command, name)
    assert [c["seq"] for c in copy[0].json("list")] == [1]


@pytest.mark.parametrize("command", [["restart", "job"], ["show", "job"], ["list"]], ids=" ".join)
def test_store_not_reachable(frem, command):
    assert "127.0.0.1:1" in frem.at(UNREACHABLE).refuse(STORE, *command)


def test_checkpoint_into_no_store(frem, victim):
    v = victim("touch_tenth", 20)
    command = ("checkpoint", "--pid", v.pid, "--name", "job")
    assert "127.0.0.1:1" in frem.at(UNREACHABLE).refuse(STORE, *command)
    v.assert_runs()


def stored_bytes(root):
    return sum(
        os.lstat(os.path.join(at, name)).st_size
        for at, _, names in os.walk(root)
        for name in names
    )


def test_store_dies_during_upload(frem, victim, hosts, store_dir):
    """The program goes on, no checkpoint appears, and the next one works."""
    both = hosts(10, 15)
    v = victim("touch_tenth", 60, namespace=both.b)
    with lab.Served(store_dir, both.ip_a, both.a) as served:
        there = frem.at(served.url, namespace=both.b)
        command = ("checkpoint", "--pid", v.pid, "--name", "job", "--window", "1s")
        process = there.start(*command)
        pid = served.process.pid
        wait_until("an upload under way", lambda: lab.received_bytes(pid) > 5_000_000)
        served.process.kill()
        one_line(there.finish(process, 30), STORE)
    v.assert_runs()
    assert "manifest" not in {n for _, _, names in os.walk(store_dir) for n in names}
    with lab.Served(store_dir, both.ip_a, both.a) as served:
        there = frem.at(served.url, namespace=both.b)
        assert there.json("list") == []
        there.checkpoint(v, "job", "--window", "1s")
        v.kill()
        restart = there.restart("job")
        v.restarted(restart)
        v.assert_runs()
        v.kill()
        there.finish(restart)


def test_store_dies_during_restart(frem, hosts, copy):
    """Missing memory is never zeros: the job is ended, and the command says why."""
    _, v, store = copy
    both = hosts(20, 3)
    served = lab.Served(store, both.ip_a, both.a)
    with served:
        there = frem.at(served.url, namespace=both.b)
        restart = there.start("--store-timeout", "2s", "restart", "job")
        v.restarted(restart, 20)
        served.process.kill()
        result = there.finish(restart, 120)
        assert result.code == STORE, result
        assert "gone for 2 s" in result.error()
    assert not fremtest.is_alive(v.pid)
    assert not any(line.startswith("bad") for line in v.lines())


@pytest.mark.parametrize("seconds", [2, pytest.param(20, marks=pytest.mark.slow_link)])
def test_store_is_away_for_a_while(frem, hosts, copy, seconds):
    """The program only waits."""
    _, v, store = copy
    both = hosts(20, 12)
    with lab.Served(store, both.ip_a, both.a) as served:
        there = frem.at(served.url, namespace=both.b)
        restart = there.restart("job")
        v.restarted(restart, 20)
        served.process.kill()
    time.sleep(seconds)  # all this time it is refused
    with lab.Served(store, both.ip_a, both.a, port=served.url.rpartition(":")[2]):
        v.verify(60)
        v.assert_runs()
        v.kill()
        there.finish(restart)


@pytest.mark.parametrize("mode", ["now", "full"])
def test_wrong_bytes_from_one_replica(frem, copy, tmp_path, mode):
    """What one has wrong comes from the other."""
    there, v, store = copy
    right = str(tmp_path / "right")
    shutil.copytree(store, right)
    for name in ("head", "pages", "touch", "manifest"):
        damage(store, name, "flipped")
    restart = there.start("--store", right, "restart", "job", "--resume", mode)
    v.restarted(restart)
    v.assert_runs()
    v.kill()
    there.finish(restart)


def test_store_is_full(frem, victim, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "frem-test", small], check=True)
    try:
        v = victim("touch_tenth", 20)
        with lab.Served(str(small)) as served:
            there = frem.at(served.url)
            command = ("checkpoint", "--pid", v.pid, "--name", "job")
            error = one_line(there.finish(there.start(*command)), STORE)
            assert "full" in error.lower() or "space" in error.lower()
            assert there.json("list") == []
        v.assert_runs()
        assert stored_bytes(small) == 0
    finally:
        subprocess.run(["umount", small], check=True)


# ---- damaged checkpoints ----


def damage(store, name, how):
    path = os.path.join(store, "job", "1", name)
    size = os.path.getsize(path)
    assert size > 0
    with open(path, "r+b") as f:
        if how == "truncated":
            f.truncate(size - size // 3 - 1)
        else:
            f.seek(size // 2)
            byte = f.read(1)[0]
            f.seek(size // 2)
            f.write(bytes([byte ^ 0x10]))


HOW = ("truncated", "flipped")


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("mode", fremtest.MODES)
@pytest.mark.parametrize("name", ["head", "pages", "manifest"])
def test_damaged(copy, name, mode, how):
    """Refused with the object and the offset; whatever ran by then is ended."""
    there, v, store = copy
    damage(store, name, how)
    result = there.run("restart", "job", "--resume", mode, code=DAMAGED)
    error = result.error()
    assert name in error
    if name != "manifest":
        assert re.search(r"offset \d+|\d+ bytes", error), error
    assert not fremtest.is_alive(v.pid)
    assert not any(line.startswith("bad") for line in v.lines())


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("mode", fremtest.MODES)
def test_damaged_touch_set(copy, mode, how):
    """A restart does without it, and says so."""
    there, v, store = copy
    damage(store, "touch", how)
    restart = there.restart("job", "--resume", mode)
    v.restarted(restart)
    v.assert_runs()
    v.kill()
    result = there.finish(restart)
    assert result.code == 137
    if mode != "full":
        assert "touch" in result.err


@pytest.mark.parametrize("name", ["head", "pages", "manifest"])
def test_missing_object(copy, name):
    there, v, store = copy
    os.unlink(os.path.join(store, "job", "1", name))
    code = NOT_FOUND if name == "manifest" else DAMAGED
    result = there.run("restart", "job@1", code=code)
    assert "job@1" in result.error()
    assert not fremtest.is_alive(v.pid)


def test_missing_touch_set(copy):
    there, v, store = copy
    os.unlink(os.path.join(store, "job", "1", "touch"))
    restart = there.restart("job", "--resume", "touch-set")
    v.restarted(restart)
    v.assert_runs()
    v.kill()
    there.finish(restart)


def rewrite_manifest(store, **members):
    """Another manifest, in itself right: docs/format.md says what its digest is of."""

    def canonical(document):
        return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    path = os.path.join(store, "job", "1", "manifest")
    with open(path, encoding="utf-8") as f:
        document = {**json.load(f), **members}
    del document["digest"]
    digest = fremtest.blake3(canonical(document).encode())
    with open(path, "w", encoding="utf-8") as f:
        f.write(canonical({**document, "digest": digest.hex()}) + "\n")


def test_newer_format(copy):
    there, v, store = copy
    rewrite_manifest(store, version=99)
    for command in ("restart", "show"):
        error = there.refuse(DAMAGED, command, "job@1")
        assert "newer frem" in error and "99" in error
    assert not fremtest.is_alive(v.pid)


def test_touch_set_of_another_checkpoint(copy):
    """It is bound to the manifest's digest: a restart does without, and says so."""
    there, v, store = copy
    rewrite_manifest(store, created=1)
    restart = there.restart("job")
    v.restarted(restart)
    v.verify()
    v.kill()
    result = there.finish(restart)
    assert "another checkpoint" in result.err, result


def test_object_that_shrinks_while_it_is_read(frem, hosts, copy):
    """What is missing all of a sudden is damage, and ends the job."""
    _, v, store = copy
    both = hosts(10, 10)
    with lab.Served(store, both.ip_a, both.a) as served:
        there = frem.at(served.url, namespace=both.b)
        restart = there.restart("job", "--record", "off")
        v.restarted(restart, 20)
        damage(store, "pages", "truncated")
        error = one_line(there.finish(restart, 60), DAMAGED)
        assert "pages" in error and "offset" in error
    assert not fremtest.is_alive(v.pid)


@pytest.mark.parametrize("name", ["manifest", "touch"])
def test_hostile_object(copy, name):
    """Rubbish of any kind is damage, not a crash."""
    there, v, store = copy
    path = os.path.join(store, "job", "1", name)
    for rubbish in (b"", b"{}", b"[" * 100_000, os.urandom(10_000), b"\xff" * 4096):
        with open(path, "wb") as f:
            f.write(rubbish)
        if name == "manifest":
            there.refuse(DAMAGED, "show", "job@1")
            there.refuse(DAMAGED, "restart", "job@1")
        else:
            there.run("show", "job@1")
    assert not fremtest.is_alive(v.pid)


# ---- the machine ----


def fake_criu(directory, version):
    path = os.path.join(directory, "criu")
    with open(path, "w", encoding="utf-8") as f:
        f.write(f"#!/bin/sh\necho 'Version: {version}'\n")
    os.chmod(path, 0o755)
    return path


@pytest.mark.parametrize("which", ["missing", "too old", "no CRIU"])
def test_unusable_criu(copy, victim, tmp_path, which):
    there, saved_program, _ = copy
    path = {
        "missing": lambda: str(tmp_path / "nowhere"),
        "too old": lambda: fake_criu(tmp_path, "3.17.1"),
        "no CRIU": lambda: "/bin/true",
    }[which]()
    there = there.at(FREM_CRIU=path)
    v = victim("touch_tenth", 20)
    error = there.refuse(UNABLE, "checkpoint", "--pid", v.pid, "--name", "new")
    if which == "too old":
        assert "3.17.1" in error and "4.2" in there.run("check", code=UNABLE).out + error
    v.assert_runs()
    there.refuse(UNABLE, "restart", "job")
    assert not fremtest.is_alive(saved_program.pid)
    there.run("check", code=UNABLE)
    assert [c["name"] for c in there.json("list")] == ["job"]


class Filter(ctypes.Structure):
    """struct sock_filter"""

    _fields_ = [
        ("code", ctypes.c_ushort),
        ("jt", ctypes.c_ubyte),
        ("jf", ctypes.c_ubyte),
        ("k", ctypes.c_uint),
    ]


class FilterProgram(ctypes.Structure):
    """struct sock_fprog"""

    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.POINTER(Filter))]


def forbid(number):
    """A function for preexec_fn: that system call says EPERM from then on."""
    filters = (Filter * 4)(
        Filter(0x20, 0, 0, 0),  # load the number
        Filter(0x15, 0, 1, number),
        Filter(0x06, 0, 0, 0x00050001),  # SECCOMP_RET_ERRNO | EPERM
        Filter(0x06, 0, 0, 0x7FFF0000),  # SECCOMP_RET_ALLOW
    )
    program = FilterProgram(4, filters)

    def enter():
        libc = ctypes.CDLL(None)
        assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
        assert libc.prctl(22, 2, ctypes.byref(program), 0, 0) == 0  # PR_SET_SECCOMP

    return enter


def test_userfaultfd_forbidden(copy):
    """As in many containers: a lazy restart cannot be, and the full one still can."""
    there, v, _ = copy
    enter = forbid(USERFAULTFD)
    for mode in ("now", "touch-set"):
        restart = there.restart("job", "--resume", mode, preexec_fn=enter)
        error = one_line(there.finish(restart), UNABLE)
        assert "userfaultfd" in error
    assert not fremtest.is_alive(v.pid)
    restart = there.restart("job", "--resume", "full", preexec_fn=enter)
    v.restarted(restart)
    v.verify()
    v.kill()
    there.finish(restart)


def test_no_right_to_trace(copy):
    """Without CAP_SYS_PTRACE, which containers lack, too."""
    there, v, store = copy
    command = ["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-all", FREM, "--store", store]
    done = subprocess.run(
        [*command, "restart", "job"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode in (UNABLE, REFUSED), done
    assert [x for x in done.stderr.splitlines() if x.startswith("frem: ")], done
    assert not fremtest.is_alive(v.pid)


@pytest.fixture
def readable_frem():
    """A copy of the binary that every user can run."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="fremtest-") as directory:
        os.chmod(directory, 0o755)
        yield shutil.copy(FREM, directory)


def test_not_root(readable_frem, victim, saved):
    """Says that it takes root; the program of the other user is not touched."""
    v = victim("tcp_echo")
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", readable_frem]
    for arguments in (
        ["checkpoint", "--pid", str(v.pid), "--name", "job"],
        ["restart", "job"],
        ["check"],
    ):
        done = subprocess.run(
            [*command, "--store", "/nonexistent", *arguments],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env={**os.environ, "FREM_CRIU": fremtest.CRIU},
        )
        assert done.returncode == UNABLE, done
        assert "root" in done.stderr + done.stdout, done
    v.assert_runs()


@pytest.fixture
def tiny_disk(tmp_path, leakcheck):
    """A function that mounts a file system of a few kilobytes."""
    at = tmp_path / "tiny"
    at.mkdir()
    mounted = []

    def mount(kilobytes):
        options = f"size={kilobytes}k"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "frem-test", at], check=True)
        mounted.append(at)
        return str(at)

    yield mount
    for each in mounted:
        subprocess.run(["umount", each], check=True)


@pytest.mark.parametrize("kilobytes", [4, 64, 1024, 8192])
def test_disk_full_at_checkpoint(frem, store_dir, victim, tiny_disk, kilobytes):
    there = frem.at(store_dir, FREM_RUN_DIR=tiny_disk(kilobytes))
    v = victim("touch_tenth", 20)
    command = ("checkpoint", "--pid", v.pid, "--name", "job")
    error = one_line(there.finish(there.start(*command)), FAILED)
    assert "No space left on device" in error
    v.assert_runs()
    assert there.json("list") == []
    assert os.listdir(there.environment["FREM_RUN_DIR"]) == []


@pytest.mark.parametrize("kilobytes, mode", [(4, "now"), (16, "touch-set"), (8192, "full")])
def test_disk_full_at_restart(copy, tiny_disk, kilobytes, mode):
    there, v, _ = copy
    there = there.at(FREM_RUN_DIR=tiny_disk(kilobytes))
    error = one_line(there.finish(there.start("restart", "job", "--resume", mode)), FAILED)
    assert "No space left on device" in error
    assert not fremtest.is_alive(v.pid)
    assert os.listdir(there.environment["FREM_RUN_DIR"]) == []

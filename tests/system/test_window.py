# SPDX-License-Identifier: GPL-2.0-or-later
"""The tracking window: how it ends, and that nothing that goes wrong in it harms the program."""

import ctypes
import glob
import os
import re
import signal
import struct
import time

import pytest

import fremtest
from fremtest import lab
from lab import wait_until

libc = ctypes.CDLL(None, use_errno=True)

# What executes another program when asked to.
EXECUTES = """
import os, signal, time
signal.signal(signal.SIGUSR2, lambda *_: os.execv("/bin/sleep", ["sleep", "600"]))
ready = int(os.environ["READY_FD"])
os.write(ready, b"r")
os.close(ready)
while True:
    time.sleep(0.01)
"""

# A session within a session, so that each can be checkpointed by itself.
FAMILY = """
import os, sys, time
child = os.fork()
ready = int(os.environ["READY_FD"])
if child == 0:
    os.setsid()
    os.write(ready, b"r")
os.close(ready)
while True:
    time.sleep(0.01)
"""


def python(tmp_path, script):
    return fremtest.Victim(str(tmp_path), ["/usr/bin/python3", "-c", script])


def whole(there, pid, *options):
    """A checkpoint with a short window, from beginning to end."""
    command = ("-v", "checkpoint", "--pid", pid, "--name", "job", "--window", "500ms", *options)
    return there.run(*command, timeout=20)


def start(there, pid, *options):
    """A checkpoint under way, once its window is open."""
    before = set(windows())
    process = there.start("-v", "checkpoint", "--pid", pid, "--name", "job", *options)

    def is_open():
        assert process.poll() is None, process.communicate()
        return set(windows()) - before

    wait_until("the window", is_open)
    return process


def windows():
    """The sockets of open windows."""
    return glob.glob(os.environ["FREM_RUN_DIR"] + "/frem-*/window")


def wait_for(there, name):
    """Until a checkpoint is in the store."""
    seq = int(name.split("@")[1])
    wait_until(name, lambda: seq in [c["seq"] for c in there.json("list", "job")])


def touch_of(there, name):
    return there.json("show", name)["touch"]


def answered(result):
    """(windows asked, of them silent, milliseconds) of a checkpoint with -v."""
    found = re.search(r"asked (\d+) .* in ([\d.]+) ms, (\d+) did not close", result.err)
    return int(found[1]), int(found[3]), float(found[2])


def restart_works(there, v, name):
    v.kill()
    process = there.restart(name)
    v.restarted(process)
    v.verify()
    v.kill()
    there.finish(process)


# ---- the next checkpoint ----


def test_hand_over(stored, victim):
    """The first closes its window at once, and both are whole."""
    v = victim("touch_tenth", 10)
    first = start(stored, v.pid, "--window", "60s")
    wait_for(stored, "job@1")
    second = whole(stored, v.pid)
    assert second.out == "job@2\n", second
    assert answered(second)[:2] == (1, 0)
    result = stored.finish(first, 20)
    assert result.code == 0, result
    assert "the next checkpoint closes the tracking window after" in result.error()
    one, two = touch_of(stored, "job@1"), touch_of(stored, "job@2")
    assert (one["ended"], two["ended"]) == ("next-checkpoint", "asked")
    # the tenth that it uses was seen by both
    assert one["pages"] == pytest.approx(two["pages"], rel=0.05)
    v.assert_runs()
    restart_works(stored, v, "job@1")
    restart_works(stored, v, "job@2")


def test_hand_over_during_the_upload(frem, victim, hosts, store_dir):
    """Numbers follow the order of the checkpoints, though the first is not stored yet."""
    both = hosts(10, 2.5)
    v = victim("touch_tenth", 8, namespace=both.b)
    with lab.Served(store_dir, both.ip_a, both.a) as served:
        there = frem.at(served.url, namespace=both.b)
        first = start(there, v.pid)
        second = start(there, v.pid, "--window", "500ms")
        assert not there.json("list")
        results = there.finish(first, 30), there.finish(second, 30)
        assert [(r.code, r.out) for r in results] == [(0, "job@1\n"), (0, "job@2\n")], results
        assert touch_of(there, "job@1")["ended"] == "next-checkpoint"


def test_a_hung_frem_does_not_hold_up(stored, victim):
    v = victim("touch_tenth", 10)
    first = start(stored, v.pid, "--window", "60s")
    wait_for(stored, "job@1")
    first.send_signal(signal.SIGSTOP)
    second = whole(stored, v.pid)
    assert second.out == "job@2\n", second
    asked, silent, ms = answered(second)
    assert (asked, silent) == (1, 1) and 200 <= ms < 400
    assert touch_of(stored, "job@2")["pages"] > 0
    first.send_signal(signal.SIGCONT)
    assert stored.finish(first, 20).code == 0
    assert touch_of(stored, "job@1")["ended"] == "next-checkpoint"
    v.assert_runs()


def test_trees_that_overlap(stored, tmp_path):
    """A window of a part is closed by a checkpoint of the whole, and the other way round."""
    v = python(tmp_path, FAMILY)
    try:
        (child,) = lab.descendants(v.pid)
        part = start(stored, child, "--window", "60s")
        wait_for(stored, "job@1")
        both = start(stored, v.pid, "--window", "60s")
        assert stored.finish(part, 20).code == 0
        wait_for(stored, "job@2")
        whole(stored, child)
        assert stored.finish(both, 20).code == 0
    finally:
        v.close()
    assert [touch_of(stored, f"job@{n}")["ended"] for n in (1, 2, 3)] == [
        "next-checkpoint",
        "next-checkpoint",
        "asked",
    ]


def test_others_are_left_alone(stored, victim):
    v, other = victim("touch_tenth", 10), victim("touch_tenth", 20)
    first = start(stored, v.pid, "--window", "2s")
    command = ("-v", "checkpoint", "--pid", other.pid, "--name", "other", "--window", "100ms")
    second = stored.run(*command)
    assert second.out == "other@1\n" and answered(second)[:2] == (1, 0)
    assert stored.finish(first, 20).code == 0
    assert touch_of(stored, "job@1")["ended"] == "asked"


# ---- frem ends ----


def test_killed_at_ten_points(stored, victim):
    """kill -9: the program goes on, what is stored is whole, and the next one tracks again."""
    v = victim("touch_tenth", 10)
    counted = v.verify()
    for point in range(10):
        process = start(stored, v.pid, "--window", "60s")
        time.sleep(point * 0.05)  # which moment it is, is the point
        process.kill()
        stored.finish(process)
        assert fremtest.tracer_of(v.pid) == 0 and fremtest.state_of(v.pid) in "RSD"
        now = v.verify()
        assert now > counted
        counted = now
    wait_until("the janitors", lambda: not os.listdir(os.environ["FREM_RUN_DIR"]), 10)
    last = stored.checkpoint(v, "job", "--window", "500ms")
    assert last["touch"]["pages"] > 0 and last["touch"]["ended"] == "asked"
    complete = [c["seq"] for c in stored.json("list", "job")]
    assert len(complete) >= 3 and complete[-1] == last["seq"]
    restart_works(stored, v, f"job@{complete[-2]}")


def test_asked_to_end(stored, victim):
    """SIGTERM in the window: what there is by then is stored."""
    v = victim("touch_tenth", 10)
    process = start(stored, v.pid, "--window", "60s")
    wait_for(stored, "job@1")
    process.terminate()
    assert stored.finish(process, 10).code == 0
    touch = touch_of(stored, "job@1")
    assert touch["ended"] == "asked" and touch["pages"] > 0 and touch["window_ms"] < 30_000


# ---- something happens to the program ----


def one_line_about(result, words):
    assert result.code == 0, result
    lines = [line for line in result.err.splitlines() if words in line]
    assert len(lines) == 1 and lines[0].startswith("frem: "), result
    return lines[0]


def test_the_program_ends(stored, victim):
    v = victim("touch_tenth", 10)
    process = start(stored, v.pid, "--window", "60s")
    wait_for(stored, "job@1")
    v.kill()
    one_line_about(stored.finish(process, 10), "the program ended")
    assert touch_of(stored, "job@1")["ended"] == "program-ended"
    restart_works(stored, v, "job@1")


def test_the_program_executes_another(stored, tmp_path):
    v = python(tmp_path, EXECUTES)
    try:
        process = start(stored, v.pid, "--window", "60s")
        wait_for(stored, "job@1")
        os.kill(v.pid, signal.SIGUSR2)
        one_line_about(stored.finish(process, 10), "the program executed another one")
        assert fremtest.is_alive(v.pid)
    finally:
        v.close()
    assert touch_of(stored, "job@1")["ended"] == "program-ended"


def test_the_program_is_stopped(stored, victim):
    v = victim("touch_tenth", 10)
    process = start(stored, v.pid, "--window", "700ms")
    os.kill(v.pid, signal.SIGSTOP)
    result = stored.finish(process, 10)
    assert fremtest.state_of(v.pid) == "T"
    os.kill(v.pid, signal.SIGCONT)
    one_line_about(result, "the program was stopped in the tracking window")
    assert touch_of(stored, "job@1")["ended"] == "asked"
    v.assert_runs()


def test_the_program_is_traced(stored, victim):
    """A debugger that takes it in the window keeps it."""
    attach, detach = 16, 17
    v = victim("touch_tenth", 10)
    process = start(stored, v.pid, "--window", "700ms")
    assert libc.ptrace(attach, v.pid, None, None) == 0
    os.waitpid(v.pid, 0)
    result = stored.finish(process, 10)
    assert fremtest.tracer_of(v.pid) == os.getpid()
    assert libc.ptrace(detach, v.pid, None, None) == 0
    one_line_about(result, "the program was stopped in the tracking window")
    assert touch_of(stored, "job@1")["ended"] == "asked"
    v.assert_runs()


# ---- something is missing ----


def without_bpf():
    """For preexec_fn: bpf(2) is refused as where BPF rights are lacking, and nothing else is."""
    load, equal, give = 0x20, 0x15, 0x06  # of the architecture's number; or else skip; return
    bpf, refuse, allow = 321, 0x00050000 | 1, 0x7FFF0000  # EPERM
    code = [(load, 0, 0, 0), (equal, 0, 1, bpf), (give, 0, 0, refuse), (give, 0, 0, allow)]
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *c) for c in code))
    filters = struct.pack("@HP", len(code), ctypes.addressof(program))
    set_seccomp, filter_mode = 22, 2
    if libc.prctl(set_seccomp, filter_mode, ctypes.create_string_buffer(filters), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "seccomp")


def test_no_bpf(stored, victim):
    """A checkpoint never fails because tracking cannot work."""
    v = victim("touch_tenth", 10)
    command = ("--json", "checkpoint", "--pid", v.pid, "--name", "job", "--window", "60s")
    result = stored.run(*command, preexec_fn=without_bpf)
    assert result.json()["touch"] is None
    line = one_line_about(result, "tracking: ")
    assert "its first restart will record one instead" in line
    assert touch_of(stored, "job@1") is None
    restart_works(stored, v, "job@1")


# ---- what is shown ----

COSTS = ("prepare_ms", "frozen_ms", "scan_ms", "insert_ms", "descriptor_ms")


def test_costs_and_curve(stored, tmp_path):
    v = python(tmp_path, FAMILY)
    try:
        made = stored.checkpoint(v, "job", "--window", "500ms")["touch"]
    finally:
        v.close()
    shown = stored.json("show", "job@1")
    touch = shown["touch"]
    assert touch["overhead_ms"] == pytest.approx(sum(touch[c] for c in COSTS))
    assert touch["overhead_share"] == pytest.approx(touch["overhead_ms"] / touch["window_ms"])
    assert all(touch[c] > 0 for c in ("frozen_ms", "scan_ms", "descriptor_ms"))
    assert made.pop("upload_ms") > 0 and made == pytest.approx(touch)
    assert len(shown["tasks"]) == 2 and all(t["touch_pages"] for t in shown["tasks"])
    assert sum(t["touch_pages"] for t in shown["tasks"]) == touch["pages"]
    assert touch["share"] == pytest.approx(touch["pages"] / shown["lazy_pages"])
    curve = touch["curve"]
    assert 1 <= len(curve) <= 60
    assert curve[-1] == {"ms": touch["window_ms"], "pages": touch["pages"]}
    for before, after in zip(curve, curve[1:]):
        assert before["ms"] < after["ms"] and before["pages"] <= after["pages"]

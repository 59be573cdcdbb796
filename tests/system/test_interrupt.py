# SPDX-License-Identifier: GPL-2.0-or-later
"""Ctrl-C at any moment: nothing stopped, nothing half restored, nothing left behind.

The moments are spread over the time that the command takes when it is let alone. What is left
behind is looked for by the leakcheck of every test.
"""

import contextlib
import os
import signal
import time

import pytest

import fremtest
from fremtest import lab

MOMENTS = 10
STOPPED = {1, -signal.SIGINT, 128 + signal.SIGINT}


def interrupt_at(process, delay, everyone):
    """As a terminal does it, to the whole foreground group, or to the command alone."""
    time.sleep(delay)  # which moment it is, is the point
    with contextlib.suppress(ProcessLookupError):
        if everyone:
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.send_signal(signal.SIGINT)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """(store, ended program, seconds a checkpoint takes, seconds until a restart runs)"""
    directory = tmp_path_factory.mktemp("saved")
    store = str(directory / "store")
    os.mkdir(store)
    command = [fremtest.program("touch_tenth"), "STATUS", "200"]
    v = fremtest.Victim(str(directory), command)
    frem = fremtest.Frem(store)
    try:
        start = time.monotonic()
        frem.checkpoint(v, "job", "--window", "1s")
        checkpoint_takes = time.monotonic() - start
        v.kill()
        start = time.monotonic()
        restart = frem.restart("job")
        v.restarted(restart)
        restart_takes = time.monotonic() - start
    finally:
        v.close()
        frem.close()
    return store, v, checkpoint_takes, restart_takes


def files_below(directory):
    return [name for _, _, names in os.walk(directory) for name in names]


def wait_for_upload(served):
    pid = served.process.pid
    lab.wait_until("an upload under way", lambda: lab.received_bytes(pid) > 1_000_000)


def every_checkpoint_works(there):
    """What is listed is whole."""
    for found in there.json("list"):
        there.json("show", f"{found['name']}@{found['seq']}")
    return there.json("list")


@pytest.mark.parametrize("moment", range(MOMENTS))
def test_checkpoint(stored, served_store, saved, victim, moment):
    v = victim("touch_tenth", 200)
    process = stored.start("checkpoint", "--pid", v.pid, "--name", "job", "--window", "1s")
    interrupt_at(process, saved[2] * moment / MOMENTS, moment % 2)
    result = stored.finish(process, 20)
    assert result.code in STOPPED | {0}, result
    v.assert_runs()
    listed = every_checkpoint_works(stored)
    if result.code == 0:
        assert [c["seq"] for c in listed] == [1]
    elif not listed:
        assert not files_below(served_store.root)


@pytest.mark.parametrize("moment", range(4))
def test_checkpoint_during_upload(frem, victim, hosts, store_dir, moment):
    """An interrupted upload takes back what it has stored."""
    both = hosts(20, 10)
    v = victim("touch_tenth", 40, namespace=both.b)
    with lab.Served(store_dir, both.ip_a, both.a) as served:
        there = frem.at(served.url, namespace=both.b)
        process = there.start("checkpoint", "--pid", v.pid, "--name", "job", "--window", "1s")
        wait_for_upload(served)
        interrupt_at(process, moment * 0.7, moment % 2)
        result = there.finish(process, 20)
        assert result.code in STOPPED, result
        v.assert_runs()
        assert there.json("list") == []
        lab.wait_until("everything to be taken back", lambda: not files_below(store_dir), 10)


@pytest.mark.parametrize("mode", fremtest.MODES)
@pytest.mark.parametrize("moment", range(MOMENTS))
def test_restart(frem, saved, moment, mode):
    """Interrupted before the job runs there is none; afterwards the job has got the signal."""
    store, v, _, takes = saved
    there = frem.at(store)
    process = there.restart("job", "--resume", mode)
    interrupt_at(process, takes * 1.3 * moment / (MOMENTS - 1), moment % 2)
    result = there.finish(process, 20)
    assert result.code in STOPPED, result
    assert not fremtest.is_alive(v.pid)
    assert not any(line.startswith("bad") for line in v.lines())


@pytest.mark.parametrize("moment", range(4))
def test_restart_over_a_slow_link(frem, saved, hosts, moment):
    """While the touch set is on its way and the tasks stand still."""
    store, v, _, _ = saved
    both = hosts(50, 10)
    with lab.Served(store, both.ip_a, both.a) as served:
        there = frem.at(served.url, namespace=both.b)
        process = there.restart("job", "--resume", "touch-set")
        interrupt_at(process, 0.1 + moment * 0.5, moment % 2)
        result = there.finish(process, 20)
        assert result.code in STOPPED, result
    assert not fremtest.is_alive(v.pid)


@pytest.mark.parametrize("moment", range(3))
def test_detached_restart(frem, saved, hosts, moment):
    store, v, _, _ = saved
    both = hosts(50, 10)
    with lab.Served(store, both.ip_a, both.a) as served:
        there = frem.at(served.url, namespace=both.b)
        process = there.restart("job", "--resume", "touch-set", "--detach")
        interrupt_at(process, 0.1 + moment * 0.5, moment % 2)
        result = there.finish(process, 20)
        assert result.code in STOPPED, result
        assert not fremtest.is_alive(v.pid)


def test_interrupted_restart_puts_the_log_back(frem, victim, hosts, store_dir, tmp_path):
    """A log that was rolled back for a restart that did not happen is whole again."""
    log = tmp_path / "program.log"
    with open(log, "ab") as out:
        v = victim("logger", stdout=out)
    frem.at(store_dir).checkpoint(v, "job", "--window", "1s")
    v.assert_runs()
    v.kill()
    old = log.read_bytes()
    both = hosts(300, 0.05)
    with lab.Served(store_dir, both.ip_a, both.a) as served:
        there = frem.at(served.url, namespace=both.b)
        process = there.restart("job", "--resume", "touch-set")
        tail = tmp_path / "program.log.frem-tail-job@1"
        lab.wait_until("the log to be rolled back", tail.exists, 60)
        process.send_signal(signal.SIGINT)
        result = there.finish(process, 30)
        assert result.code in STOPPED, result
    assert log.read_bytes() == old
    assert not tail.exists()

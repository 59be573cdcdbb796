# SPDX-License-Identifier: GPL-2.0-or-later
"""kill -9 of the pager process: the program only waits. Of the keeper too: the program is ended."""

import os
import random
import signal
import time

import pytest

from fremtest import FAILED, is_alive, lab, read_stats, wait_until

KILLS = 6


def process_named(name, above):
    """Of the pager's processes; None while it is not there."""
    found = lab.descendants(above).items()
    return next((pid for pid, (_, state, comm) in found if comm == name and state != "Z"), None)


def kill(restart, name):
    pid = wait_until(name, lambda: process_named(name, restart.pid), 10)
    os.kill(pid, signal.SIGKILL)
    return pid


def restart_of_a_busy_program(frem, victim, both, served, store_dir, *options):
    """Four threads change 40 MB at random and compare, while they come over a slow link."""
    v = victim("mutate", random.randrange(1_000_000), 4, 2500, 1000)
    frem.at(store_dir).checkpoint(v, "job", "--window", "1s")
    v.kill()
    restart = frem.at(served.url, namespace=both.b).restart("job", *options)
    v.restarted(restart, 20)
    os.kill(v.pid, signal.SIGUSR2)
    return v, restart


def test_killed_pager(frem, victim, hosts, store_dir, tmp_path):
    stats = str(tmp_path / "stats.json")
    both = hosts(10, 12)
    with lab.Served(store_dir, both.ip_a, both.a) as served:
        v, restart = restart_of_a_busy_program(
            frem, victim, both, served, store_dir, "--stats", stats
        )
        for _ in range(KILLS):
            time.sleep(random.uniform(0.02, 0.5))
            kill(restart, "frem-pager")
        assert not os.path.exists(stats), "it was over too soon"
        numbers = read_stats(stats, restart, 60)
        assert v.verify() > 100
        assert numbers["bytes_fetched"] > numbers["pages_total"] * 4096 * 0.9
        v.kill()
        result = frem.finish(restart)
    assert result.err.count("the pager process was killed") == 1, result


def test_killed_keeper(frem, victim, hosts, store_dir):
    both = hosts(10, 12)
    with lab.Served(store_dir, both.ip_a, both.a) as served:
        v, restart = restart_of_a_busy_program(frem, victim, both, served, store_dir)
        kill(restart, "frem-keeper")
        result = frem.finish(restart, 30)
    assert result.code == FAILED and "killed" in result.error(), result
    assert not is_alive(v.pid)
    assert not any(line.startswith("bad") for line in v.lines())


def kill_together(pids, stop):
    """So that none of them sees another one's end, where they are stopped first."""
    for number in (signal.SIGSTOP, signal.SIGKILL) if stop else (signal.SIGKILL,):
        for pid in pids:
            os.kill(pid, number)


def assert_ended_before_a_wrong_byte(v):
    wait_until("the end of the program", lambda: not is_alive(v.pid), 30)
    assert not any(line.startswith("bad") for line in v.lines())


@pytest.mark.parametrize("stop", (False, True), ids=("back to back", "stopped first"))
def test_keeper_and_pager_killed(frem, victim, hosts, store_dir, stop):
    both = hosts(10, 12)
    with lab.Served(store_dir, both.ip_a, both.a) as served:
        v, restart = restart_of_a_busy_program(frem, victim, both, served, store_dir)
        time.sleep(random.uniform(0, 0.5))
        names = ("frem-keeper", "frem-pager")
        kill_together([process_named(name, restart.pid) for name in names], stop)
        result = frem.finish(restart, 30)
    assert result.code == FAILED and "the keeper process was killed" in result.error(), result
    assert_ended_before_a_wrong_byte(v)


def test_all_that_is_called_frem_killed(frem, victim, hosts, store_dir):
    """Of a detached restart, nothing else is left to notice."""
    both = hosts(10, 12)
    with lab.Served(store_dir, both.ip_a, both.a) as served:
        v = victim("mutate", random.randrange(1_000_000), 4, 2500, 1000)
        frem.at(store_dir).checkpoint(v, "job", "--window", "1s")
        v.kill()
        frem.at(served.url, namespace=both.b).run("restart", "job", "--detach")
        os.kill(v.pid, signal.SIGUSR2)
        keeper = process_named("frem-keeper", os.getpid())
        worker = lab.processes()[keeper][0]
        kill_together([worker, keeper, process_named("frem-pager", keeper)], False)
        assert_ended_before_a_wrong_byte(v)

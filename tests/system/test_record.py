# SPDX-License-Identifier: GPL-2.0-or-later
"""A restart records its own first touches, and the next one is fast."""

import json
import os
import signal
import subprocess

import pytest

from fremtest import USAGE, is_alive, lab, program, read_stats, wait_until

TERMINATED = 128 + signal.SIGTERM
SETTLED = 3  # recorded restarts


def touch_of(frem, name="job@1"):
    return frem.json("show", name)["touch"]


def touch_file(store_dir):
    return os.path.join(store_dir, "job", "1", "touch")


def stamp(store_dir):
    """Changes with every touch object that is stored."""
    try:
        found = os.stat(touch_file(store_dir))
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def runs_of(store_dir, lazy_pages):
    """The runs of the stored touch set: (first, pages, ms, misses)."""
    with open(touch_file(store_dir), "rb") as f:
        done = subprocess.run(
            [program("touch_runs"), str(lazy_pages)],
            stdin=f,
            capture_output=True,
            text=True,
            check=True,
        )
    return [tuple(map(int, line.split())) for line in done.stdout.splitlines()]


def wait_stored(store_dir, before):
    wait_until("the touch object", lambda: stamp(store_dir) != before, 10)


def end(victim, restart, frem):
    restart.send_signal(signal.SIGTERM)
    result = frem.finish(restart)
    assert result.code == TERMINATED, result
    wait_until("the job's end", lambda: not is_alive(victim.pid), 10)
    return result


def pagers_gone():
    lab.reap_orphans()
    running = {name for _, _, name in lab.descendants(os.getpid()).values()}
    return not running & {"frem-pager", "frem-keeper"}


def untracked(frem, v, name="job"):
    """A checkpoint without a touch set, and its program gone."""
    frem.checkpoint(v, name, "--window", "off")
    assert touch_of(frem, f"{name}@1") is None
    v.kill()


def test_second_restart_is_fast(frem, victim, hosts, store_dir, tmp_path):
    """Far from the store: what the first restart waited for page by page, the second has."""
    v = victim("touch_tenth", 10)
    untracked(frem.at(store_dir), v)
    both = hosts(50, 4)
    stats = []
    with lab.Served(store_dir, both.ip_a, both.a) as served:
        there = frem.at(served.url, namespace=both.b)
        for number, how in ((1, "3s"), (2, "auto")):
            before = stamp(store_dir)
            stats_file = str(tmp_path / f"stats{number}.json")
            restart = there.restart("job", "--record", how, "--stats", stats_file)
            v.restarted(restart)
            stats.append(read_stats(stats_file, restart, 30))
            wait_stored(store_dir, before)
            v.verify()
            end(v, restart, there)
    touch = touch_of(frem.at(store_dir))
    first, second = stats
    assert first["pages_touch"] == 0
    assert first["recorded_pages"] == pytest.approx(first["pages_total"] / 10, rel=0.05)
    assert second["pages_touch"] == first["recorded_pages"]
    # many a fault of the first waited for bulk data that was on its way
    assert first["demand_faults"] >= 2
    assert second["demand_faults"] <= first["demand_faults"] / 2
    assert second["stall_ms"] < first["stall_ms"] / 4
    assert second["recorded_ms"] > 1500, "the image takes two seconds and a half"
    assert second["recorded_pages"] == pytest.approx(first["recorded_pages"], rel=0.05)
    assert (touch["backend"], touch["ended"]) == ("restart", "asked")
    assert touch["window_ms"] == pytest.approx(first["recorded_ms"], abs=2)


def test_refinement(stored, victim, store_dir, tmp_path):
    """What two restarts in a row do not use moves behind what they do; then the set is settled."""
    v = victim("two_halves", 8)
    untracked(stored, v)
    shown = stored.json("show", "job@1")
    lazy, halves = shown["lazy_pages"], []
    for number in range(1, SETTLED + 2):
        if number == 2:
            with open(v.status + ".second", "wb"):
                pass
        before = stamp(store_dir)
        stats_file = str(tmp_path / f"stats{number}.json")
        restart = stored.restart("job", "--stats", stats_file)
        v.restarted(restart)
        stats = read_stats(stats_file, restart, 30)
        if number <= SETTLED:
            wait_stored(store_dir, before)
        v.verify()
        end(v, restart, stored)
        # by far most pages are in the one mapping, the halves in its order
        runs = runs_of(store_dir, lazy)
        halves.append([(first >= lazy / 2, misses) for first, _, _, misses in runs])
    assert stats["recorded_pages"] == 0 and stats["recorded_ms"] == 0, "it is settled"
    assert stats["demand_faults"] < 5
    assert stamp(store_dir) == before

    def misses(number, second):
        return {m for half, m in halves[number - 1] if half == second}

    assert misses(1, False) == {0}
    assert misses(2, True) == {0} and 1 in misses(2, False)
    assert misses(3, True) == {0} and 2 in misses(3, False)
    behind = [m >= 2 for _, m in halves[2]]
    assert behind == sorted(behind), "they are behind all others"
    assert 10 <= sum(behind) <= len(behind) - 10
    assert touch_of(stored)["pages"] == pytest.approx(lazy / 10, rel=0.1), "none is dropped"


def test_kill_while_recording(frem, victim, hosts, store_dir):
    """kill -9 of the command costs the recording, no more; the next restart makes one."""
    v = victim("touch_tenth", 20)
    untracked(frem.at(store_dir), v)
    both = hosts(20, 10)
    with lab.Served(store_dir, both.ip_a, both.a) as served:
        there = frem.at(served.url, namespace=both.b)
        there.run("restart", "job", "--detach", "--record", "5m")
        worker, _, _ = lab.processes()[v.pid]
        os.kill(worker, signal.SIGKILL)
        v.assert_runs()  # all of its memory comes in, and is right
        wait_until("the end of both pager processes", pagers_gone, 20)
        v.kill()
        assert stamp(store_dir) is None
        restart = there.restart("job")
        v.restarted(restart)
        wait_stored(store_dir, None)
        v.assert_runs()
        end(v, restart, there)
    assert touch_of(frem.at(store_dir))["backend"] == "restart"


def test_program_that_ends_early(stored, victim, store_dir):
    """The command ends with the job; what was recorded until then is stored behind its back."""
    v = victim("dictionary.py", 20)
    untracked(stored, v)
    restart = stored.restart("job", "--record", "10m")
    v.restarted(restart)
    v.verify()
    restart.send_signal(signal.SIGUSR2)
    assert stored.finish(restart, 10).code == 42
    wait_stored(store_dir, None)
    touch = touch_of(stored)
    assert (touch["backend"], touch["ended"]) == ("restart", "program-ended")
    assert touch["pages"] > 3000, "it verified all of its memory"
    assert touch["window_ms"] < 30_000


def test_detached(stored, victim, store_dir, tmp_path):
    v = victim("touch_tenth", 20)
    untracked(stored, v)
    stats_file = str(tmp_path / "stats.json")
    stored.json("restart", "job", "--detach", "--stats", stats_file, "--record", "300ms")
    wait_stored(store_dir, None)
    with open(stats_file, encoding="utf-8") as f:
        stats = json.load(f)
    assert stats["recorded_ms"] == pytest.approx(300, abs=200)
    touch = touch_of(stored)
    assert (touch["backend"], touch["ended"]) == ("restart", "asked")
    assert touch["pages"] == stats["recorded_pages"] > 0
    v.assert_runs()
    v.kill()


def test_checkpoint_while_recording(stored, victim):
    """A checkpoint waits until all memory is in: what is kept back is never taken for zeros."""
    v = victim("touch_tenth", 20)
    untracked(stored, v)
    lazy = stored.json("show", "job@1")["lazy_pages"]
    stored.run("restart", "job", "--detach", "--record", "2s")
    stored.checkpoint(v, "job", "--window", "off")
    v.kill()
    assert stored.json("show", "job@2")["lazy_pages"] == pytest.approx(lazy, rel=0.01)
    stored.run("restart", "job", "--detach", "--record", "off")
    v.assert_runs()
    v.kill()


def test_off(stored, victim, store_dir, tmp_path):
    v = victim("touch_tenth", 20)
    untracked(stored, v)
    stats_file = str(tmp_path / "stats.json")
    for options in (("--record", "off"), ("--resume", "full")):
        restart = stored.restart("job", "--stats", stats_file, *options)
        v.restarted(restart)
        stats = read_stats(stats_file, restart, 30)
        assert stats["recorded_pages"] == 0 and stats["recorded_ms"] == 0
        assert stats["drained_ms"] < 1000, "nothing is kept back"
        end(v, restart, stored)
        os.unlink(stats_file)
    assert stamp(store_dir) is None


@pytest.mark.parametrize(
    "options",
    [("0s",), ("soon",), ("2h",), ("2s", "--resume", "full"), ("2s", "--resume", "touch-set")],
)
def test_usage(stored, options):
    assert "--record" in stored.refuse(USAGE, "restart", "job", "--record", *options)


def test_store_that_refuses(frem, victim, store_dir, tmp_path):
    """One warning; the job is none the wiser."""
    here = frem.at(store_dir)
    v = victim("touch_tenth", 20)
    untracked(here, v)
    directory = os.path.join(store_dir, "job", "1")
    subprocess.run(["chattr", "+i", directory], check=True)
    try:
        with open(tmp_path / "err", "wb") as err:
            restart = here.restart("job", "--record", "200ms", stderr=err)
            v.restarted(restart)
            wait_until("a warning", lambda: (tmp_path / "err").read_text())
        v.assert_runs()
        end(v, restart, here)
    finally:
        subprocess.run(["chattr", "-i", directory], check=True)
    lines = (tmp_path / "err").read_text().splitlines()
    assert len(lines) == 1 and "touch set" in lines[0] and "the job is not affected" in lines[0]
    assert touch_of(here) is None

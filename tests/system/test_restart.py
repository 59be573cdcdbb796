# SPDX-License-Identifier: GPL-2.0-or-later
"""The main job: checkpoint a running program, kill it, restart it, and all of its memory is right."""

import json
import os
import signal
import stat

import pytest

from fremtest import MODES, STATS_FIELDS, is_alive, lab, read_stats, wait_until

PROGRAMS = {
    "python-300MB": ("dictionary.py", 300),
    "threads": ("threads",),
    "tree": ("tree",),
    "touch-tenth-500MB": ("touch_tenth", 500),
}
TERMINATED = 128 + signal.SIGTERM
PAGE = 4096


def check_stats(stats, mode, shown):
    """All fields of the design, with values that can be."""
    for field, kind in STATS_FIELDS.items():
        assert isinstance(stats[field], kind), (field, stats)
    assert stats["resume_mode"] == mode
    assert stats["pages_total"] == shown["lazy_pages"]
    assert stats["bytes_total"] == shown["stored_bytes"] or stats["bytes_total"] > 0
    assert 0 < stats["resumed_ms"] < 60_000
    assert 0 < stats["drained_ms"] < 60_000
    assert 0 <= stats["bytes_before_resume"] <= stats["bytes_fetched"]
    # the memory is incompressible: all of it has to come, and what comes twice is what a program
    # that reads everything at once asked for while it was on its way
    assert stats["bytes_fetched"] > 0.95 * stats["pages_total"] * PAGE
    assert stats["bytes_fetched"] < 1.5 * stats["bytes_total"]
    assert stats["frames_retried"] == 0
    assert stats["stall_ms"] >= 0 and stats["rtt_ms"] >= 0 and stats["bandwidth_bps"] > 0
    if mode == "full":
        assert stats["drained_ms"] <= stats["resumed_ms"]
        assert stats["bytes_before_resume"] > 0.95 * stats["pages_total"] * PAGE
        assert stats["demand_faults"] == 0
    else:
        assert stats["pages_touch"] == shown["touch"]["pages"]
        assert 0 < stats["touch_set_ms"] <= stats["drained_ms"]
    if mode == "touch-set":
        assert stats["touch_set_ms"] <= stats["resumed_ms"]
        assert stats["bytes_before_resume"] >= 0.95 * stats["pages_touch"] * PAGE


def end(victim, restart, frem):
    """A signal to the foreground command reaches the job, whose end is the command's."""
    restart.send_signal(signal.SIGTERM)
    result = frem.finish(restart)
    assert result.code == TERMINATED, result
    wait_until("the job's end", lambda: not is_alive(victim.pid), 10)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_restart(stored, victim, tmp_path, program, mode):
    stats_file = str(tmp_path / "stats.json")
    v = victim(*program)
    before = v.verify()
    done = stored.checkpoint(v, "job", "--window", "1500ms")
    assert (done["name"], done["seq"]) == ("job", 1)
    v.assert_runs()
    v.kill()
    shown = stored.json("show", "job@1")  # before the restart refines its touch set

    restart = stored.restart("job", "--resume", mode, "--stats", stats_file)
    v.restarted(restart)
    assert v.verify() >= before
    check_stats(read_stats(stats_file, restart, 60), mode, shown)
    v.assert_runs()
    end(v, restart, stored)


@pytest.mark.parametrize("mode", MODES)
def test_growing_log(stored, victim, tmp_path, mode):
    """A log goes on where the checkpoint was; what had come later is kept beside it."""
    log = tmp_path / "program.log"
    with open(log, "ab") as out:
        v = victim("logger", stdout=out)
    stored.checkpoint(v, "job", "--window", "1s")
    v.assert_runs()
    v.kill()
    old = log.read_bytes()

    restart = stored.restart("job", "--resume", mode)
    v.restarted(restart)
    v.assert_runs()
    tail = (tmp_path / "program.log.frem-tail-job@1").read_bytes()
    assert tail and old.endswith(tail)
    restart.send_signal(signal.SIGTERM)
    result = stored.finish(restart)
    assert result.code == TERMINATED and "program.log.frem-tail-job@1" in result.err
    new = log.read_bytes()
    assert new.startswith(old[: len(old) - len(tail)])
    lines = new.decode().splitlines()
    assert lines == [f"line {i}" for i in range(len(lines))]
    assert len(new) > len(old) - len(tail)


def test_exit_status_and_signals(stored, victim):
    """The command in the foreground stands for the job: signals go in, the exit status out."""
    v = victim("dictionary.py", 10)
    stored.checkpoint(v, "job", "--window", "1s")
    v.kill()
    restart = stored.restart("job")
    v.restarted(restart)
    answers = len(v.lines())
    restart.send_signal(signal.SIGUSR1)
    wait_until("the job's answer", lambda: len(v.lines()) > answers)
    restart.send_signal(signal.SIGUSR2)
    assert stored.finish(restart).code == 42

    restart = stored.restart("job")
    v.restarted(restart)
    os.kill(v.pid, signal.SIGKILL)
    assert stored.finish(restart).code == 128 + signal.SIGKILL


@pytest.mark.parametrize("mode", MODES)
def test_detach(stored, victim, tmp_path, mode):
    """The command returns once the job runs; the job outlives it and gets all of its memory."""
    stats_file = str(tmp_path / "stats.json")
    v = victim("touch_tenth", 100)
    stored.checkpoint(v, "job", "--window", "1s")
    v.kill()
    done = stored.json("restart", "job", "--detach", "--resume", mode, "--stats", stats_file)
    assert done["pid"] == v.pid and done["resumed_ms"] > 0
    v.assert_runs()
    wait_until("all memory", lambda: os.path.exists(stats_file))
    v.assert_runs()
    v.kill()


def test_restart_before_the_image_is_in(stored, victim, frem, hosts, store_dir):
    """`now` runs on a slow link long before all memory is in, and never reads anything wrong."""
    v = victim("touch_tenth", 60)
    frem.at(store_dir).checkpoint(v, "job", "--window", "1500ms")
    v.kill()
    both = hosts(50, 10)
    with lab.Served(store_dir, both.ip_a, both.a) as served:
        restart = frem.at(served.url, namespace=both.b).restart("job")
        v.restarted(restart, 5)
        v.verify()  # reads everything, most of it by faults
        v.assert_runs()
        end(v, restart, frem)


def test_checkpoint_of_a_restarted_job(stored, victim, tmp_path):
    """A restarted job is a program like any other: the next generation, and the one after."""
    v = victim("threads")
    last = v.verify()
    stored.checkpoint(v, "job", "--window", "1s")
    v.kill()
    for generation in (2, 3):
        stats_file = str(tmp_path / f"stats{generation}.json")
        restart = stored.restart("job", "--stats", stats_file)
        v.restarted(restart)
        progress = v.verify()
        read_stats(stats_file, restart, 60)
        done = stored.checkpoint(v, "job", "--window", "1s")
        assert done["seq"] == generation
        v.assert_runs()
        v.kill()
        assert stored.finish(restart).code == 128 + signal.SIGKILL
        assert progress > last, "it starts from the latest checkpoint"
        last = progress
    assert [c["seq"] for c in stored.json("list", "job")] == [1, 2, 3]


def test_statistics_into_a_pipe(stored, victim, tmp_path):
    """What is no regular file is written to, and stays what it is."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    v = victim("touch_tenth", 20)
    stored.checkpoint(v, "job", "--window", "1s")
    v.kill()
    restart = stored.restart("job", "--stats", str(pipe))
    with open(pipe, encoding="utf-8") as f:
        assert json.load(f)["drained_ms"] > 0
    assert stat.S_ISFIFO(os.stat(pipe).st_mode)
    v.restarted(restart)
    v.verify()
    os.kill(v.pid, signal.SIGKILL)
    stored.finish(restart)


def test_older_checkpoint(stored, victim):
    """NAME is the latest, NAME@N any."""
    v = victim("touch_tenth", 20)
    first = v.verify()
    stored.checkpoint(v, "job", "--window", "1s")
    middle = v.verify()
    wait_until("progress", lambda: v.verify() > middle + 1000)
    stored.checkpoint(v, "job", "--window", "1s")
    v.kill()
    progress = {}
    for name in ("job@1", "job"):
        restart = stored.restart(name)
        v.restarted(restart)
        progress[name] = v.verify()
        end(v, restart, stored)
    assert first <= progress["job@1"] < progress["job"]


def test_stop(stored, victim):
    """--stop ends the program once the checkpoint is in the store."""
    v = victim("tree")
    pids = lab.descendants(v.pid).keys()
    assert len(pids) == 9
    stored.checkpoint(v, "job", "--stop")
    v.wait_for_end({v.pid, *pids})
    restart = stored.restart("job")
    v.restarted(restart)
    v.assert_runs()
    end(v, restart, stored)


def test_stop_without_a_store_leaves_the_program(stored, victim, served_store):
    v = victim("touch_tenth", 20)
    served_store.close()
    stored.run("checkpoint", "--pid", v.pid, "--name", "job", "--stop", code=6)
    v.assert_runs()


def test_every_store_kind(frem, victim, store_dir):
    """A directory is a store too, by its path or as file://."""
    v = victim("touch_tenth", 20)
    frem.at(store_dir).checkpoint(v, "job", "--window", "1s")
    v.kill()
    for store in (store_dir, f"file://{store_dir}"):
        there = frem.at(store)
        restart = there.restart("job")
        v.restarted(restart)
        v.assert_runs()
        end(v, restart, there)


def test_job_that_ends_while_memory_is_missing(frem, victim, hosts, store_dir):
    """Nothing of frem outlives the job, also where most of its memory never came."""
    v = victim("touch_tenth", 100)
    frem.at(store_dir).checkpoint(v, "job", "--window", "1s")
    v.kill()
    both = hosts(50, 4)
    with lab.Served(store_dir, both.ip_a, both.a) as served:
        there = frem.at(served.url, namespace=both.b)
        restart = there.restart("job")
        v.restarted(restart, 10)
        os.kill(v.pid, signal.SIGKILL)
        assert there.finish(restart, 10).code == 128 + signal.SIGKILL


def test_killed_command(frem, victim, hosts, store_dir, leakcheck):
    """kill -9 of the command in the foreground: memory that cannot come any more is never zeros,
    so the job either has its pager still, or is gone."""
    v = victim("touch_tenth", 40)
    frem.at(store_dir).checkpoint(v, "job", "--window", "1s")
    v.kill()
    both = hosts(20, 5)
    with lab.Served(store_dir, both.ip_a, both.a) as served:
        restart = frem.at(served.url, namespace=both.b).restart("job")
        v.restarted(restart, 10)
        restart.kill()
        restart.wait()
        try:
            v.verify(seconds=30)
        except (AssertionError, ProcessLookupError):
            assert not is_alive(v.pid)
            assert not any(line.startswith("bad") for line in v.lines())
        v.close()
        ours = {served.process.pid, both.link.pid}

        def only_ours():
            return {pid for pid, _ in leakcheck.found().get("process", ())} <= ours

        wait_until("the end of everything that frem started", only_ours, 15)


def test_store_by_a_relative_path(frem, victim, tmp_path):
    """What serves the restarted program works from elsewhere, and still finds the store."""
    (tmp_path / "store").mkdir()
    there = frem.at("store")
    v = victim("touch_tenth", 20)
    there.run("checkpoint", "--pid", v.pid, "--name", "job", "--window", "1s", cwd=tmp_path)
    v.kill()
    restart = there.start("restart", "job", cwd=tmp_path)
    v.restarted(restart)
    v.verify()
    end(v, restart, there)

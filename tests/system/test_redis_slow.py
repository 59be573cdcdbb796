# SPDX-License-Identifier: GPL-2.0-or-later
"""redis-server with 500 MB, its store at the other end of the paper's SLOW link, in all modes.

One checkpoint, made under load, serves three restarts over the link. Each is followed until all
memory is in, and every value is verified.
"""

import os
import shutil
import threading
import time

import pytest

import fremtest
import lab

pytestmark = pytest.mark.slow_link


@pytest.fixture
def redis(hosts, tmp_path, leakcheck):
    if not shutil.which("redis-server"):
        pytest.skip("redis-server is not installed")
    both = hosts(*lab.SLOW)
    server = lab.Redis(str(tmp_path / "redis"), both.b)
    yield both, server
    if fremtest.is_alive(server.pid):
        lab.kill_tree(server.pid)


def checkpoint_under_load(here, server):
    load = lab.Load(server)
    thread = threading.Thread(target=load.run, kwargs={"per_second": 2000})
    thread.start()
    try:
        here.checkpoint(server.pid, "redis", "--window", "20s")
    finally:
        load.stop = True
        thread.join()
    assert load.answered > 2000


def restart(there, server, mode, stats_file):
    """Restarts; returns the command and the seconds until 2,000 verified answers."""
    start = time.monotonic()
    # a recording would still be on its way to the store when the store ends
    process = there.restart("redis", "--resume", mode, "--record", "off", "--stats", stats_file)
    _, last = lab.Load(server).run(2000, still_wanted=lambda: process.poll() is None)
    return process, last - start


def end(there, server, process):
    os.kill(server.pid, 9)
    assert there.finish(process).code == 128 + 9


def test_redis(frem, redis, tmp_path, store_dir):
    both, server = redis
    server.load()
    with lab.Served(store_dir, both.ip_a, both.a) as served:
        there = frem.at(served.url, namespace=both.b)
        checkpoint_under_load(frem.at(store_dir, namespace=both.b), server)
        shown = there.json("show", "redis")
        assert 450e6 < shown["image_bytes"] < 700e6
        assert 0.05 < shown["touch"]["pages"] / shown["lazy_pages"] < 0.25
        server.kill()

        took, stats = {}, {}
        for mode in ("touch-set", "full", "now"):
            stats_file = str(tmp_path / f"{mode}.json")
            process, took[mode] = restart(there, server, mode, stats_file)
            stats[mode] = fremtest.read_stats(stats_file, process, 150)
            assert server.verify(range(lab.KEYS)) == lab.KEYS
            end(there, server, process)

    # by how much is the demo's to show: this machine may be busy
    assert took["now"] * 2 < took["full"], took
    assert took["touch-set"] < took["full"], took
    # most of the memory came after the program was back
    for mode in ("now", "touch-set"):
        assert stats[mode]["bytes_before_resume"] < stats[mode]["bytes_fetched"] / 2, stats

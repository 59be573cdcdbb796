# SPDX-License-Identifier: GPL-2.0-or-later
"""What a program can be, and do to its memory, while that is still coming: verified by content."""

import ctypes
import os
import random
import signal
import time

import pytest

import fremtest
from fremtest import lab

PAGE = 4096


def restart_over(frem, both, store_dir, v, *options):
    """(restart, server): the job runs from a store behind the link."""
    served = lab.Served(store_dir, both.ip_a, both.a)
    there = frem.at(served.url, namespace=both.b)
    restart = there.restart("job", "--record", "off", *options)
    v.restarted(restart, 20)
    return restart, served


def is_draining(stats):
    return not os.path.exists(stats)


def change_at_random(frem, victim, both, tmp_path, seed):
    """One round: a checkpoint of untouched memory, and a restart in which everything is done to it."""
    print(f"seed {seed}")
    store, stats = str(tmp_path / f"store{seed}"), str(tmp_path / f"stats{seed}")
    os.mkdir(store)
    v = victim("mutate", seed, 4, 1200, 2000)
    frem.at(store).checkpoint(v, "job", "--window", "off")
    v.kill()
    restart, served = restart_over(frem, both, store, v, "--stats", stats)
    with served:
        os.kill(v.pid, signal.SIGUSR2)
        fremtest.read_stats(stats, restart, 60)
        assert v.verify() > 100
        v.kill()
        frem.finish(restart)


def test_random_changes(frem, victim, hosts, tmp_path):
    """Four threads and their children unmap, map, move, discard, lock, read and write.

    FREM_STRESS_SEED repeats a run, FREM_STRESS_SECONDS makes it a long one."""
    seed = int(os.environ.get("FREM_STRESS_SEED") or random.randrange(1_000_000))
    end = time.monotonic() + float(os.environ.get("FREM_STRESS_SECONDS") or 0)
    both = hosts(4, 10)
    while True:
        change_at_random(frem, victim, both, tmp_path, seed)
        seed += 1
        if time.monotonic() > end:
            break


@pytest.mark.parametrize(
    "names",
    ["heap zombie stopped vfork uring undumpable seccomp", "heap locked"],
    ids=["all", "locked"],
)
def test_what_a_program_can_be(frem, victim, hosts, store_dir, tmp_path, names):
    """Children that ended, or are stopped; filters, rings, a heap: and all of its memory is right."""
    stats = str(tmp_path / "stats.json")
    v = victim("oddities", *names.split())
    v.verify()
    frem.at(store_dir).checkpoint(v, "job", "--window", "off")
    v.kill()
    restart, served = restart_over(frem, hosts(10, 5), store_dir, v, "--stats", stats)
    with served:
        v.verify()
        fremtest.read_stats(stats, restart, 30)
        v.verify()
        v.kill()
        frem.finish(restart)


def test_userfaultfd_of_its_own(frem, victim, store_dir):
    """CRIU cannot save it, and nobody waits for memory that nobody brings."""
    v = victim("oddities", "userfaultfd")
    there = frem.at(store_dir)
    there.run("checkpoint", "--pid", v.pid, "--name", "job", code=fremtest.REFUSED, timeout=30)
    v.assert_runs()


# ---- seen from outside ----


class Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]


def peek(pid, address):
    """A page of another process, by process_vm_readv()."""
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(PAGE)
    local, remote = Iovec(ctypes.addressof(buffer), PAGE), Iovec(address, PAGE)
    got = libc.process_vm_readv(pid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0)
    if got != PAGE:
        raise OSError(ctypes.get_errno(), "process_vm_readv")
    return buffer.raw


def peek_file(pid, address):
    """The same by /proc/PID/mem, or None where the kernel refuses."""
    try:
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as f:
            return os.pread(f.fileno(), PAGE, address)
    except OSError:
        return None


def largest_mapping(pid):
    with open(f"/proc/{pid}/maps", encoding="utf-8") as f:
        ranges = [tuple(int(x, 16) for x in line.split()[0].split("-")) for line in f]
    return max(ranges, key=lambda r: r[1] - r[0])


def test_memory_seen_from_outside(frem, victim, hosts, store_dir):
    """A debugger sees what is right, or is refused; it never sees zeros for what has not come."""
    v = victim("touch_tenth", 5)
    start, end = largest_mapping(v.pid)
    pages = random.Random(1).sample(range(start, end, PAGE), 20)
    frem.at(store_dir).checkpoint(v, "job", "--window", "off")
    before = [peek(v.pid, p) for p in pages]
    v.kill()
    restart, served = restart_over(frem, hosts(10, 5), store_dir, v)
    with served:
        for page, content in zip(pages, before):
            assert peek_file(v.pid, page) in (content, None)
            assert peek(v.pid, page) == content
        v.verify()
        v.kill()
        frem.finish(restart)


# ---- many of everything ----


@pytest.mark.parametrize(
    "processes, mappings, pages", [(64, 5, 20), (1, 5000, 1)], ids=["processes", "mappings"]
)
def test_crowd(stored, victim, processes, mappings, pages):
    v = victim("crowd", processes, mappings, pages)
    stored.checkpoint(v, "job", "--window", "off", timeout=120)
    v.kill()
    restart = stored.restart("job", "--record", "off")
    v.restarted(restart)
    v.verify()
    v.kill()
    stored.finish(restart)

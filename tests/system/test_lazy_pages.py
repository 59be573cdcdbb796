# SPDX-License-Identifier: GPL-2.0-or-later
"""`frem lazy-pages` in the place of `criu lazy-pages`, with CRIU itself at the other end."""

import os
import resource
import select
import shutil
import signal
import socket

import pytest

import lab
from fremtest import DAMAGED, FAILED, OK, REFUSED, USAGE, is_alive, wait_until
from plainimage import Dumped, keep_elsewhere, move_to_parent


class Served(Dumped):
    """One that frem serves."""

    def serve(self, frem, *options, **popen):
        """Starts the daemon, which listens when this returns."""
        reads, writes = os.pipe()
        command = ("lazy-pages", "-D", self.images, "-W", self.work, "--status-fd", writes)
        daemon = frem.start(*command, *options, pass_fds=(writes,), **popen)
        os.close(writes)
        assert os.read(reads, 2) == b"\0", frem.finish(daemon)
        ended, _, _ = select.select([reads], [], [], 10)
        assert ended and os.read(reads, 1) == b"", "somebody keeps --status-fd open"
        os.close(reads)
        return daemon


@pytest.fixture
def dumped(victim, tmp_path):
    """dumped(NAME, ARGUMENTS...): a victim, dumped and ended by CRIU alone."""

    def make(name, *arguments):
        return Served(victim(name, *arguments), tmp_path)

    return make


# ---- the tests ----


def finish(frem, daemon, code=OK):
    result = frem.finish(daemon)
    assert result.code == code, result
    return result


@pytest.mark.parametrize("program", [("tree",), ("threads",), ("touch_tenth", 100)], ids=str)
def test_stands_in(frem, dumped, program):
    """The daemon brings all memory in, and ends by itself."""
    image = dumped(*program)
    daemon = image.serve(frem, "-o", "lazy-pages.log", "-v4", "--no-default-config")
    image.restore()
    assert image.victim.verify() >= image.before
    result = finish(frem, daemon)
    assert not result.out and not result.err
    assert "all memory is in" in image.read("work/lazy-pages.log")
    assert not os.path.exists(os.path.join(image.work, "lazy-pages.socket"))
    image.victim.assert_runs()


def without_threads():
    """Their stacks would be larger than an address space."""
    resource.setrlimit(resource.RLIMIT_STACK, (1 << 47, resource.RLIM_INFINITY))


def test_no_thread_to_be_had(frem, dumped):
    image = dumped("touch_tenth", 20)
    options = ("-o", "lazy-pages.log", "-v4")
    daemon = image.serve(frem, *options, preexec_fn=without_threads)
    image.restore()
    assert image.victim.verify() >= image.before
    finish(frem, daemon)
    log = image.read("work/lazy-pages.log")
    assert "only 0 of" in log and "all memory is in" in log
    image.victim.assert_runs()


def test_background(frem, dumped):
    """-d returns once the socket is there, and --pidfile names what serves on."""
    image = dumped("touch_tenth", 20)
    daemon = image.serve(frem, "-d", "--pidfile", "daemon.pid", "--log-file", "lazy-pages.log")
    finish(frem, daemon)
    pid = int(image.read("work/daemon.pid"))
    assert is_alive(pid)
    image.restore()
    image.victim.verify()

    def ended():
        lab.reap_orphans()
        return not is_alive(pid)

    wait_until("the end of the daemon", ended)
    image.victim.assert_runs()
    again = frem.refuse(
        FAILED, "lazy-pages", "-D", image.images, "-W", image.work, "-d", "--pidfile", "daemon.pid"
    )
    assert "daemon.pid" in again


def test_parent_image(frem, dumped, tmp_path):
    """CRIU takes from the parents what they have; the daemon has the rest, at its right place."""
    image = dumped("tree")
    assert move_to_parent(image.images, str(tmp_path / "parent")) > 1000
    daemon = image.serve(frem)
    image.restore()
    assert image.victim.verify() >= image.before
    finish(frem, daemon)
    image.victim.assert_runs()


def test_restore_that_takes_its_image_apart(frem, dumped):
    """--auto-dedup punches what CRIU has restored out of the image, while it is read."""
    image = dumped("touch_tenth", 20)
    daemon = image.serve(frem)
    image.restore("--auto-dedup")
    image.victim.verify()
    finish(frem, daemon)


def test_memory_that_is_elsewhere(frem, dumped):
    image = dumped("touch_tenth", 1)
    keep_elsewhere(image.images)
    error = frem.refuse(DAMAGED, "lazy-pages", "-D", image.images, "-W", image.work)
    assert "not in the image" in error


def stop_pager(daemon, directory):
    """A script for CRIU that holds the pager process up before the tasks run, and its pid."""
    found = [p for p, (_, _, name) in lab.descendants(daemon.pid).items() if name == "frem-pager"]
    script = directory / "stop"
    stop = f"kill -STOP {found[0]}"
    script.write_text(f'#!/bin/sh\n[ "$CRTOOLS_SCRIPT_ACTION" != post-restore ] || {stop}\n')
    script.chmod(0o755)
    return str(script), found[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["end", "crash"])
def test_daemon_that_goes_early(frem, dumped, tmp_path, number):
    """Told to end, it ends the tasks: they would read zeros. Killed, it is done without."""
    image = dumped("touch_tenth", 20)
    daemon = image.serve(frem)
    script, pager = stop_pager(daemon, tmp_path)
    image.restore("--action-script", script)
    assert is_alive(image.victim.pid)
    daemon.send_signal(number)
    if number == signal.SIGTERM:
        assert "stopped by signal" in finish(frem, daemon, FAILED).error()
        wait_until("the end of the tasks", lambda: not is_alive(image.victim.pid))
        return
    finish(frem, daemon, -signal.SIGKILL)
    os.kill(pager, signal.SIGCONT)
    image.victim.verify()
    image.victim.assert_runs()


@pytest.mark.parametrize("swapped", [False, True], ids=["same image", "another image"])
def test_killed_pager(frem, dumped, tmp_path, swapped):
    """Another pager process takes over, and only if the pages are still those that were served."""
    image = dumped("touch_tenth", 20)
    daemon = image.serve(frem)
    script, pager = stop_pager(daemon, tmp_path)
    image.restore("--action-script", script)
    if swapped:
        for name in os.listdir(image.images):
            if name.startswith("pages-"):
                path = os.path.join(image.images, name)
                shutil.copyfile(path, path + ".new")
                os.rename(path + ".new", path)
    os.kill(pager, signal.SIGKILL)
    if swapped:
        assert "not the one that it was" in finish(frem, daemon, DAMAGED).error()
        wait_until("the end of the tasks", lambda: not is_alive(image.victim.pid))
        return
    image.victim.verify()
    finish(frem, daemon)
    image.victim.assert_runs()


def test_both_processes_killed(frem, dumped, tmp_path):
    """Nobody holds the memory's place any more: the tasks end, before they go on with zeros."""
    image = dumped("touch_tenth", 20)
    daemon = image.serve(frem)
    script, pager = stop_pager(daemon, tmp_path)
    image.restore("--action-script", script)
    keeper = lab.processes()[pager][0]
    for number in (signal.SIGSTOP, signal.SIGKILL):
        os.kill(keeper, number)
        os.kill(pager, number)
    assert "the keeper process was killed" in finish(frem, daemon, FAILED).error()
    wait_until("the end of the tasks", lambda: not is_alive(image.victim.pid))


def test_restore_that_breaks_off(frem, dumped):
    image = dumped("touch_tenth", 1)
    daemon = image.serve(frem)
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(os.path.join(image.work, "lazy-pages.socket"))
    assert "ended the restore early" in finish(frem, daemon, REFUSED).error()


@pytest.mark.parametrize(
    "options, words",
    [
        (("--page-server", "--address", "::1", "--port", "1"), "a page server is not supported"),
        (("--stream",), "not supported"),
        (("--nonsense",), "unknown option '--nonsense'"),
        (("--status-fd", "999"), "not open"),
        (("-v9",), "--verbosity"),
        (("extra",), "unexpected argument 'extra'"),
    ],
)
def test_wrong_usage(frem, options, words):
    assert words in frem.refuse(USAGE, "lazy-pages", *options)


def test_options_of_criu(frem, tmp_path):
    """What scripts give all of CRIU's commands is accepted; what is wrong is the directory."""
    accepted = ("-j", "--tcp-established", "--external", "mnt[]", "--manage-cgroups=soft", "-L.")
    error = frem.refuse(DAMAGED, "lazy-pages", *accepted, "--no-shell-job", "-D", tmp_path)
    assert "inventory.img" in error

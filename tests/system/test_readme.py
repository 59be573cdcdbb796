# SPDX-License-Identifier: GPL-2.0-or-later
"""What the README tells a newcomer to type does what it says."""

import os
import re
import shlex
import signal
import socket

import fremtest
from fremtest import wait_until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def readme():
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as f:
        return f.read()


def quick_start(replacements):
    """The command lines of the quick start, each as a list, with this test's own values."""
    block = re.search(r"## Quick start\n+```\n(.*?)```", readme(), re.S).group(1)
    for old, new in replacements.items():
        assert old in block, f"the quick start no longer says {old}"
        block = block.replace(old, new)
    return [shlex.split(line, comments=True) for line in block.splitlines() if line.strip()]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def answers(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def test_quick_start(frem, victim, store_dir):
    v = victim("touch_tenth", 20)
    port = free_port()
    lines = quick_start(
        {"4711": str(v.pid), "/srv/frem": store_dir, "127.0.0.1:7070": f"127.0.0.1:{port}"}
    )
    made, serve, export, checkpoint, restart = lines
    assert made[:2] == ["make", "&&"]
    assert all(line[0] == "build/frem" for line in (serve, checkpoint, restart))
    name, _, url = export[1].partition("=")
    assert (export[0], name) == ("export", "FREM_STORE")

    frem.start(*serve[1:])
    wait_until("the store", lambda: answers(port), 10)
    there = frem.at(url)
    assert there.run(*checkpoint[1:]).out == "job@1\n"
    v.assert_runs()
    v.kill()
    process = there.start(*restart[1:])
    v.restarted(process)
    v.verify()
    process.send_signal(signal.SIGTERM)
    assert there.finish(process).code == 128 + signal.SIGTERM


def test_commands_and_options_exist(frem):
    """Each command of the table, with each option it names, is in that command's help."""
    rows = re.findall(r"^\| `frem ([a-z-]+)([^`]*)`", readme(), re.M)
    assert len(rows) >= 6
    for command, rest in rows:
        text = frem.run(command, "--help").out
        for option in re.findall(r"--[a-z-]+", rest):
            assert option in text, f"frem {command} has no {option}"


def test_exit_codes():
    """The README's list names every code that the tests know."""
    listed = {int(n) for n in re.findall(r"(?:Exit codes: |; )(\d) ", readme())}
    assert listed == set(range(8))
    assert fremtest.OK in listed

# SPDX-License-Identifier: GPL-2.0-or-later
"""What the README tells a newcomer to type does what it says."""

import os
import re
import shlex
import signal
import socket
import subprocess

import fremtest
from fremtest import wait_until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def readme():
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as f:
        return f.read()


def quick_start(n, replacements):
    """The command lines of the quick start's n-th block, with this test's own values."""
    block = re.findall(r"```\n(.*?)```", readme().partition("## Quick start\n")[2], re.S)[n]
    for old, new in replacements.items():
        assert old in block, f"the quick start no longer says {old}"
        block = block.replace(old, new)
    return [line for line in block.splitlines() if line.strip()]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def answers(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def test_quick_start(frem, store_dir, tmp_path):
    """The last line is killed and typed again; make is what has built the program that is tested."""
    make, *others, run = quick_start(
        0,
        {
            "/srv/frem": store_dir,
            "$PWD/build": fremtest.BUILD,
            "--every 2s": "--every 0.3s",
            "sleep 1": "sleep 0.1",
        },
    )
    assert make.split()[0] == "make" and len(others) == 3
    shell = ["bash", "-ec", "\n".join([*others, "exec " + run])]
    environment = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "start_new_session": True}
    first = subprocess.Popen(shell, cwd=tmp_path, **environment)
    frem.running.append(first)
    wait_until("a checkpoint", lambda: os.path.exists(f"{store_dir}/count/1/manifest"), 30)
    first.kill()
    counted = numbers(first.communicate()[0])
    second = subprocess.Popen(shell, cwd=tmp_path, **environment)
    frem.running.append(second)
    wait_until("it goes on", lambda: b"goes on from checkpoint count@" in second.stderr.readline(), 30)
    out = b""
    while not numbers(out):
        out += second.stdout.readline()
    second.terminate()
    out += second.communicate()[0]
    assert counted[0] == 1 < numbers(out)[0] <= counted[-1] + 1, (counted, out)


def numbers(output):
    """The lines that are nothing but a number."""
    return [int(n) for n in re.findall(rb"^(\d+)$", output, re.M)]


def test_by_hand(frem, victim, store_dir):
    v = victim("touch_tenth", 20)
    port = free_port()
    replaced = {"4711": str(v.pid), "/srv/frem": store_dir, "127.0.0.1:7070": f"127.0.0.1:{port}"}
    lines = [shlex.split(line, comments=True) for line in quick_start(1, replaced)]
    serve, export, checkpoint, restart = lines
    assert all(line[0] == "frem" for line in (serve, checkpoint, restart))
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

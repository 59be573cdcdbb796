# SPDX-License-Identifier: GPL-2.0-or-later
"""frem run: a job that is killed, stopped and moved ends with the output of one left alone."""

import contextlib
import fcntl
import os
import pty
import signal
import subprocess
import termios

import pytest

from fremtest import FAILED, REFUSED, USAGE, lab, wait_until

LINES = 60
STOPPED = 85

# many short-lived processes, so that pids matter; in the middle it waits for a file
JOB = """i=0; while [ $i -lt %d ]; do echo "line $i"; i=$((i + 1)); sleep 0.01;
    while [ $i -eq 30 -a ! -e "$0" ]; do sleep 0.01; done; done; echo end"""
WHOLE = "".join(f"line {i}\n" for i in range(LINES)) + "end\n"


@pytest.fixture
def run(frem, store_dir, tmp_path):
    """run(options..., command=...): starts `frem run` on a store directory, its output in a file."""
    local = frem.at(store_dir)
    out, go = tmp_path / "out", tmp_path / "go"

    def job(lines=LINES, then="exit 0"):
        return ("--", "/bin/sh", "-c", JOB % lines + "; " + then, str(go))

    def start(*options, command=job(), mode="ab", **popen):
        if "stdout" in popen:
            return local.start("run", "--name", "job", *options, *command, **popen)
        with open(out, mode) as stdout:
            return local.start("run", "--name", "job", *options, *command, stdout=stdout, **popen)

    def finish(process):
        go.touch()
        return local.finish(process)

    start.frem, start.out, start.store = local, out, store_dir
    start.job, start.go, start.finish = job, go, finish
    return start


def checkpoints(store):
    """The numbers of those that are there."""
    job_dir = os.path.join(store, "job")
    numbers = os.listdir(job_dir) if os.path.isdir(job_dir) else []
    return sorted(int(n) for n in numbers if os.path.exists(os.path.join(job_dir, n, "manifest")))


def await_checkpoint(run, process, beyond=0):
    def there():
        assert process.poll() is None, process.communicate()
        found = checkpoints(run.store)
        return found and found[-1] > beyond and found[-1]

    return wait_until(f"a checkpoint beyond {beyond}", there, 30)


def kill(process):
    """kill -9 of frem run alone: everything else has to go by itself."""
    below = set(lab.descendants(process.pid))
    assert len(below) >= 4, below
    process.kill()
    process.wait()

    def gone():
        lab.reap_orphans(below)
        return not below & lab.processes().keys()

    wait_until("the end of the job", gone, 20)


def kill_at_each(run, times, **popen):
    """Kills it after a checkpoint, again and again, then lets it end; returns what it said."""
    beyond = 0
    for _ in range(times):
        process = run("--every", "0.2", "--keep", "2", **popen)
        beyond = await_checkpoint(run, process, beyond)
        kill(process)
    return run.finish(run("--every", "0.2", "--keep", "2", **popen))


def test_killed_again_and_again(run, leakcheck):
    """Whatever moment it is killed at, its output in the end is that of one left alone, although
    the shell cuts the file each time."""
    result = kill_at_each(run, 3, mode="wb")
    assert result.code == 0, result
    assert run.out.read_text() == WHOLE
    assert "goes on from checkpoint job@" in result.err
    assert len(checkpoints(run.store)) == 2, "--keep"
    assert not leakcheck.settle(), "a killed run left something behind"


def test_both_streams_in_one_file(run):
    """What frem says never goes over what the job has written, nor the other way round."""
    process = run("--every", "0.2", mode="wb", stderr=subprocess.STDOUT)
    await_checkpoint(run, process, 1)
    kill(process)
    assert run.finish(run("--every", "0.2", mode="wb", stderr=subprocess.STDOUT)).code == 0
    lines = run.out.read_text().splitlines(keepends=True)
    assert "".join(line for line in lines if not line.startswith("frem: ")) == WHOLE


def test_memory_is_damaged(run):
    """It shows only when the job runs again: that one is ended, and the one before is taken. What
    frem says stays in a file that the job writes to as well."""
    log = run.out.parent / "log"
    memory = "import os, time; b = os.urandom(1 << 23); print(hash(b), flush=True)"
    wait = f"\nwhile not os.path.exists('{run.go}'): time.sleep(0.01)\nprint(hash(b))"
    command = ("--", "/usr/bin/python3", "-c", "import os; os.closerange(3, 99)\n" + memory + wait)
    with open(log, "ab") as stderr:
        process = run("--every", "0.2", command=command, stderr=stderr)
        latest = await_checkpoint(run, process, 1)
        kill(process)
        latest = checkpoints(run.store)[-1]
        pages = os.path.join(run.store, "job", str(latest), "pages")
        with open(pages, "r+b") as f:
            for offset in range(1000, os.path.getsize(pages) - 8, 4096):
                f.seek(offset)
                f.write(b"damage")
        assert run.finish(run(command=command, stderr=stderr)).code == 0, log.read_text()
    assert f"checkpoint job@{latest} cannot be restarted" in log.read_text()
    first, second = run.out.read_text().split()
    assert first == second


def test_latest_is_damaged(run):
    """The one before is taken, and that is said."""
    process = run("--every", "0.2")
    latest = await_checkpoint(run, process, 1)
    kill(process)
    head = os.path.join(run.store, "job", str(checkpoints(run.store)[-1]), "head")
    with open(head, "r+b") as f:
        f.seek(200)
        f.write(b"damage")
    result = run.finish(run())
    assert result.code == 0, result
    assert f"checkpoint job@{latest} cannot be restarted" in result.err, result
    assert run.out.read_text() == WHOLE


def test_stop_on_term(run):
    """SIGTERM with --checkpoint-on-term costs nothing: not a line is lost or written twice."""
    process = run("--checkpoint-on-term")
    wait_until("output", lambda: run.out.read_text().count("\n") > 10, 20)
    process.terminate()
    assert run.frem.finish(process).code == STOPPED
    written = run.out.read_text()
    assert checkpoints(run.store) == [1] and WHOLE.startswith(written)
    result = run.finish(run("--checkpoint-on-term", "--clean"))
    assert result.code == 0 and run.out.read_text() == WHOLE, result
    assert "rolled" not in result.err and not checkpoints(run.store)


def test_another_command_line(run):
    """The job goes on with its own, and that is said."""
    process = run("--checkpoint-on-term")
    wait_until("output", lambda: run.out.read_text().count("\n") > 3, 20)
    process.terminate()
    assert run.frem.finish(process).code == STOPPED
    result = run.finish(run(command=("--", "echo", "something else")))
    assert result.code == 0 and run.out.read_text() == WHOLE, result
    assert "started with another command line, with which it goes on: /bin/sh -c" in result.err


def test_signals(run):
    """SIGUSR1 makes a checkpoint; SIGTERM, without the option, ends the job."""
    process = run()
    wait_until("output", lambda: run.out.read_text().count("\n") > 3, 20)
    process.send_signal(signal.SIGUSR1)
    await_checkpoint(run, process)
    process.terminate()
    assert run.frem.finish(process).code == 128 + signal.SIGTERM


def test_two_at_once(run):
    process = run(command=("--", "sleep", "100"))
    wait_until("the job", lambda: "sleep" in str(lab.descendants(process.pid)), 20)
    for store in (run.store, run.store + "/", "file://" + run.store):
        second = run.frem.at(store).refuse(REFUSED, "run", "--name", "job", "--", "true")
        assert f"'job' runs already, as process {process.pid}" in second
    process.terminate()
    run.frem.finish(process)


def test_job_that_ended(run):
    """One that ended well starts anew; one that failed goes on from its latest checkpoint."""
    fixed = run.out.parent / "fixed"
    failing = run.job(then=f"test -e {fixed}")
    process = run("--every", "0.2", command=failing)
    await_checkpoint(run, process)
    assert run.finish(process).code == 1
    fixed.touch()
    again = run.finish(run(command=failing))
    assert again.code == 0 and "goes on from checkpoint" in again.err, again
    assert run.out.read_text() == WHOLE
    new = run.finish(run(command=run.job(3), mode="wb"))
    assert new.code == 0 and "starts from the beginning" in new.err, new
    assert run.out.read_text() == "line 0\nline 1\nline 2\nend\n"


def test_failing_checkpoint(run, tmp_path):
    """It is reported, and the job goes on."""
    stats = tmp_path / "stats.json"
    leaves = "(setsid sleep 100 &) ; sleep 0.1; "
    command = ("--", "/bin/sh", "-c", leaves + JOB % LINES, str(run.go))
    process = run("--every", "0.1", "--stats", stats, command=command)
    said = process.stderr.readline().decode()
    assert "has left the job's process tree" in said
    assert run.finish(process).code == 0
    assert run.out.read_text().endswith("end\n")
    assert '"checkpoints": 0' in stats.read_text()


def test_usage(frem, store_dir):
    local = frem.at(store_dir)
    assert "no command given" in local.refuse(USAGE, "run", "--name", "job", "true")
    assert "--name is missing" in local.refuse(USAGE, "run", "--", "true")
    assert "--every" in local.refuse(USAGE, "run", "--name", "j", "--every", "0", "--", "true")
    assert "no store given" in frem.refuse(USAGE, "run", "--name", "j", "--", "true")
    missing = local.refuse(FAILED, "run", "--name", "j", "--", "/nonexistent/program")
    assert "/nonexistent/program" in missing


def test_status(run):
    result = run.finish(run(command=("--", "/bin/sh", "-c", "exit 7")))
    assert result.code == 7 and not result.err
    killed = run.finish(run(command=("--", "/bin/sh", "-c", "kill -9 $$")))
    assert killed.code == 128 + signal.SIGKILL


def test_leftovers_of_an_upload(run):
    """What a killed upload has left goes with the first checkpoint of the next run."""
    left = os.path.join(run.store, "job", "7")
    os.makedirs(left)
    with open(os.path.join(left, "pages"), "wb") as f:
        f.write(b"half")
    process = run("--every", "0.2")
    assert await_checkpoint(run, process) == 8
    wait_until("its removal", lambda: not os.path.exists(os.path.join(left, "pages")), 20)
    assert run.finish(process).code == 0


def test_in_a_pipe(run):
    """What was written since the checkpoint comes twice; nothing is missing, nothing is wrong."""
    process = run("--every", "0.2", stdout=subprocess.PIPE)
    await_checkpoint(run, process, 1)
    process.kill()
    first = process.communicate()[0].decode()
    result = run.finish(run(stdout=subprocess.PIPE))
    assert result.code == 0 and WHOLE.startswith(first)
    assert WHOLE.endswith(result.out) and len(first) + len(result.out) >= len(WHOLE)


def read_terminal(keyboard):
    """All that comes out of it until nobody has it open any more."""
    got = b""
    with contextlib.suppress(OSError):
        while new := os.read(keyboard, 65536):
            got += new
    return got.replace(b"\r", b"").decode()


def on_a_terminal(run, *options, **popen):
    keyboard, terminal = pty.openpty()
    process = run(*options, stdin=terminal, stdout=terminal, stderr=subprocess.PIPE, **popen)
    os.close(terminal)
    return process, keyboard


def take_terminal():
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def test_ctrl_c(run):
    """It reaches all processes in front, as it does without frem."""
    command = ("--", "/bin/sh", "-c", "echo here; sleep 30; echo not here")
    process, keyboard = on_a_terminal(run, command=command, preexec_fn=take_terminal)
    assert os.read(keyboard, 4) == b"here"
    os.write(keyboard, b"\3")
    assert "not" not in read_terminal(keyboard)
    os.close(keyboard)
    assert process.wait(20) == 128 + signal.SIGINT


def test_on_a_terminal(run):
    """Killed on one terminal, it goes on on the next."""
    process, keyboard = on_a_terminal(run, "--every", "0.2")
    await_checkpoint(run, process, 1)
    process.kill()
    first = read_terminal(keyboard)
    os.close(keyboard)
    run.go.touch()
    process, keyboard = on_a_terminal(run)
    second = read_terminal(keyboard)
    os.close(keyboard)
    assert process.wait(60) == 0
    assert WHOLE.startswith(first) and WHOLE.endswith(second)
    assert len(first) + len(second) >= len(WHOLE)


def test_second_half_on_another_host(frem, run, hosts, store_dir, tmp_path):
    """Over the network, with another run directory, to another file: that is whole in the end."""
    both = hosts(5, 20)
    outs = [tmp_path / "out-a", tmp_path / "out-b"]
    with lab.Served(store_dir, both.ip_a, both.a) as served:
        near = frem.at(served.url, both.a)
        (tmp_path / "elsewhere").mkdir()
        far = frem.at(served.url, both.b, FREM_RUN_DIR=str(tmp_path / "elsewhere"))
        with open(outs[0], "wb") as out:
            command = ("run", "--name", "job", "--checkpoint-on-term", *run.job())
            process = near.start(*command, stdout=out)
        wait_until("output", lambda: outs[0].read_text().count("\n") > 20, 20)
        process.terminate()
        assert near.finish(process).code == STOPPED
        run.go.touch()
        with open(outs[1], "wb") as out:
            result = far.run(*command, stdout=out)
    assert "goes on from checkpoint job@1" in result.err
    assert WHOLE.startswith(outs[0].read_text()) and outs[1].read_text() == WHOLE

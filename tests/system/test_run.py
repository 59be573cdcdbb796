# SPDX-License-Identifier: GPL-2.0-or-later
"""frem run: a job that is killed, stopped and moved ends with the output of one left alone."""

import os
import signal
import subprocess

import pytest

from fremtest import FAILED, REFUSED, USAGE, lab, wait_until

LINES = 120
STOPPED = 85

# many short-lived processes, so that pids matter
JOB = """i=0; while [ $i -lt %d ]; do echo "line $i"; i=$((i + 1)); sleep 0.02; done; echo end"""
WHOLE = "".join(f"line {i}\n" for i in range(LINES)) + "end\n"


def job(lines=LINES, then="exit 0"):
    return ("--", "/bin/sh", "-c", JOB % lines + "; " + then)


@pytest.fixture
def run(frem, store_dir, tmp_path):
    """run(options..., command=...): starts `frem run` on a store directory, its output in a file."""
    local = frem.at(store_dir)
    out = tmp_path / "out"

    def start(*options, command=job(), mode="ab", **popen):
        if "stdout" in popen:
            return local.start("run", "--name", "job", *options, *command, **popen)
        with open(out, mode) as stdout:
            return local.start("run", "--name", "job", *options, *command, stdout=stdout, **popen)

    start.frem, start.out, start.store = local, out, store_dir
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
        process = run("--every", "0.3", "--keep", "2", **popen)
        beyond = await_checkpoint(run, process, beyond)
        kill(process)
    return run.frem.finish(run("--every", "0.3", "--keep", "2", **popen))


def test_killed_again_and_again(run, leakcheck):
    """Whatever moment it is killed at, its output in the end is that of one left alone."""
    result = kill_at_each(run, 3)
    assert result.code == 0, result
    assert run.out.read_text() == WHOLE
    assert "goes on from checkpoint job@" in result.err
    assert len(checkpoints(run.store)) == 2, "--keep"
    assert not leakcheck.settle(), "a killed run left something behind"


def test_latest_is_damaged(run):
    """The one before is taken, and that is said."""
    process = run("--every", "0.3")
    latest = await_checkpoint(run, process, 1)
    kill(process)
    head = os.path.join(run.store, "job", str(checkpoints(run.store)[-1]), "head")
    with open(head, "r+b") as f:
        f.seek(200)
        f.write(b"damage")
    result = run.frem.finish(run())
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
    result = run.frem.finish(run("--checkpoint-on-term", "--clean"))
    assert result.code == 0 and run.out.read_text() == WHOLE, result
    assert "rolled" not in result.err and not checkpoints(run.store)


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
    second = run.frem.refuse(REFUSED, "run", "--name", "job", "--", "true")
    assert f"'job' runs already, as process {process.pid}" in second
    process.terminate()
    run.frem.finish(process)


def test_job_that_ended(run):
    """One that ended well starts anew; one that failed goes on from its latest checkpoint."""
    failing = job(then="test -e fixed")
    process = run("--every", "0.3", command=failing, cwd=os.path.dirname(run.out))
    assert run.frem.finish(process).code == 1
    (run.out.parent / "fixed").touch()
    again = run.frem.finish(run(command=failing, cwd=os.path.dirname(run.out)))
    assert again.code == 0 and "goes on from checkpoint" in again.err, again
    assert run.out.read_text() == WHOLE
    new = run.frem.finish(run(command=job(3), mode="wb"))
    assert new.code == 0 and "starts from the beginning" in new.err, new
    assert run.out.read_text() == "line 0\nline 1\nline 2\nend\n"


def test_failing_checkpoint(run, tmp_path):
    """It is reported, and the job goes on."""
    stats = tmp_path / "stats.json"
    leaves = "(setsid sleep 100 &) ; sleep 0.1; "
    command = ("--", "/bin/sh", "-c", leaves + JOB % 40)
    result = run.frem.finish(run("--every", "0.2", "--stats", stats, command=command))
    assert result.code == 0 and "has left the job's process tree" in result.err, result
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
    result = run.frem.finish(run(command=("--", "/bin/sh", "-c", "exit 7")))
    assert result.code == 7 and not result.err
    killed = run.frem.finish(run(command=("--", "/bin/sh", "-c", "kill -9 $$")))
    assert killed.code == 128 + signal.SIGKILL


def test_in_a_pipe(run):
    """What was written since the checkpoint comes twice; nothing is missing, nothing is wrong."""
    process = run("--every", "0.3", stdout=subprocess.PIPE)
    await_checkpoint(run, process, 1)
    process.kill()
    first = process.communicate()[0].decode()
    result = run.frem.finish(run(stdout=subprocess.PIPE))
    assert result.code == 0 and WHOLE.startswith(first)
    assert WHOLE.endswith(result.out) and len(first) + len(result.out) >= len(WHOLE)

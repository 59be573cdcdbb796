# SPDX-License-Identifier: GPL-2.0-or-later
"""restart --files: what becomes of the files that a program had open."""

import os
import signal

import pytest

from fremtest import REFUSED, USAGE


def hold(frem, victim, *arguments, stop=False, count=1):
    """A program that has written `count` lines, checkpointed as job@1, and its directory."""
    v = victim("files.py", *arguments)
    for _ in range(count):
        v.verify()
    options = ["--stop"] if stop else ["--window", "off"]
    frem.checkpoint(v, "job", *options)
    if stop:
        v.wait_for_end({v.pid})
    return v, os.path.dirname(v.status)


def content(directory, name):
    with open(os.path.join(directory, name), "rb") as f:
        return f.read()


def put(directory, name, new):
    with open(os.path.join(directory, name), "wb") as f:
        f.write(new)


def end(frem, v, restart):
    restart.send_signal(signal.SIGTERM)
    result = frem.finish(restart)
    assert result.code == 128 + signal.SIGTERM, result
    return result


def test_rollback_is_the_default(stored, victim):
    v, directory = hold(stored, victim)
    v.verify()
    v.kill()
    put(directory, "data", b"1\n")
    restart = stored.restart("job")
    v.restarted(restart)
    assert v.verify() == 2
    assert content(directory, "log") == b"line 1\nline 2\n"
    assert content(directory, "log.frem-tail-job@1") == b"line 2\n"
    assert "rolled" in end(stored, v, restart).err


def test_keep(stored, victim):
    """Nothing is cut, whatever has grown or shrunk; what is appended goes to the end."""
    v, directory = hold(stored, victim)
    v.verify()
    v.kill()
    put(directory, "data", b"1\nand more\n")
    restart = stored.restart("job", "--files", "keep")
    v.restarted(restart)
    assert v.verify() == 2
    assert content(directory, "log") == b"line 1\nline 2\nline 2\n"
    assert content(directory, "data") == b"2\nand more\n"
    assert not [n for n in os.listdir(directory) if "frem-tail" in n]
    end(stored, v, restart)

    put(directory, "log", b"")
    put(directory, "data", b"1\n")
    restart = stored.restart("job", "--files=keep", "--resume", "full")
    v.restarted(restart)
    assert v.verify() == 2
    assert content(directory, "log") == b"line 2\n"
    end(stored, v, restart)


def test_keep_still_compares_what_is_mapped(stored, victim, tmp_path):
    """Memory that was not saved comes from there."""
    program = tmp_path / "python3"
    program.write_bytes(content("/usr/bin", "python3"))
    program.chmod(0o755)
    script = os.path.join(os.path.dirname(__file__), "victims", "files.py")
    v = victim("files.py")
    v.kill()
    other = type(v)(os.path.dirname(v.status), [str(program), script, "STATUS"])
    try:
        stored.checkpoint(other, "job", "--window", "off")
    finally:
        other.kill()
    with open(program, "ab") as f:
        f.write(b"another program")
    result = stored.run("restart", "job", "--files", "keep", code=REFUSED)
    assert "python3 has bad size" in result.err


CHANGES = {
    "grown": ("log", lambda path: open(path, "ab").write(b"x"), "8 bytes, not 7 as at"),
    "shorter": ("data", lambda path: os.truncate(path, 0), "0 bytes, not 2 as at"),
    "read": ("input", lambda path: os.truncate(path, 3), "3 bytes, not 6 as at"),
    "written": ("data", lambda path: os.utime(path), "was written to after the checkpoint"),
    "missing": ("input", os.unlink, "No such file"),
}


def test_strict(frem, store_dir, victim):
    """Refused before anything is restored; once all files are as they were, it is not."""
    there = frem.at(store_dir)
    v, directory = hold(there, victim, stop=True)
    for what, (name, change, why) in CHANGES.items():
        path = os.path.join(directory, name)
        before, times = content(directory, name), os.stat(path)
        change(path)
        after = content(directory, name) if os.path.exists(path) else None
        error = there.refuse(REFUSED, "restart", "job", "--files", "strict")
        assert f"'{path}'" in error and why in error, what
        assert after is None or content(directory, name) == after
        put(directory, name, before)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    restart = there.restart("job", "--files", "strict")
    v.restarted(restart)
    assert v.verify() == 2
    end(there, v, restart)


@pytest.mark.parametrize("mode", ["rollback", "keep"])
def test_missing_file_is_named(stored, victim, mode):
    v, directory = hold(stored, victim)
    v.verify()
    v.kill()
    os.unlink(os.path.join(directory, "input"))
    result = stored.run("restart", "job", "--files", mode, code=REFUSED)
    assert f"the job's file '{directory}/input': No such file or directory" in result.error()
    assert "hint: files are not in a checkpoint" in result.err
    assert content(directory, "log") == b"line 1\nline 2\n"
    assert not [n for n in os.listdir(directory) if "frem-tail" in n]


@pytest.mark.parametrize("files", ["rollback", "strict"])
def test_deleted_file(stored, victim, files):
    """Its content is in the checkpoint, since it is nowhere else."""
    v, directory = hold(stored, victim, "deleted", stop=True)
    restart = stored.restart("job", "--files", files)
    v.restarted(restart)
    assert v.verify() == 2
    assert "gone" not in os.listdir(directory)
    end(stored, v, restart)


def test_file_that_lost_one_of_its_names(stored, victim):
    v, directory = hold(stored, victim, "linked", stop=True)
    restart = stored.restart("job")
    v.restarted(restart)
    assert v.verify() == 2
    assert sorted(os.listdir(directory)) == ["data", "input", "log", "other", "status"]
    end(stored, v, restart)


def test_wrong_word(stored):
    assert "rollback, keep, strict" in stored.refuse(USAGE, "restart", "job", "--files", "all")

# SPDX-License-Identifier: GPL-2.0-or-later
"""`frem import` and `frem export`, with CRIU itself and its tools at the other end."""

import os
import signal

import pytest

import lab
from fremtest import DAMAGED, FAILED, NOT_FOUND, OK, USAGE, is_alive, wait_until
from plainimage import CRIU, Dumped, criu, pages_file, pagemaps, read_pagemap

PAGE = 4096


@pytest.fixture
def dumped(victim, tmp_path):
    """dumped(NAME, ARGUMENTS...): a victim, dumped and ended by CRIU alone."""

    def make(name, *arguments, **options):
        return Dumped(victim(name, *arguments, **options), tmp_path)

    return make


def images_of(directory):
    """{name: bytes} of what CRIU reads."""
    found = {}
    for name in os.listdir(directory):
        if name.endswith(".img"):
            with open(os.path.join(directory, name), "rb") as f:
                found[name] = f.read()
    return found


def end(frem, victim, process):
    process.send_signal(signal.SIGTERM)
    assert frem.finish(process).code == 128 + signal.SIGTERM
    assert not is_alive(victim.pid)


class Exported(Dumped):
    """A victim that frem has stopped and exported."""

    def __init__(self, frem, victim, directory):
        self.victim = victim
        self.images, self.work = str(directory / "images"), str(directory / "work")
        os.mkdir(self.work)
        self.before = victim.verify()
        pids = {victim.pid, *lab.descendants(victim.pid)}
        frem.checkpoint(victim, "job", "--stop")
        victim.wait_for_end(pids)
        told = frem.run("export", "job", self.images).out.split()
        assert told[:4] == ["criu", "restore", "-D", self.images]
        self.asked = told[4:]


# ---- from CRIU to frem ----


@pytest.mark.parametrize("program", [("tree",), ("threads",), ("touch_tenth", 20)], ids=str)
def test_import_and_restart(stored, dumped, program):
    """What CRIU dumped, frem restarts; the first restart records the touch set."""
    image = dumped(*program)
    made = stored.json("import", image.images, "--name", "job")
    assert (made["name"], made["seq"]) == ("job", 1)
    assert made["lazy_pages"] * PAGE > 1e6
    assert stored.json("show", "job")["touch"] is None
    process = stored.restart("job")
    image.victim.restarted(process)
    assert image.victim.verify() >= image.before
    image.victim.assert_runs()
    touch = wait_until("the touch set", lambda: stored.json("show", "job")["touch"])
    assert touch["backend"] == "restart" and touch["pages"] > 0
    end(stored, image.victim, process)


def test_round_trip(stored, dumped, tmp_path):
    """Every image file comes out as it went in, and what lies beside them stays away."""
    image = dumped("tree")
    assert stored.run("import", image.images, "--name", "job").out == "job@1\n"
    out = str(tmp_path / "out")
    told = stored.json("export", "job@1", out)
    assert told["directory"] == out and told["lazy_pages"] > 1000
    before, after = images_of(image.images), images_of(out)
    stats = {n for n in before if n.startswith("stats-")}
    assert {n: before[n] for n in before.keys() - stats} == after
    assert set(os.listdir(out)) == after.keys()
    assert os.stat(out).st_mode & 0o777 == 0o700


# ---- from frem to CRIU ----


@pytest.mark.parametrize("program", [("tree",), ("touch_tenth", 20)], ids=str)
def test_export_and_criu_restore(stored, victim, tmp_path, program):
    image = Exported(stored, victim(*program), tmp_path)
    image.restore(*image.asked, lazy=())
    assert image.victim.verify() >= image.before
    image.victim.assert_runs()


# ---- what cannot be done ----


def test_places(stored, dumped, tmp_path):
    """Only a new or empty directory is written to, and only with a whole image."""
    image = dumped("touch_tenth", 1)
    stored.run("import", image.images, "--name", "job")
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine").write_text("mine")
    assert "not empty" in stored.refuse(FAILED, "export", "job", full)
    assert "current directory" in stored.refuse(FAILED, "export", "job", ".", cwd=image.work)
    assert "Not a directory" in stored.refuse(FAILED, "export", "job", full / "mine")
    assert "No such file" in stored.refuse(FAILED, "export", "job", tmp_path / "no" / "place")
    assert (full / "mine").read_text() == "mine"
    empty = tmp_path / "empty"
    empty.mkdir()
    stored.run("export", "job", f"{empty}/")
    assert "inventory.img" in os.listdir(empty)
    new = str(tmp_path / "new")
    assert "no checkpoint" in stored.refuse(NOT_FOUND, "export", "other", new)
    assert "no checkpoint" in stored.refuse(NOT_FOUND, "export", "job@7", new)
    stored.refuse(USAGE, "export", "job")
    assert not os.path.exists(new)


def flip(path, at):
    with open(path, "r+b") as f:
        f.seek(at, os.SEEK_END if at < 0 else os.SEEK_SET)
        byte = f.read(1)
        f.seek(-1, os.SEEK_CUR)
        f.write(bytes([byte[0] ^ 1]))


@pytest.mark.parametrize("thing", ["manifest", "head", "pages"])
def test_damaged_checkpoint(stored, served_store, dumped, tmp_path, thing):
    image = dumped("touch_tenth", 1)
    stored.run("import", image.images, "--name", "job")
    flip(os.path.join(served_store.root, "job", "1", thing), 100)
    before = set(os.listdir(tmp_path))
    assert thing in stored.refuse(DAMAGED, "export", "job", tmp_path / "out")
    assert set(os.listdir(tmp_path)) == before


def test_what_is_no_image(stored, dumped, tmp_path):
    image = dumped("touch_tenth", 1)
    name = pagemaps(image.images)[0]
    pages = pages_file(image.images, read_pagemap(os.path.join(image.images, name))[1])
    os.truncate(pages, PAGE)
    error = stored.refuse(DAMAGED, "import", image.images, "--name", "job")
    assert os.path.basename(pages) in error
    assert "inventory.img" in stored.refuse(DAMAGED, "import", image.work, "--name", "job")
    assert "No such file" in stored.refuse(FAILED, "import", tmp_path / "no", "--name", "job")
    assert "--name" in stored.refuse(USAGE, "import", image.images)
    stored.refuse(USAGE, "import", "--name", "job")
    assert stored.json("list") == []

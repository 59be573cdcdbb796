# SPDX-License-Identifier: GPL-2.0-or-later
"""`frem import` and `frem export`, with CRIU itself and its tools at the other end."""

import gzip
import io
import os
import shutil
import signal
import struct
import tarfile

import pytest

import lab
from fremtest import DAMAGED, FAILED, NOT_FOUND, REFUSED, USAGE, is_alive, wait_until
from plainimage import (
    PAGES,
    VADDR,
    Dumped,
    move_to_parent,
    pages_file,
    pagemaps,
    put_in_container,
    read_pagemap,
)

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


def test_import_and_restart(stored, dumped):
    """What CRIU dumped, frem restarts; the first restart records the touch set."""
    image = dumped("tree")
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
    image = dumped("touch_tenth", 20)
    assert stored.run("import", image.images, "--name", "job").out == "job@1\n"
    out = str(tmp_path / "out")
    told = stored.json("export", "job@1", out)
    assert told["directory"] == out and told["lazy_pages"] > 1000
    before, after = images_of(image.images), images_of(out)
    stats = {n for n in before if n.startswith("stats-")}
    assert {n: before[n] for n in before.keys() - stats} == after
    assert set(os.listdir(out)) == after.keys()
    assert os.stat(out).st_mode & 0o777 == 0o700


def memory_of(directory):
    """{map: {address: page}}"""
    found = {}
    for name in pagemaps(directory):
        _, header, entries = read_pagemap(os.path.join(directory, name))
        with open(pages_file(directory, header), "rb") as f:
            found[name] = {
                e[VADDR] + i * PAGE: f.read(PAGE) for e in entries for i in range(e[PAGES])
            }
    return found


def test_parents(stored, dumped, tmp_path):
    """An image that builds on others, the older of which have holes, becomes a whole one."""
    image = dumped("touch_tenth", 20)
    before = memory_of(image.images)
    parent, older = str(tmp_path / "parent"), str(tmp_path / "older")
    assert move_to_parent(image.images, parent, punched=True) > 1000
    assert move_to_parent(parent, older, length=5) > 1000
    made = stored.json("import", image.images, "--name", "job")
    assert made["lazy_pages"] > 10 * made["eager_pages"]
    out = str(tmp_path / "out")
    stored.run("export", "job", out)
    assert memory_of(out) == before
    process = stored.restart("job")
    image.victim.restarted(process)
    assert image.victim.verify() >= image.before
    end(stored, image.victim, process)

    os.unlink(os.path.join(parent, "parent"))
    assert "none of the 1 parent" in stored.refuse(DAMAGED, "import", image.images, "--name", "job")
    os.rename(parent, older + "-away")
    assert "parent image" in stored.refuse(DAMAGED, "import", image.images, "--name", "job")


# ---- archives of containers ----


def as_zstd(data):
    """A zstd frame of uncompressed blocks."""
    out, most = b"\x28\xb5\x2f\xfd\x00\x70", 1 << 17
    for at in range(0, len(data), most):
        block = data[at : at + most]
        last = at + most >= len(data)
        out += struct.pack("<I", len(block) << 3 | last)[:3] + block
    return out


def member(name, data=b"", kind=tarfile.REGTYPE, link="", size=None):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    info.size = len(data) if size is None else size
    return info, data


def write_archive(path, members, pack=bytes):
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data) if data else None)
    path.write_bytes(pack(raw.getvalue()))
    return str(path)


def of_container(images):
    """What `podman container checkpoint --export` writes, in its order and with its names."""
    yield member("checkpoint/", kind=tarfile.DIRTYPE)
    for name in sorted(os.listdir(images)):
        with open(os.path.join(images, name), "rb") as f:
            yield member(f"checkpoint/{name}", f.read())
    yield member("checkpoint/descriptors.json", b'["/dev/null","/dev/null","/dev/null"]')
    yield member("dump.log", b"(00.000000) Version: 4.2.1\n")
    yield member("stats-dump", b"\0" * 40)
    yield member("artifacts/", kind=tarfile.DIRTYPE)
    yield member("config.dump", b'{"id":"4f1c"}')
    yield member("spec.dump", b'{"ociVersion":"1.0.2"}')
    yield member("network.status", b"{}")
    yield member("rootfs-diff.tar", b"\0" * 10240)
    yield member("volumes/data/link", kind=tarfile.SYMTYPE, link="/etc/passwd")


@pytest.mark.parametrize("pack", [bytes, gzip.compress, as_zstd], ids=["tar", "gzip", "zstd"])
def test_archive(stored, dumped, tmp_path, pack):
    image = dumped("touch_tenth", 10)
    archive = write_archive(tmp_path / "container", of_container(image.images), pack)
    result = stored.run("import", archive, "--name", "job")
    assert result.out == "job@1\n" and "such as 'rootfs-diff.tar') stays" in result.err
    out = tmp_path / "out"
    stored.run("export", "job", out)
    assert (out / "config.dump").read_bytes() == b'{"id":"4f1c"}'
    assert {"spec.dump", "network.status", "descriptors.json"} < set(os.listdir(out))
    assert memory_of(out) == memory_of(image.images)
    process = stored.restart("job")
    image.victim.restarted(process)
    image.victim.verify()
    end(stored, image.victim, process)


def test_container_is_not_restarted(stored, dumped, tmp_path):
    """Its world cannot be made again, which is said before anything is tried; all else works."""
    image = dumped("touch_tenth", 1)
    put_in_container(image.images)
    archive = write_archive(tmp_path / "container.tar", of_container(image.images))
    stored.run("import", archive, "--name", "job")
    result = stored.run("restart", "job", code=REFUSED)
    assert "in a container" in result.error() and "'frem export'" in result.err
    assert not is_alive(image.victim.pid)
    assert [c["name"] for c in stored.json("list")] == ["job"]
    stored.run("verify", "job")
    result = stored.json("export", "job", tmp_path / "out")
    assert result["criu_options"] is None
    assert images_of(tmp_path / "out").items() <= images_of(image.images).items()


def test_unpacked_archive(stored, dumped, tmp_path):
    """Also one that somebody has unpacked, and a tar of nothing but an image directory."""
    image = dumped("touch_tenth", 1)
    (tmp_path / "unpacked").mkdir()
    shutil.copytree(image.images, tmp_path / "unpacked" / "checkpoint")
    assert stored.json("import", tmp_path / "unpacked", "--name", "job")["seq"] == 1
    flat = [(i, d) for i, d in of_container(image.images) if i.name.endswith(".img")]
    for info, _ in flat:
        info.name = "./" + info.name.removeprefix("checkpoint/")
    archive = write_archive(tmp_path / "flat.tar", flat)
    assert stored.json("import", archive, "--name", "job")["seq"] == 2


HUGE = 1 << 55

HOSTILE = {
    "up": ([member("checkpoint/../../evil.img", b"x")], DAMAGED, "with the path"),
    "absolute": ([member("/tmp/evil.img", b"x")], DAMAGED, "with the path"),
    "symlink": (
        [member("checkpoint/core-1.img", kind=tarfile.SYMTYPE, link="/etc/passwd")],
        DAMAGED,
        "not a regular file",
    ),
    "hard link": (
        [member("checkpoint/core-1.img", kind=tarfile.LNKTYPE, link="/etc/passwd")],
        DAMAGED,
        "not a regular file",
    ),
    "device": ([member("checkpoint/x.img", kind=tarfile.CHRTYPE)], DAMAGED, "not a regular file"),
    "fifo": ([member("checkpoint/x.img", kind=tarfile.FIFOTYPE)], DAMAGED, "not a regular file"),
    "twice": ([member("checkpoint/x.img", b"1"), member("x.img", b"2")], DAMAGED, "there twice"),
    "parent": (
        [member("checkpoint/parent", kind=tarfile.SYMTYPE, link="../pre-checkpoint")],
        DAMAGED,
        "not a regular file",
    ),
    "no image": ([member("spec.dump", b"{}")], DAMAGED, "inventory.img"),
    "deeper": ([member("checkpoint/a/inventory.img", b"x")], DAMAGED, "inventory.img"),
}


@pytest.mark.parametrize("members, code, words", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_archive(stored, tmp_path, members, code, words):
    archive = write_archive(tmp_path / "evil.tar", members)
    assert words in stored.refuse(code, "import", archive, "--name", "job")
    assert set(os.listdir(tmp_path)) == {"evil.tar", "store"}
    assert not os.path.exists("/tmp/evil.img") and stored.json("list") == []


def test_archive_of_impossible_size(stored, tmp_path):
    """More than there is room for is refused before anything is written; half an archive too."""
    header = member("checkpoint/pages-1.img", size=HUGE)[0].tobuf(tarfile.GNU_FORMAT)
    path = tmp_path / "huge.tar"
    path.write_bytes(header + bytes(1 << 16))
    assert "with room for" in stored.refuse(FAILED, "import", path, "--name", "job")
    path.write_bytes(member("checkpoint/pages-1.img", size=1 << 20)[0].tobuf() + bytes(1 << 16))
    stored.refuse(DAMAGED, "import", path, "--name", "job")
    path.write_bytes(os.urandom(4096))
    assert "archive: " in stored.refuse(DAMAGED, "import", path, "--name", "job")
    error = stored.refuse(FAILED, "import", "/dev/null", "--name", "job")
    assert "neither a directory nor a file" in error


# ---- from frem to CRIU ----


def test_export_and_criu_restore(stored, victim, tmp_path):
    image = Exported(stored, victim("tree"), tmp_path)
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

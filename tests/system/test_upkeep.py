# SPDX-License-Identifier: GPL-2.0-or-later
"""prune and verify: what a store holds is looked after."""

import os
import re
import shutil
import subprocess
import time

import pytest

import fremtest
from fremtest import DAMAGED, NOT_FOUND, STORE, USAGE, lab

HOUR = 3600


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A store directory with job@1, which has a touch set, job@2, job@3 and other@1."""
    directory = tmp_path_factory.mktemp("saved")
    store = str(directory / "store")
    os.mkdir(store)
    v = fremtest.Victim(str(directory), [fremtest.program("touch_tenth"), "STATUS", "8"])
    frem = fremtest.Frem(store)
    try:
        frem.checkpoint(v, "job", "--window", "200ms")
        for name in ("job", "job", "other"):
            frem.checkpoint(v, name, "--window", "off")
    finally:
        v.close()
        frem.close()
    return store


@pytest.fixture
def store(saved, tmp_path):
    copy = str(tmp_path / "copy")
    shutil.copytree(saved, copy)
    return copy


def names(frem):
    return [f"{c['name']}@{c['seq']}" for c in frem.json("list")]


def leave_behind(store, name, hours, objects=("head", "pages")):
    """What an upload that was broken off so long ago has left."""
    directory = os.path.join(store, *name.split("@"))
    os.makedirs(directory)
    for item in objects:
        path = os.path.join(directory, item)
        with open(path, "wb") as f:
            f.write(b"x" * 1000)
        os.utime(path, (time.time() - hours * HOUR,) * 2)
    return directory


# ---- prune ----


def test_prune_keeps_the_latest(frem, store):
    there = frem.at(store)
    before = names(there)
    dry = there.json("prune", "--keep", 1, "--dry-run")
    assert dry["dry_run"] and dry["removed"] == ["job@1", "job@2"] and dry["bytes"] > 8e6
    assert names(there) == before
    result = there.run("prune", "--keep", 2, "job")
    assert result.out.startswith("removed job@1, ") and len(result.out.splitlines()) == 1
    assert names(there) == ["job@2", "job@3", "other@1"]
    assert there.json("prune", "--keep", 1)["removed"] == ["job@2"]
    assert there.json("prune", "--keep", 1)["removed"] == []
    assert names(there) == ["job@3", "other@1"]
    assert sorted(os.listdir(os.path.join(store, "job"))) == ["3"]


def test_prune_by_age(frem, store):
    there = frem.at(store)
    assert there.json("prune", "--keep", 1, "--older-than", "1h")["removed"] == []
    time.sleep(1.1)
    assert there.json("prune", "--keep", 2, "--older-than", "1s")["removed"] == ["job@1"]


def test_prune_does_not_count_the_damaged(frem, store):
    there = frem.at(store)
    with open(os.path.join(store, "job/3/pages"), "ab") as f:
        f.write(b"more")
    result = there.run("prune", "--keep", 1)
    assert "'job@3' is damaged" in result.err
    assert os.listdir(os.path.join(store, "job", "3"))
    assert names(there) == ["job@2", "job@3", "other@1"]
    os.truncate(os.path.join(store, "job/2/manifest"), 10)
    there.run("prune", "--keep", 1)
    assert sorted(os.listdir(os.path.join(store, "job"))) == ["2", "3"]


def test_prune_removes_old_leftovers(frem, store):
    old = leave_behind(store, "job@7", 30)
    half = leave_behind(store, "job@5", 30, ("pages",))
    fresh = leave_behind(store, "job@8", 20)
    os.utime(os.path.join(fresh, "pages"))  # it goes on
    there = frem.at(store)
    assert there.json("prune", "--dry-run")["leftovers"] == ["job@5", "job@7"]
    result = there.run("prune", "job", "other", "none")
    assert "removed job@7 (an interrupted upload), 2.00 kB" in result.out
    assert not os.path.exists(old) and not os.path.exists(half) and os.path.exists(fresh)
    assert names(there) == ["job@1", "job@2", "job@3", "other@1"]
    os.utime(os.path.join(fresh, "pages"), (time.time() - HOUR,) * 2)
    assert there.json("prune", "--leftovers", "2h")["leftovers"] == []
    os.utime(os.path.join(fresh, "pages"), (time.time() - 3 * HOUR,) * 2)
    assert there.json("prune", "--leftovers", "2h")["leftovers"] == ["job@8"]


def test_prune_cut_short_leaves_whole_checkpoints(frem, store):
    """The manifest goes first, the oldest goes first; the next one finishes it."""
    stuck = os.path.join(store, "job/1/head")
    there = frem.at(store)
    subprocess.run(["chattr", "+i", stuck], check=True)
    try:
        assert "removing 'job@1'" in there.refuse(STORE, "prune", "--keep", 1)
    finally:
        subprocess.run(["chattr", "-i", stuck], check=True)
    assert names(there) == ["job@2", "job@3", "other@1"]
    for item in os.scandir(os.path.dirname(stuck)):
        os.utime(item.path, (time.time() - HOUR,) * 2)
    assert there.json("prune", "--leftovers", "30m")["leftovers"] == ["job@1"]


def test_prune_refuses(frem, store):
    there = frem.at(store)
    assert "--keep" in there.refuse(USAGE, "prune", "--keep", 0)
    assert "--older-than without --keep" in there.refuse(USAGE, "prune", "--older-than", "1h")
    there.refuse(USAGE, "prune", "--keep", 1, "job@1")
    assert len(names(there)) == 4


# ---- verify ----


def change_byte(path, offset):
    with open(path, "r+b") as f:
        f.seek(offset)
        byte = f.read(1)[0]
        f.seek(offset)
        f.write(bytes([byte ^ 1]))


def test_verify_reads_everything(frem, store):
    there = frem.at(store)
    answer = there.json("verify", "--all")
    assert answer["damaged"] == 0
    rows = answer["checkpoints"]
    assert [f"{r['name']}@{r['seq']}" for r in rows] == names(there)
    assert all(r["state"] == "good" and not r["damage"] and r["store"] is None for r in rows)
    assert [r["objects"] for r in rows] == [4, 3, 3, 3]
    stored = {f"{c['name']}@{c['seq']}": c["stored_bytes"] for c in there.json("list")}
    for row in rows:
        manifest = os.path.join(store, row["name"], str(row["seq"]), "manifest")
        name = f"{row['name']}@{row['seq']}"
        assert row["bytes"] + os.path.getsize(manifest) == stored[name]
    assert there.run("verify", "job", "job@1").out.splitlines()[0].startswith("job@3 is good: ")
    assert len(there.json("verify", "--all", "job")["checkpoints"]) == 3


def test_verify_finds_every_changed_byte(frem, store):
    """Which object and frame, and where; in `pages` and `touch` the frame's own offset."""
    served = lab.Served(store)
    with served:
        there = frem.at(served.url)
        for item in ("manifest", "head", "pages", "touch"):
            path = os.path.join(store, "job/1", item)
            for offset in (os.path.getsize(path) // 2, os.path.getsize(path) - 2):
                change_byte(path, offset)
                result = there.run("--json", "verify", "job@1", code=DAMAGED)
                row = result.json()["checkpoints"][0]
                assert row["state"] == "damaged"
                assert {d["object"] for d in row["damage"]} == {item}
                if item in ("pages", "touch"):
                    found = [d for d in row["damage"] if d["frame"] is not None]
                    assert len(found) == 1 and found[0]["offset"] <= offset
                    assert offset - found[0]["offset"] < 32 * 4096
                    where = f"{item}: frame {found[0]['frame']} at offset {found[0]['offset']}: "
                    assert where in result.error()
                change_byte(path, offset)
        assert "is good" in there.run("verify", "job@1").out


def test_verify_all_counts_the_damaged(frem, store):
    change_byte(os.path.join(store, "job/2/pages"), 4096)
    os.truncate(os.path.join(store, "job/1/pages"), 100)
    os.unlink(os.path.join(store, "other/1/head"))
    there = frem.at(store)
    result = there.run("verify", "--all", code=DAMAGED)
    assert "3 of 4 checkpoints damaged: job@1: pages: 100 bytes, not" in result.error()
    assert "other@1 is damaged:\n  head: it is missing\n" in result.out
    assert "job@3 is good" in result.out


def test_verify_looks_at_each_replica(frem, store, tmp_path):
    second, third = str(tmp_path / "second"), str(tmp_path / "third")
    shutil.copytree(store, second)
    os.mkdir(third)
    change_byte(os.path.join(second, "job/3/pages"), 10000)
    both = frem.at(None, FREM_STORE=f"{store} {second} {third}")
    result = both.run("verify", "job", code=DAMAGED)
    assert f"job@3 is good in store '{store}'" in result.out
    assert f"job@3 is damaged in store '{second}':\n  pages: frame " in result.out
    assert f"job@3 is not there in store '{third}'" in result.out
    assert f"store '{second}': job@3: pages: frame " in result.error()
    assert "job@2 is good" in both.run("verify", "job@2").out


def test_verify_says_what_cannot_be_looked_at(frem, store):
    there = frem.at(store)
    there.refuse(NOT_FOUND, "verify", "job@9")
    there.refuse(NOT_FOUND, "verify", "none")
    there.refuse(NOT_FOUND, "verify", "--all", "none")
    there.refuse(USAGE, "verify")
    there.refuse(USAGE, "verify", "--all", "job@1")
    frem.at("http://127.0.0.1:1").refuse(STORE, "verify", "job")
    both = frem.at(None, FREM_STORE=f"http://127.0.0.1:1 {store}")
    result = both.run("verify", "job@1", code=STORE)
    assert f"job@1 is good in store '{store}'" in result.out


# ---- list and show ----


def test_touch_share(frem, store):
    there = frem.at(store)
    first, second = there.json("list", "job")[:2]
    stored = os.path.getsize(os.path.join(store, "job/1/pages"))
    assert first["touch_share"] == pytest.approx(first["touch_stored_bytes"] / stored)
    assert 0 < first["touch_share"] < 1 and second["touch_share"] is None
    rows = [line.split() for line in there.run("list", "job").out.splitlines()]
    assert f"{100 * first['touch_share']:.3g}" in rows[1]


def picture(text):
    """{pid: its row}"""
    return {int(pid): row for pid, row in re.findall(r"^ *(\d+) \|(.*)\|$", text, re.M)}


def test_picture(frem, store):
    """A row a process, as wide as a terminal; blocks only where they can be shown."""
    there = frem.at(store)
    task = there.json("show", "job@1")["tasks"][0]
    row = picture(there.at(LC_ALL="C.UTF-8").run("show", "job@1").out)[task["pid"]]
    assert len(row) == 70 and set(row) <= set(" ▁▂▃▄▅▆▇█") and set(row) - {" "}
    plain = picture(there.at(LC_ALL="C").run("show", "job@1").out)[task["pid"]]
    assert plain.translate(str.maketrans(".:-=+*%#", "▁▂▃▄▅▆▇█")) == row
    assert not picture(there.run("show", "job@2").out)
    full = row.count(" ") / len(row)
    assert 1 - full >= task["touch_pages"] / task["lazy_pages"]

# SPDX-License-Identifier: GPL-2.0-or-later
"""check, list, show and remove, and what a command says on its streams."""

import re

from fremtest import NOT_FOUND


def test_check(frem):
    """This machine can do it; said to people and to programs."""
    text = frem.run("check").out
    assert "CRIU" in text and "userfaultfd" in text
    assert isinstance(frem.json("check"), dict)


def test_list_show_remove(stored, victim):
    v = victim("touch_tenth", 20)
    made = [stored.checkpoint(v, name, "--window", "1s") for name in ("a", "b", "a")]
    assert [(c["name"], c["seq"]) for c in made] == [("a", 1), ("b", 1), ("a", 2)]
    listed = stored.json("list")
    assert [(c["name"], c["seq"]) for c in listed] == [("a", 1), ("a", 2), ("b", 1)]
    assert re.search(r"^a@2 .*touch_tenth$", stored.run("list").out, re.M)

    shown = stored.json("show", "a")
    assert (shown["name"], shown["seq"]) == ("a", 2)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", shown["created"])
    pages = shown["lazy_pages"] + shown["eager_pages"]
    assert shown["image_bytes"] == pages * 4096 > 19e6
    assert shown["stored_bytes"] > 19e6
    assert [t["pid"] for t in shown["tasks"]] == [v.pid]
    touch = shown["touch"]
    assert touch["bytes"] == touch["pages"] * 4096 > 0
    assert touch["scans"] > 0 and touch["overhead_ms"] > 0 and touch["backend"]
    assert "touch_tenth" in stored.run("show", "a").out

    stored.run("remove", "a@1")
    assert [(c["name"], c["seq"]) for c in stored.json("list")] == [("a", 2), ("b", 1)]
    stored.refuse(NOT_FOUND, "remove", "a@1")
    assert stored.checkpoint(v, "a", "--window", "off")["seq"] == 3
    stored.run("remove", "--all", "a", "b")
    assert stored.json("list") == []


def test_checkpoint_says_its_name(stored, victim):
    """One line on standard output, for scripts; no control sequences where no terminal is."""
    v = victim("touch_tenth", 20)
    result = stored.run("checkpoint", "--pid", v.pid, "--name", "job", "--window", "1s")
    assert result.out == "job@1\n"
    assert "\x1b" not in result.err and "\r" not in result.err


def test_numbers_are_not_used_again(stored, victim):
    v = victim("tcp_echo")
    for seq in (1, 2):
        assert stored.checkpoint(v, "job", "--window", "off")["seq"] == seq
    stored.run("remove", "job@1")
    assert stored.checkpoint(v, "job", "--window", "off")["seq"] == 3

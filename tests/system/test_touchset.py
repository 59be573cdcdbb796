# SPDX-License-Identifier: GPL-2.0-or-later
"""The touch set is what the program touches, no more and no less."""

import pytest

TOLERANCE = 0.03


def test_known_tenth(stored, victim):
    """A program that goes on touching a known tenth of 500 MB: the touch set is that tenth."""
    v = victim("touch_tenth", 500)
    stored.checkpoint(v, "job", "--window", "4s")
    shown = stored.json("show", "job@1")
    touch = shown["touch"]
    assert shown["lazy_pages"] == pytest.approx(500e6 / 4096, rel=0.01)
    assert touch["pages"] == pytest.approx(shown["lazy_pages"] / 10, rel=TOLERANCE)
    assert touch["bytes"] == touch["pages"] * 4096
    assert 4000 <= touch["window_ms"] < 6000
    tracking_ms = touch["overhead_ms"] - touch["descriptor_ms"]
    assert touch["scans"] >= 5 and tracking_ms < 0.05 * touch["window_ms"]
    v.assert_runs()


def test_auto_window_follows_the_link(stored, victim):
    """The window lasts for as long as the image would take over the link it will cross."""
    v = victim("touch_tenth", 60)
    stored.checkpoint(v, "job", "--link", "20MB/s")
    touch = stored.json("show", "job")["touch"]
    assert 2700 <= touch["window_ms"] <= 4500 and touch["ended"] == "image-arrived"


def test_all_of_it(stored, victim):
    """A program that touches everything: the whole image, and the window closes early."""
    v = victim("threads")
    stored.checkpoint(v, "job", "--window", "60s", timeout=50)
    shown = stored.json("show", "job")
    assert shown["touch"]["pages"] >= 0.9 * shown["lazy_pages"]
    assert shown["touch"]["window_ms"] < 45_000 and shown["touch"]["ended"] == "saturated"


def test_nothing_much(stored, victim):
    """A program that sleeps touches next to nothing."""
    v = victim("tcp_echo")
    stored.checkpoint(v, "job", "--window", "1s")
    shown = stored.json("show", "job")
    assert shown["touch"]["pages"] <= min(64, shown["lazy_pages"])


def test_processes_of_a_tree(stored, victim):
    """Every process of a tree is tracked; each touches its memory when it verifies."""
    v = victim("tree")
    command = ("checkpoint", "--pid", v.pid, "--name", "job", "--window", "3s")
    process = stored.start("--json", *command)
    while process.poll() is None:
        v.verify()
    assert stored.finish(process).code == 0
    shown = stored.json("show", "job")
    assert len(shown["tasks"]) == 10
    # 16 MB inherited and 4 MB of its own each; what it inherited of its parents' own is not used
    assert shown["touch"]["pages"] == pytest.approx(10 * (4096 + 1024), rel=TOLERANCE)

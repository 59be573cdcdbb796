# SPDX-License-Identifier: GPL-2.0-or-later
"""frem plan: from given numbers, from a checkpoint's own, and bad ones. What it computes is checked by
simulation in tests/unit/test_cmd_plan.c."""

import json

import pytest

from test_cli import FAILED, NOT_FOUND, OK, USAGE, Checkpoints, check_error, run, text_of

JOB = ("--mtbf", "10h", "--interval", "30m", "--link", "7MB/s,200ms")
GIVEN = (*JOB, "--image", "500MB", "--touch", "50MB", "--tracking", "100ms")


@pytest.fixture
def store(tmp_path):
    return Checkpoints(str(tmp_path / "store"))


def planned(*arguments):
    result = run("--json", *arguments)
    assert (result.returncode, result.stderr) == (OK, b"")
    return json.loads(result.stdout)


def test_given_numbers():
    plan = planned("plan", *GIVEN)
    assert plan["checkpoint"] is None
    assert plan["without_frem"]["restart_ms"] == pytest.approx(400 + 500 / 7 * 1e3)
    assert plan["with_frem"]["restart_ms"] == pytest.approx(400 + 50 / 7 * 1e3)
    assert plan["gain_ms"] == pytest.approx(450 / 7 * 1e3)
    assert plan["overhead_ms"] == pytest.approx(plan["checkpoints"] * 100)
    assert plan["net_gain_ms"] == pytest.approx(plan["gain_ms"] - plan["overhead_ms"])
    assert 0 < plan["without_frem"]["availability"] < plan["with_frem"]["availability"] < 1
    for side in (plan["without_frem"], plan["with_frem"]):
        assert side["daly_interval_ms"] == pytest.approx(side["best_interval_ms"], rel=0.001)
        assert side["availability"] < side["best_availability"]


def test_processes_that_fail_together_are_as_one_that_fails_more_often():
    many = planned("plan", *GIVEN, "--mtbf", "1000h", "--parallel", "100")
    one = planned("plan", *GIVEN)
    assert many["with_frem"] == one["with_frem"] and many["net_gain_ms"] == one["net_gain_ms"]


def test_net_loss_is_shown():
    """Tracking that costs more than a restart gains."""
    arguments = (*GIVEN, "--touch", "499MB", "--tracking", "10s")
    assert planned("plan", *arguments)["net_gain_ms"] < 0
    assert "net gain             -" in text_of(run("plan", *arguments).stdout)


def test_text():
    out = text_of(run("plan", *GIVEN).stdout)
    for words in ("500 MB to fetch", "WITHOUT FREM", "availability", "best interval", "by Young"):
        assert words in out
    assert out.splitlines()[-1].startswith("net gain ")


def test_a_checkpoints_own_numbers(store):
    store.add("job", 1)
    store.add("job", 2, touch=True)
    plan = planned("plan", "job", *JOB, "--store", store.path)
    assert plan["checkpoint"] == "job@2"
    assert plan["inputs"]["fetched_bytes"] == 5200
    assert 200 < plan["inputs"]["fetched_first_bytes"] < 5200
    assert plan["inputs"]["tracking_ms"] == 4.5
    assert plan["inputs"]["pause_ms"] == pytest.approx(104 * 4096 / 1e6)
    given = planned("plan", "job", *JOB, "--store", store.path, "--tracking", "1s", "--image", "1MB")
    assert given["inputs"]["tracking_ms"] == 1000 and given["inputs"]["fetched_bytes"] == 1e6


def test_a_checkpoint_without_touch_set(store):
    store.add("job", 1)
    check_error(run("--store", store.path, "plan", "job", *JOB), FAILED, "'job@1' has no touch set")
    assert planned("plan", "job@1", *GIVEN, "--store", store.path)["checkpoint"] == "job@1"
    check_error(run("--store", store.path, "plan", "other", *JOB), NOT_FOUND, "other")


@pytest.mark.parametrize(
    "arguments, words",
    [
        ([], "no --mtbf"),
        (GIVEN[2:], "no --mtbf"),
        (GIVEN[:2], "no --interval"),
        (GIVEN[:4], "no --link"),
        (JOB, "no --image"),
        ((*JOB, "--image", "1MB"), "no --touch"),
        ((*GIVEN, "--mtbf", "0"), "--mtbf: has to be above 0"),
        ((*GIVEN, "--mtbf", "-1h"), "--mtbf: bad duration '-1h'"),
        ((*GIVEN, "--interval", "0s"), "--interval: has to be above 0"),
        ((*GIVEN, "--pause", "0"), "--pause: has to be above 0"),
        ((*GIVEN, "--link", "0MB"), "--link: bad rate '0MB'"),
        ((*GIVEN, "--link", "7MB,"), "--link: bad duration ''"),
        ((*GIVEN, "--link", "7MB/s,fast"), "--link: bad duration 'fast'"),
        ((*GIVEN, "--parallel", "0"), "--parallel: bad number '0'"),
        ((*GIVEN, "--parallel", "1.5"), "--parallel: bad number '1.5'"),
        ((*GIVEN, "--image", "nan"), "--image: bad size 'nan'"),
        ((*GIVEN, "--image", "9999999999GB"), "--image: bad size '9999999999GB'"),
        ((*GIVEN, "a", "b"), "unexpected argument 'b'"),
        ((*GIVEN, "a@0"), "a@0"),
    ],
)
def test_bad_numbers(arguments, words):
    result = run("plan", *arguments)
    check_error(result, USAGE, words)
    assert result.stdout == b""

# SPDX-License-Identifier: GPL-2.0-or-later
"""The evaluation's own tools and its arithmetic."""

import glob
import os
import subprocess
import sys

import pytest

from fremtest import USAGE
from lab import BUILD, ROOT, descendants, processes, reap_orphans, wait_until

sys.path.append(os.path.join(ROOT, "bench", "evaluation"))
import measure  # noqa: E402
from records import Records  # noqa: E402

PARTS = os.path.join(BUILD, "bench", "parts")


def parts(*arguments):
    done = subprocess.run([PARTS, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_raw_frames_are_the_same_image(frem, store_dir, tmp_path, victim):
    """They restart the same program, with the same touch set."""
    v = victim("touch_tenth", 60)
    at = frem.at(store_dir)
    at.checkpoint(v, "job", "--window", "1s")
    v.kill()
    raw = tmp_path / "raw" / "job" / "1"
    raw.mkdir(parents=True)
    there = os.path.join(store_dir, "job", "1")
    parts("raw", there, raw)

    def size(directory, name):
        return os.path.getsize(os.path.join(directory, name))

    shown = at.json("show", "job@1")
    plain = frem.at(str(raw.parent.parent)).json("show", "job@1")
    assert plain["lazy_pages"] == shown["lazy_pages"]
    assert plain["touch"]["curve"] == shown["touch"]["curve"]
    assert size(raw, "pages") >= size(there, "pages")
    assert size(raw, "pages") % 4096 == 0
    trace = [tuple(map(int, line.split())) for line in parts("trace", raw).splitlines()]
    assert trace == sorted(trace) and trace[-1][1] == shown["touch"]["pages"]
    assert size(raw, "touch") > trace[-1][2] > 0.9 * 4096 * shown["touch"]["pages"]
    process = frem.at(str(raw.parent.parent)).restart("job@1")
    v.restarted(process)
    v.verify()
    v.kill()
    frem.finish(process)


def test_parts_of_nothing(tmp_path):
    done = subprocess.run([PARTS, "trace", tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr.startswith("parts: reading '")
    assert subprocess.run([PARTS, "raw"], capture_output=True, check=False).returncode == 2


# ---- a whole evaluation, of small programs ----

TINY = os.path.join(ROOT, "tests", "system", "evaluate_tiny.py")
PLACES = "/var/tmp/frem-evaluate-*"


def tiny(output, *arguments):
    command = ["/usr/bin/python3", TINY, "--link", "LAN", "--contender", "now-zstd"]
    return [*command, "-o", str(output), *arguments]


def test_rows_that_fail(tmp_path):
    """Each is reported with its reason, and those behind it go on."""
    rows = ("never", "refused", "changing", "good")
    done = subprocess.run(tiny(tmp_path, *rows), capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    found = Records.load(tmp_path / "raw")
    failed = {row[0]: row[3] for row in found.all("failed")}
    assert failed.keys() == {"never", "refused", "changing"}
    assert "ended before its point with 1: no input" in failed["never"]
    assert "CRIU refused" in failed["refused"]
    assert failed["changing"] == "wrong output: it is not the undisturbed run's"
    assert 0 < found.get("good", "resumed", "LAN", "now-zstd") < found.get(
        "good", "completed", "LAN", "now-zstd"
    )
    again = found.get("good", "progressed_1", "LAN", "now-zstd")
    assert again > 0.5 and found.done_again("good", 1, "LAN", "now-zstd") == again
    assert found.get("good", "responsive_1", "LAN", "bound-zstd") > 0.9
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    for name, why in failed.items():
        assert f"| {name} |" in text and why.split(":")[0] in text


def test_one_contender_again(tmp_path):
    """Its measures take the place of its old ones; all others stay, and nothing else is measured again."""
    raw = tmp_path / "raw"
    raw.mkdir()
    old = Records("good")
    old.add({"image": 12345, "undisturbed": 2.0, "undisturbed_work": 1.9, "steps_1": 100})
    for contender in ("now-zstd", "full-raw"):
        old.add({"resumed": 1000.0, "old": 1}, "LAN", contender)
    old.save(raw)
    done = subprocess.run(tiny(tmp_path, "good"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = Records.load(raw)
    assert found.get("good", "image") == 12345
    assert [row[:3] for row in found.all("old")] == [("good", "LAN", "full-raw")]
    assert found.get("good", "resumed", "LAN", "full-raw") == 1000
    assert 0 < found.get("good", "resumed", "LAN", "now-zstd") < 100
    assert "trace" not in done.stdout and not found.all("touched")

    broken = Records("never")
    broken.rows = [("never", *row[1:]) for row in found.rows]
    broken.save(raw)
    done = subprocess.run(tiny(tmp_path, "never"), capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "never: ended before its point" in done.stdout
    assert Records.load(raw).of("never").rows == broken.rows


def test_killed_evaluation_leaves_nothing_and_goes_on(tmp_path):
    """kill -9 in the middle: no process and no place of its own stays, and --resume does what is left."""
    before = set(glob.glob(PLACES))
    rows = ("good", "long")
    process = subprocess.Popen(tiny(tmp_path, *rows), stdout=subprocess.PIPE, text=True)
    while "long: LAN" not in process.stdout.readline():
        assert process.poll() is None
    wait_until("the restart", lambda: any(
        name.startswith("frem") for _, _, name in descendants(process.pid).values()
    ))
    below = set(descendants(process.pid))
    assert len(below) > 3
    (place,) = set(glob.glob(PLACES)) - before
    process.kill()
    process.wait()

    def ended():
        reap_orphans(below)
        return not below & processes().keys()

    wait_until("the end of its processes", ended)
    done = subprocess.run(
        tiny(tmp_path, "--resume", "good", "never"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1  # never starts, still
    assert "good: measured before" in done.stdout and "never: ended before" in done.stdout
    assert not os.path.exists(place) and not set(glob.glob(PLACES)) - before


def test_lower_bound():
    """200 ms, 1 MB/s: 0.4 s until data flows, 0.1 s for the head."""
    link, even = (200, 1), [(s / 10, s / 10) for s in range(101)]
    assert measure.bound([], even, link, 100_000, 1.0) == pytest.approx(1.5)
    # 2 MB needed at once: nothing can be done before they are there
    assert measure.bound([(0, 2_000_000)], even, link, 100_000, 1.0) == pytest.approx(3.5)
    # the second MB is only needed after 1 s of work, by which it has arrived
    spread = [(0, 1_000_000), (1.0, 2_000_000)]
    assert measure.bound(spread, even, link, 100_000, 2.0) == pytest.approx(3.5)
    # what is touched later does not count
    assert measure.bound([(5.0, 50_000_000)], even, link, 100_000, 1.0) == pytest.approx(1.5)
    assert measure.bound([(5.0, 50_000_000)], even, link, 100_000, 6.0) == pytest.approx(51.5)


def test_records_are_read_as_they_were_written(tmp_path):
    one = Records("xz")
    one.add({"image": 123456789, "undisturbed": 12.5, "drained": None})
    one.add({"failed": "because, of \"this\""}, "SLOW", "criu-raw")
    one.save(tmp_path)
    found = Records.load(tmp_path)
    assert found.programs() == ["xz"]
    assert found.get("xz", "image") == 123456789 and found.get("xz", "undisturbed") == 12.5
    assert found.get("xz", "drained") is None
    assert found.all("failed") == [("xz", "SLOW", "criu-raw", "because, of \"this\"")]
    assert os.listdir(tmp_path) == ["xz.csv"]


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["tetris"], "no such program: tetris"),
        (["--contender", "magic"], "no such contender: magic"),
        (["--link", "MOON"], "MOON"),
    ],
)
def test_bad_arguments(arguments, words):
    command = [os.path.join(ROOT, "bench", "evaluate"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == USAGE and words in done.stderr

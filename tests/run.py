# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs the tests that need the machine for themselves, then the others in lots side by side, each of
which waits more than it computes.

Arguments go to pytest, to all lots alike. The closing line counts the tests of all.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile

TESTS = os.path.dirname(os.path.abspath(__file__))
COMMAND = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *sys.argv[1:]]
SYSTEM = os.path.join(TESTS, "system")
ALONE = ([SYSTEM, "-m", "alone"],)
SIDE_BY_SIDE = (
    [SYSTEM, "-m", "not slow_link and not alone"],
    [TESTS, f"--ignore={SYSTEM}"],
    [SYSTEM, "-m", "slow_link"],
)
WORDS = ("passed", "failed", "skipped")
NO_TESTS = 5  # pytest's exit status where the arguments select none of a lot
ENDED_BY_USER = 2  # and where it got SIGINT


def start(lot, output):
    return subprocess.Popen([*COMMAND, *lot], stdout=output, stderr=subprocess.STDOUT)


def counts(output):
    """{word: number} of the closing line of pytest; an error counts as a failure."""
    output.seek(0)
    lines = output.read().decode(errors="replace").splitlines()
    found = {word: int(n) for n, word in re.findall(r"(\d+) (\w+)", lines[-1] if lines else "")}
    found["failed"] = sum(found.get(word, 0) for word in ("failed", "error", "errors"))
    return found


def follow(process, output):
    """Shows what the process writes while it runs."""
    with open(output.name, "rb") as shown:
        while True:
            ended = process.poll() is not None
            text = shown.read()
            sys.stdout.buffer.write(text)
            sys.stdout.flush()
            if ended and not text:
                return
            if not text:
                try:
                    process.wait(0.2)
                except subprocess.TimeoutExpired:
                    pass


def run(lots):
    """[(exit status, counts)] of lots side by side."""
    outputs = [tempfile.NamedTemporaryFile(prefix="frem-test-") for _ in lots]
    processes = [start(lot, output) for lot, output in zip(lots, outputs)]
    try:
        for process, output in zip(processes, outputs):
            follow(process, output)
    except KeyboardInterrupt:
        for process in processes:
            process.send_signal(signal.SIGINT)
            process.wait()
    return [(p.returncode, counts(o)) for p, o in zip(processes, outputs)]


def main():
    # a shell's background command starts with SIGINT ignored, and so would all programs of the tests
    signal.signal(signal.SIGINT, signal.default_int_handler)
    done = run(ALONE)
    if done[0][0] != ENDED_BY_USER:
        done += run(SIDE_BY_SIDE)
    print(", ".join(f"{sum(f.get(word, 0) for _, f in done)} {word}" for word in WORDS))
    bad = [status for status, _ in done if status not in (0, NO_TESTS)]
    nothing = all(status == NO_TESTS for status, _ in done)
    return bad[0] if bad else NO_TESTS if nothing else 0


sys.exit(main())

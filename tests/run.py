# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs the tests in lots side by side, each of which waits more than it computes.

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
LOTS = (
    [SYSTEM, "-m", "not slow_link"],
    [TESTS, f"--ignore={SYSTEM}"],
    [SYSTEM, "-m", "slow_link"],
)
WORDS = ("passed", "failed", "skipped")
NO_TESTS = 5  # pytest's exit status where the arguments select none of a lot


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


def main():
    # a shell's background command starts with SIGINT ignored, and so would all programs of the tests
    signal.signal(signal.SIGINT, signal.default_int_handler)
    outputs = [tempfile.NamedTemporaryFile(prefix="frem-test-") for _ in LOTS]
    lots = [start(lot, output) for lot, output in zip(LOTS, outputs)]
    try:
        for lot, output in zip(lots, outputs):
            follow(lot, output)
    except KeyboardInterrupt:
        for lot in lots:
            lot.send_signal(signal.SIGINT)
            lot.wait()
    found = [counts(output) for output in outputs]
    print(", ".join(f"{sum(f.get(word, 0) for f in found)} {word}" for word in WORDS))
    bad = [lot.returncode for lot in lots if lot.returncode not in (0, NO_TESTS)]
    nothing = all(lot.returncode == NO_TESTS for lot in lots)
    return bad[0] if bad else NO_TESTS if nothing else 0


sys.exit(main())

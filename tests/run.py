# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs the tests in two lots side by side: those that mostly wait for a slow link, and all others.

Arguments go to pytest, to both lots alike. The closing line counts the tests of both.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile

TESTS = os.path.dirname(os.path.abspath(__file__))
COMMAND = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", TESTS, *sys.argv[1:]]
WORDS = ("passed", "failed", "skipped")
NO_TESTS = 5  # pytest's exit status where the arguments select none of a lot


def start(lot, output):
    return subprocess.Popen([*COMMAND, "-m", lot], stdout=output, stderr=subprocess.STDOUT)


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
    outputs = [tempfile.NamedTemporaryFile(prefix="frem-test-") for _ in range(2)]
    lots = [start("slow_link", outputs[0]), start("not slow_link", outputs[1])]
    try:
        follow(lots[1], outputs[1])
        follow(lots[0], outputs[0])
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

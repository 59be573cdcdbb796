#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""bench/evaluate with a table of small programs, most of which go wrong, and without plots."""

import os
import sys
import types

BENCH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bench")
sys.path[:0] = [os.path.join(BENCH, "evaluation"), BENCH]
import programs  # noqa: E402

WORK = """
import ctypes, hashlib, os, time
block = os.urandom(8 << 20)
{first}
for n in range({lines}):
    at = n % 8 << 20
    for _ in range(8):
        digest = hashlib.sha256(block[at:at + (1 << 20)])
    print(n, {shown}, flush=True)
"""


def row(name, first="", shown="n * n", lines=500, command=None):
    script = WORK.format(first=first, shown=shown, lines=lines)
    return programs.Program(
        name=name,
        what=f"a small program: {name}",
        packages=(),
        command=command or ("/usr/bin/python3", "-c", script),
        marker="lines",
        point=20,
    )


programs.PROGRAMS = (
    row("never", command=("/usr/bin/python3", "-c", "import sys; sys.exit('no input')")),
    row("refused", first="ctypes.CDLL(None).syscall(323, 0)  # userfaultfd"),
    row("changing", shown="time.time()"),
    row("good"),
    row("long", lines=3000),
)
sys.modules["plots"] = types.SimpleNamespace(make=lambda *_: "")
EVALUATE = os.path.join(BENCH, "evaluate")
with open(EVALUATE, encoding="utf-8") as f:
    # not runpy: the program starts itself again by its own name, which is ours
    exec(compile(f.read(), EVALUATE, "exec"), {"__name__": "__main__", "__file__": EVALUATE})

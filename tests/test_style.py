# SPDX-License-Identifier: GPL-2.0-or-later
"""Rules of CONTRIBUTING.md that a program can check, over the files that git knows."""

import os
import re
import shutil
import subprocess

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MOST_LINES = 800
UNFINISHED = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "X" * 3)) + r")\b")
SOURCES = (".c", ".h", ".py", ".proto", ".build", ".sh")


def git_files():
    done = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    names = done.stdout.split("\0")
    return [n for n in names if n and os.path.isfile(os.path.join(ROOT, n))]


def sources(*suffixes):
    return [n for n in git_files() if n.endswith(suffixes)]


def read(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as f:
        return f.read()


@pytest.fixture(autouse=True, scope="module")
def in_git():
    if not os.path.exists(os.path.join(ROOT, ".git")):
        pytest.skip("not a git tree: the list of files is unknown")


def test_c_is_formatted():
    clang_format = shutil.which("clang-format")
    assert clang_format, "clang-format is missing: scripts/setup installs it"
    done = subprocess.run(
        [clang_format, "--dry-run", "-Werror", *sources(".c", ".h")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:] + "\n`make format` formats"


def test_files_are_short():
    long = {n: read(n).count("\n") for n in sources(*SOURCES)}
    long = {n: lines for n, lines in long.items() if lines >= MOST_LINES}
    assert not long, f"{MOST_LINES} lines or more"


def test_functions_are_short():
    """Nothing above 80 lines: from the opening brace in the first column to the closing one."""
    long = []
    for name in sources(".c"):
        start = None
        for number, line in enumerate(read(name).splitlines(), 1):
            if line == "{":
                start = number
            elif line == "}" and start:
                if number - start > 80:
                    long.append(f"{name}:{start}")
                start = None
    assert not long


def test_nothing_is_unfinished():
    found = [
        f"{name}:{number}: {line.strip()}"
        for name in sources(*SOURCES)
        for number, line in enumerate(read(name).splitlines(), 1)
        if UNFINISHED.search(line)
    ]
    assert not found


def test_sources_name_their_licence():
    found = [n for n in sources(".c", ".h", ".py", ".sh") if "SPDX-License-Identifier" not in read(n)]
    assert not found
